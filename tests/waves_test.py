"""What is asked next follows from the ledger, and a reply is looked into once."""

import dataclasses
import json
import random
from collections import Counter

import pytest
from helpers.graded_runs import CONFIG, make

from configs import eval_generate, eval_paper
from evals import report
from evals.marking import rubric
from evals.questions import catalog as catalogs
from evals.questions.settings import from_config
from evals.replies import estimate, waves
from evals.replies import run as runs
from evals.replies.ledger import Reply, key
from evals.replies.run import Student, open_run
from evals.replies.waves import Grader

GRADER = Grader('fake-2', {})
USAGE = {'prompt_tokens': 1, 'completion_tokens': 1}


def store(run, stage, requests, text, model='fake-1', time='2026-11-01T00:00:00.000000Z'):
  """A reply to each request; `text` is a function of it."""
  with run.ledger.open_writer(stage) as writer:
    for request in requests:
      name = key(request.slot, model, {}, request.messages)
      writer.append(request, name, model, {}, Reply(text(request), 'stop', model, USAGE, '', 0.0, time))


def table(point):
  return lambda request: rubric.format_table(request.context['criteria'], [point] * len(request.context['criteria']))


@pytest.fixture
def written(tmp_path):
  """A run of four texts."""
  config = eval_generate.get_config().to_dict() | {'ks': (1, 2), 'num_combinations': 2}
  run = runs.start(tmp_path / 'run', from_config(config), Student('openai:fake-1', 'fake-1', {}))
  for stage in (0, 1):
    store(run, 'answers', waves.answer_requests(run)[stage], lambda request: 'Answer: Stones sing. They sleep.')
  return run


def asked(run):
  return waves.vote_requests(run, GRADER, list(waves.texts(run)), 0.0, ())


def test_each_vote_is_parsed_once(written, monkeypatch):
  parsed, parse = Counter(), rubric.parse
  monkeypatch.setattr(rubric, 'parse', lambda reply, criteria: (parsed.update([reply]), parse(reply, criteria))[1])
  no = lambda request: f'I would rather not: {request.slot}'
  for text in (no, lambda request: f'{request.slot}\n' + table(1)(request)):
    store(written, 'votes', asked(written), text, 'fake-2')
  assert not asked(written)
  first, again = ([waves.votes(written, GRADER, text) for text in waves.texts(written)] for _ in range(2))
  assert first == again and all(set(vote.points) == {1} for votes in first for vote in votes)
  assert set(parsed.values()) == {1} and len(parsed) == 2 * 4 * written.settings.votes


def test_an_earlier_reply_to_the_same_vote_counts_although_the_later_one_was_parsed(written):
  requests = asked(written)
  store(written, 'votes', requests, table(0), 'fake-2', time='2026-11-02')
  points = lambda: {p for text in waves.texts(written) for v in waves.votes(written, GRADER, text) for p in v.points}
  assert points() == {0}
  store(written, 'votes', requests, table(1), 'fake-2', time='2026-11-01')
  assert points() == {1}


def noisy(request):
  """Each vote errs in each criterion once in twelve times, as its slot says alone."""
  draw = random.Random(f'{request.slot.combination}/{request.slot.generation}/{request.slot.vote}')
  return [int(draw.random() > 1 / 12) for _ in request.context['criteria']]


def test_agreement_of_adaptive_votes_is_that_of_all_votes(tmp_path):
  """Third votes are asked where two disagree: only the random tenth, which gets all of them anyway, tells agreement."""
  found, num_votes = {}, {}
  for mode in ('all', 'adaptive'):
    path = make(tmp_path / mode, vote=noisy, votes_mode=mode, num_combinations=60, generations=4)
    found[mode] = report.report_run(path, None).metrics
    num_votes[mode] = found[mode].spent.requests
  every, tenth = found['all'].agreement, found['adaptive'].agreement
  assert found['adaptive'].cells == found['all'].cells and num_votes['adaptive'] < num_votes['all']
  assert every.n == 240 and 12 <= tenth.n <= 36
  for criterion in ('skill', 'topic', 'sense'):
    assert tenth.criteria[criterion] == pytest.approx(every.criteria[criterion], abs=0.12), criterion


