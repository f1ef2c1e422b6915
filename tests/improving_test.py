"""First answers against improved ones: graded alike, counted a second way, and never at the improved ones' cost."""

import json
import random
import shutil

import pytest
from waves_test import USAGE, store

from configs import eval_minimix
from evals import grade, report
from evals.marking import rubric
from evals.minimix import dialogs, grader, world
from evals.questions.prompts import num_sentences
from evals.questions.settings import from_config
from evals.replies import estimate, waves
from evals.replies import run as runs
from evals.replies.endpoints import Exact
from evals.replies.ledger import Reply, key
from evals.replies.run import Student, open_run
from evals.results import graded, improving, statistics, terminal
from evals.results.summary import RunMetrics
from skillmix_jax.errors import InputError

NUM = 2 * 2 * 4 * 2  # settings, ks, combinations, generations


def damaged(rng, text):
  """A word is left out of some texts."""
  words = text.split()
  if rng.random() < 0.5:
    del words[rng.randrange(len(words))]
  return ' '.join(words)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """A run of the toy world: both answers of 32 slots, no votes yet."""
  folder = tmp_path_factory.mktemp('improving')
  world.write_catalog(folder / 'catalog', seed=0, one_sentence=False)
  config = eval_minimix.get_config().to_dict() | {
    'catalog': str(folder / 'catalog'), 'settings': ('train', 'held_out'), 'ks': (2, 3), 'num_combinations': 4,
    'generations': 2,
  }  # fmt: skip
  run = runs.start(folder / 'run', from_config(config), Student('openai:fake-1', 'fake-1', {}))
  for stage in (0, 1):

    def said(request, stage=stage):
      slot = request.slot
      combination = next(one for one in run.combinations if one.id == slot.combination)
      rng = random.Random(f'{slot.combination}/{slot.generation}')
      limit = num_sentences(combination.k)
      return damaged(rng, dialogs.answers(rng, combination.skills, combination.topic, limit)[stage])

    store(run, 'answers', waves.answer_requests(run)[stage], said)
  return run.path


@pytest.fixture
def path(written, tmp_path):
  return shutil.copytree(written, tmp_path / 'run')


def graded_by(path, answer, function=grader.grade):
  return grade.grade(open_run(path), Exact(function), 0.0, answer)


def votes_in(path):
  """The ledger's votes: key -> step."""
  return {row.key: row.slot.step for row in open_run(path).ledger.rows() if 'vote' in row.slot.step}


def test_first_answers_get_the_marks_of_their_texts(path):
  assert graded_by(path, answer=1) == 0
  run = open_run(path)
  texts = improving.first_answers(run, graded.find_grader(run))
  assert len(texts) == NUM
  for text in texts:
    assert text.text == text.answer1 and text.answer2 == ''
    assert text.votes == (grader.points(text.skills, text.topic, text.answer1),)
  assert {text.points[-1] for text in texts if text.k == 2} == {0}, 'two sentences are too many'
  assert len({sum(text.points) for text in texts}) > 1


def test_a_run_with_votes_on_first_answers_alone_is_open(path, capsys):
  graded_by(path, answer=1)
  metrics = report.report_run(path, None).metrics
  assert (metrics.done, metrics.improving.done, metrics.improving.gains) == (0, NUM, ())
  terminal.print_run('run', metrics, '')
  assert 'graded by nobody yet' in capsys.readouterr().out
  with pytest.raises(InputError, match='no votes yet'):
    graded.load(path)


def test_grading_first_answers_changes_nothing_of_the_improved_ones(path, tmp_path):
  other = shutil.copytree(path, tmp_path / 'other')
  graded_by(path, answer=2)
  keys = votes_in(path)
  before = report.report_run(path, None).metrics.to_json()
  grades = (path / 'grades.jsonl').read_bytes()
  assert 'improving' not in before and not (path / 'first_grades.jsonl').exists()

  graded_by(path, answer=1)
  after = report.report_run(path, None).metrics.to_json()
  assert (path / 'grades.jsonl').read_bytes() == grades
  counted = ('requests', 'tokens', 'dollars', 'started', 'ended', 'improving')
  assert [after[name] for name in before if name not in counted] == [before[n] for n in before if n not in counted]
  assert after['requests'] == before['requests'] + NUM
  assert keys.items() < votes_in(path).items()

  for answer in (1, 2):  # in the other order: the same requests
    graded_by(other, answer)
  assert votes_in(other) == votes_in(path)
  assert sorted(votes_in(other).values()) == ['first_vote'] * NUM + ['vote'] * NUM