def test_no_third_vote_is_asked_for_a_point_that_the_grader_does_not_decide(tmp_path):
  """Two votes differ in the length, which our counter decides, or in a skill that is named and earns nothing."""
  differ = {'length': -1, 'name': 0}

  def requests(name, **config):
    vote = lambda request: [int(i != differ[name] % 5 or request.slot.vote > 1) for i in range(5)]
    path = make(tmp_path / f'{name}{len(config)}', vote=vote, votes_mode='adaptive', say=say[name], **config)
    rows = open_run(path).ledger.rows()
    return sum(row.slot.step == 'vote' and row.slot.vote == 3 for row in rows)

  say = {'length': lambda c: 'Stones sing.', 'name': lambda c: f'A {c.skills[0].split("(")[0].strip()}.'}
  assert requests('length') == requests('name') == 0
  assert requests('length', length='grader') == requests('name', name_filter=False) == 8


def test_votes_that_nobody_could_read_are_asked_again_when_more_attempts_are_allowed(written):
  no = lambda request: f'I would rather not: {request.slot}'
  for _ in range(runs.ATTEMPTS):
    store(written, 'votes', asked(written), no, 'fake-2')
  assert not asked(written)
  more = dataclasses.replace(written, attempts=5)
  assert {request.slot.attempt for request in asked(more)} == {3}
  store(written, 'votes', asked(more), table(1), 'fake-2')
  votes = [vote for text in waves.texts(written) for vote in waves.votes(written, GRADER, text)]
  assert votes and all(vote.points for vote in votes), 'a fourth attempt counts, whoever looks'


def test_decoys_are_no_skills_that_almost_any_text_shows(written):
  """Drawn from the others; in a run of an earlier version, whose catalog does not say which, from all, as before."""
  assert len(written.catalog.in_any_text) == 22 and 'phrasal verb' in written.catalog.in_any_text
  assert written.catalog.in_any_text < {skill.name for skill in written.catalog.skills}
  listed = (written.path / 'catalog' / catalogs.IN_ANY_TEXT).read_text()
  assert 'our reading of the definitions' in listed

  def drawn(run):
    texts = [dataclasses.replace(text, generation=g) for text in waves.texts(written) for g in range(60)]
    return [waves.decoy(run, GRADER, text).skill for text in texts]

  assert not set(drawn(written)) & written.catalog.in_any_text and len(set(drawn(written))) > 30
  (written.path / 'catalog' / catalogs.IN_ANY_TEXT).unlink()
  earlier = open_run(written.path)
  assert not earlier.catalog.in_any_text and earlier.catalog.fingerprint == written.catalog.fingerprint
  assert set(drawn(earlier)) & written.catalog.in_any_text


@pytest.mark.parametrize('mode', ['all', 'adaptive'])
def test_an_estimate_before_the_first_reply_counts_every_request(tmp_path, mode):
  settings = from_config(eval_paper.get_config().to_dict() | CONFIG | {'votes_mode': mode, 'generations': 3})
  empty = runs.preview(tmp_path / 'run', settings, Student('openai:fake-1', 'fake-1', {}))
  firsts, answer = waves.answer_requests(empty)[0], 'x' * round(271 * estimate.CHARACTERS_A_TOKEN)
  asked = {one.id: one for one in empty.combinations}
  seconds = [waves.round2_request(empty, first, answer, asked[first.slot.combination]) for first in firsts]
  assert estimate.estimate_sampling(empty) == estimate.estimate([*firsts, *seconds])
  texts = [
    waves.Text(combination, generation, '', '', '', '', 'x' * round(estimate.TEXT_TOKENS * estimate.CHARACTERS_A_TOKEN))
    for combination in empty.combinations
    for generation in (1, 2, 3)
  ]
  everything = waves.vote_requests(empty, waves.Grader('', {}), texts, 0.5, ())
  assert estimate.estimate_grading(empty, None, 0.5) == estimate.estimate(everything)
  only_votes = [request for request in everything if request.slot.step == 'vote']
  assert estimate.estimate_grading(empty, None, 0.0) == estimate.estimate(only_votes)
  assert {'vote', 'decoy'} == {request.slot.step for request in everything}


def test_a_report_keeps_no_answers_and_its_file_and_page_have_them(tmp_path):
  path = make(tmp_path / 'run', num_combinations=2)
  reported = report.report_run(path, None)
  rows = [json.loads(line) for line in (path / 'grades.jsonl').read_text().splitlines()]
  said = 'Answer: Stones sing.'
  assert [(row['answer1'], row['answer2'], row['text']) for row in rows] == [(said, said, 'Stones sing.')] * 2
  assert [(text.answer1, text.answer2, text.text) for text in reported.texts] == [('', '', 'Stones sing.')] * 2
  find = report.raw_replies(reported)
  shown = [find(row['combination'], row['generation']) for row in rows]
  assert [(one.answer1, one.answer2) for one in shown] == [(said, said)] * 2