def test_a_kill_loses_nothing_and_asks_for_nothing_twice(path):
  whole = shutil.copytree(path, path.parent / 'whole')
  graded_by(whole, answer=1)
  report.report_run(whole, None)

  class Killed(BaseException):
    """As no handler catches a kill."""

  for left in (5, 11):
    count = 0

    def dies(**asked):
      nonlocal count
      count += 1
      if count > left:  # noqa: B023
        raise Killed
      return grader.grade(**asked)

    with pytest.raises(Killed):
      graded_by(path, 1, dies)
  run = open_run(path)
  assert estimate.estimate_grading(run, graded.find_grader(run), 0.0, answer=1).requests == NUM - 16
  assert graded_by(path, answer=1) == 0
  lines = [line for file in (path / 'replies').glob('votes-*') for line in file.read_text().splitlines()]
  assert len(lines) == len({json.loads(line)['key'] for line in lines}) == NUM
  report.report_run(path, None)
  assert (path / 'first_grades.jsonl').read_bytes() == (whole / 'first_grades.jsonl').read_bytes()
  assert estimate.estimate_grading(open_run(path), graded.find_grader(run), 0.0, answer=1).requests == 0


def test_gains_and_changes_are_what_a_second_count_gives(path, capsys):
  for answer in (1, 2):
    graded_by(path, answer)
  metrics = report.report_run(path, None).metrics
  found = metrics.improving
  rows = [[json.loads(line) for line in (path / file).open()] for file in ('first_grades.jsonl', 'grades.jsonl')]
  place = lambda row: (row['setting'], row['k'])
  for gain in (gain for gain in found.gains if gain.metric == 'ratio_of_full_marks'):
    best = []
    for its in rows:
      by_id = {}
      for row in its:
        if place(row) == (gain.setting, gain.k):
          by_id.setdefault(row['combination'], []).append(all(row['points']))
      best.append({name: any(full) for name, full in by_id.items()})
    won, lost = (sum(a[name] and not b[name] for name in a) for a, b in (best[::-1], best))
    assert (gain.n, gain.mean_b, gain.mean_a) == (4, sum(best[0].values()) / 4, sum(best[1].values()) / 4)
    assert gain.p == statistics.mcnemar(won, lost)
    cell = next(cell for cell in found.cells if (cell.setting, cell.k) == (gain.setting, gain.k))
    assert cell.best['ratio_of_full_marks'].mean == gain.mean_b and cell.missing == 0
  assert len(found.gains) == 3 * 4 and any(gain.difference for gain in found.gains)
  for change in found.changes:
    pairs = [(a, b) for a, b in zip(*rows) if place(a) == (change.setting, change.k)]
    spots = {'topic': [-3], 'sense': [-2], 'length': [-1]}.get(change.criterion, range(change.k))
    points = [(a['points'][i], b['points'][i]) for a, b in pairs for i in spots]
    assert change.n == len(points) == 8 * len(spots)
    assert change.gained == sum(a < b for a, b in points) and change.lost == sum(a > b for a, b in points)
    assert (change.first, change.improved) == tuple(map(sum, zip(*points)))
  assert {change.criterion for change in found.changes if change.gained} >= {'length'}
  read = json.loads((path / 'metrics.json').read_text())
  assert RunMetrics.from_json(read).improving == found
  terminal.print_run('run', metrics, '')
  said = capsys.readouterr().out
  assert 'first answers against improved ones' in said and '  points for length' in said


def test_votes_of_a_grader_that_changed_in_between_give_no_verdict(path):
  graded_by(path, answer=2)
  run, old = open_run(path), graded.find_grader(open_run(path))
  asked = waves.vote_requests(run, old, list(waves.texts(run, 1)), 0.0, ())
  zero = lambda request: rubric.format_table(request.context['criteria'], [0] * len(request.context['criteria']))
  with run.ledger.open_writer('votes') as writer:
    for request in asked:
      name = key(request.slot, old.model, old.params, request.messages)
      writer.append(request, name, old.model, {}, Reply(zero(request), 'stop', 'exact-2', USAGE, '', 0.0, 'now'))
  gains = report.report_run(path, None).metrics.improving.gains
  assert {gain.verdict for gain in gains} == {'refused'}
  assert gains[0].reason == 'first answers were graded by exact-2 and improved ones by exact'
