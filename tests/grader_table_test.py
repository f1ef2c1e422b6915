"""Several graders of one run: each keeps its own marks, a table compares them, and a verdict needs all of them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers.graded_runs import add_grader, make

from evals import compare, page, report
from evals.grade import check_grader
from evals.questions import paper_tables
from evals.replies.run import open_run
from evals.replies.waves import Grader
from evals.results import agreeing, comparable, graded, over_seeds, statistics, terminal
from evals.results.summary import RunMetrics
from skillmix_jax import command
from skillmix_jax.errors import InputError

OTHER = 'gpt-6-luna'  # its price is known: $.10 and $.50 a million tokens


def number(request):
  """0 to 7: which of the eight combinations."""
  return int(request.slot.combination[-4:])


def all_or_nothing(earns):
  return lambda request: [int(earns(request))] * len(request.context['criteria'])


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """fake-2 gives combinations 0 to 3 full marks in all votes; OTHER 2 to 5, in two of three votes, and to 0 in one."""
  path = make(tmp_path_factory.mktemp('two') / 'run', vote=all_or_nothing(lambda request: number(request) < 4))
  votes = lambda r: (2 <= number(r) < 6 and r.slot.vote < 3) or (number(r) == 0 and r.slot.vote == 1)
  first_attempt_of_7 = lambda r: number(r) == 7 and not r.slot.attempt
  return add_grader(path, OTHER, all_or_nothing(votes), unreadable=first_attempt_of_7, usage=(1000, 300), seconds=2.5)


def test_the_run_keeps_the_marks_of_its_first_grader(two, tmp_path):
  alone = make(tmp_path / 'run', vote=all_or_nothing(lambda request: number(request) < 4))
  before = report.report_run(alone, None)
  first, second = report.report_graders(two, None)
  assert first.texts == before.texts and (two / 'grades.jsonl').read_text() == (alone / 'grades.jsonl').read_text()
  now, then = (json.loads((path / 'metrics.json').read_text()) for path in (two, alone))
  assert now.pop('graders') and now == then
  assert [one.name for one in (first, second)] == ['run by fake-2', f'run by {OTHER}']
  assert [one.metrics.cells[0].best['ratio_of_full_marks'].mean for one in (first, second)] == [0.5, 0.5]
  assert RunMetrics.from_json(first.metrics.to_json()) == first.metrics
  # what was spent adds up to the ledger: 16 answers, 24 votes; 24 votes and 3 that nobody could read
  assert (first.metrics.spent.requests, second.metrics.spent.requests) == (40, 27)
  assert second.metrics.spent.dollars == pytest.approx(27 * (1000 * 0.1 + 300 * 0.5) / 1e6)


def test_the_table_is_what_one_counts_by_hand(two, capsys):
  table = report.report_graders(two, None)[0].metrics.graders
  first, second = table.cells
  assert (first.grader, first.family, first.setting, first.k) == ('fake-2', None, 'held_out', 2)
  assert (first.texts, first.votes, first.full_marks, first.agreement, first.readable) == (8, 24, 0.5, 1, 1)
  assert (first.effective_votes, first.dollars) == (1, None)  # its votes are one vote, and its price is unknown
  assert (second.grader, second.family, second.texts, second.votes) == (OTHER, 'openai', 8, 24)
  assert second.full_marks == 4 / 8 and second.agreement == 3 / 8  # 1, 6 and 7 are unanimous
  assert second.like_others == first.like_others == 4 / 8  # 2, 3, 6 and 7
  assert (second.readable, second.seconds) == (24 / 27, 2.5)
  assert second.dollars == pytest.approx(27 * 0.00025 / 24)
  # Fleiss by hand: pairs that agree, 1/3 in five texts and 1 in three; 9 of 24 votes are full marks
  observed, expected = (5 / 3 + 3) / 8, (9 / 24) ** 2 + (15 / 24) ** 2
  kappa = (observed - expected) / (1 - expected)
  assert second.effective_votes == pytest.approx(3 / (1 + 2 * kappa))
  (together,) = table.together  # of 8 texts 4 alike, half of all marks full: kappa is 0
  assert (together.texts, together.kappa, together.effective_graders) == (8, 0, 2)
  terminal.print_graders('run', table)
  lines = capsys.readouterr().out.splitlines()
  assert any(line.split() == [OTHER, '8', '.50', '.38', '2.5', '.50', '.89', '2.5', '0.00028'] for line in lines), lines
  assert all(len(line) <= 120 for line in lines)


def test_no_name_acts_on_the_terminal(two, tmp_path, capsys):
  sly = 'm\x1b[31m\u202e\u2028'  # what a server or a catalog calls something
  path = make(tmp_path / 'sly', grader=lambda request: sly, vote=all_or_nothing(lambda request: number(request) < 4))
  (first,) = report.report_graders(path, None)
  by_two = report.report_graders(two, None)[0].metrics.graders
  by_sly = dataclasses.replace(by_two, cells=tuple(dataclasses.replace(cell, grader=sly) for cell in by_two.cells))
  by_first = report.report_graders(two, None)[0]
  (contrast, *_), _ = report.find_contrasts([by_first, dataclasses.replace(by_first, name='b', folder='b')], None)
  capsys.readouterr()
  terminal.print_run('run', first.metrics, '')
  terminal.print_graders('run', by_sly)
  terminal.print_contrasts([dataclasses.replace(contrast, a=sly, grader=sly)])
  terminal.print_refusals([sly])
  with pytest.raises(SystemExit):
    command._fail(f'no {sly}')
  shown = capsys.readouterr()
  assert (shown.out + shown.err).count(r'm\u001b[31m\u202e\u2028') == 6
  assert not set('\x1b\u202e\u2028') & set(shown.out + shown.err)


def test_correlated_votes_are_worth_as_many_independent_ones():
  """The variance of the mean of all votes is that of so many votes a text that share nothing."""
  chance = np.random.default_rng(0)
  icc, p, votes, texts = 0.6, 0.3, 3, 40
  a = p * (1 / icc - 1)
  share_RT = chance.beta(a, (1 - p) * (1 / icc - 1), (20_000, texts))
  means = chance.binomial(votes, share_RT).mean(1) / votes
  worth = p * (1 - p) / texts / means.var()
  assert statistics.effective_number(votes, icc) == pytest.approx(worth, rel=0.03)
  assert statistics.effective_number(3, 1) == 1 and statistics.effective_number(3, -0.2) == 3


def runs_of(tmp_path, second):
  """base and ft, under fake-2 higher in all combinations; `second`: (of base, of ft) by OTHER."""
  paths = [make(tmp_path / name, points) for name, points in (('base', 0), ('ft', 1))]
  for path, earns in zip(paths, second):
    add_grader(path, OTHER, all_or_nothing(earns))
  return paths


CASES = {
  'agree': ((lambda r: False, lambda r: True), ['higher', 'higher']),
  'contradict': ((lambda r: True, lambda r: False), ['refused', 'refused']),
  'undecided': ((lambda r: False, lambda r: number(r) == 1), ['refused', 'undecided']),
}


@pytest.mark.parametrize('case', CASES)
def test_a_verdict_needs_every_grader(case, tmp_path):
  second, verdicts = CASES[case]
  paths = runs_of(tmp_path, second)
  by_path = [graded.load_all(path) for path in paths]
  runs = [run for of_path in by_path for run in of_path]
  found = agreeing.decide(compare.find(runs, 'ratio_of_full_marks', [], []), runs)
  assert [one.verdict for one in found] == verdicts
  assert [(one.a, one.b) for one in found] == [(f'ft by {who}', f'base by {who}') for who in ('fake-2', OTHER)]
  assert all(one.p_holm == one.p for one in found if one.verdict != 'refused')  # graders are not corrected for
  for one in found:
    if one.verdict == 'refused':
      assert 'the graders do not agree: fake-2 says higher, gpt-6-luna says ' in one.reason
  reports = [one for path in paths for one in report.report_graders(path, None)]
  assert report.find_contrasts(reports, None) == (found, [])


def test_a_grader_of_one_run_alone_is_passed_over(tmp_path):
  base, ft = (make(tmp_path / name, points) for name, points in (('base', 0), ('ft', 1)))
  add_grader(ft, OTHER, all_or_nothing(lambda r: False))
  reports = [one for path in (base, ft) for one in report.report_graders(path, None)]
  (one,), refusals = report.find_contrasts(reports, None)
  assert (one.a, one.b, one.verdict, refusals) == ('ft by fake-2', 'base', 'higher', [])


def test_a_verdict_on_recipes_needs_every_grader(tmp_path):
  by_path = []
  for arm, points in (('a', 1), ('b', 0)):
    for seed in range(6):
      path = make(tmp_path / f'{arm}{seed}', points, num_combinations=2)
      by_path.append(graded.load_all(add_grader(path, OTHER, all_or_nothing(lambda r: number(r) == 0))))
  under = agreeing.by_grader(by_path)
  assert list(under) == ['fake-2', OTHER] and all(len(runs) == 12 for runs in under.values())
  decided = {
    name: over_seeds.decide(over_seeds.pair(runs[:6], runs[6:], 'ratio_of_full_marks')) for name, runs in under.items()
  }
  assert [one.verdict for (one,) in decided.values()] == ['higher', 'undecided']
  (one,), (other,) = agreeing.decide_over_seeds(decided).values()
  assert (one.verdict, other.verdict) == ('refused', 'undecided') and 'do not agree' in one.reason
  alone = agreeing.by_grader([by_path[0], by_path[6][:1]])
  assert list(alone) == ['fake-2']


def test_who_may_grade_a_run_that_has_votes(two, capsys):
  run = open_run(two)
  check_grader(run, Grader('fake-3', {}))
  assert f'has votes of fake-2, {OTHER}; those of fake-3 are kept apart' in capsys.readouterr().out
  check_grader(run, Grader(OTHER, {}), answer=1)
  with pytest.raises(InputError, match=r'asked with \{\}, not \{"seed": 1\}'):
    check_grader(run, Grader(OTHER, {'seed': 1}))
  with pytest.raises(InputError, match='under one grader; give --grader=fake-2, or grade the improved ones'):
    check_grader(run, Grader('fake-3', {}), answer=1)


def test_the_page_shows_the_graders_beside_each_other(two, tmp_path):
  path = shutil.copytree(two, tmp_path / 'mine')
  reports = report.report_graders(path, None)
  views = [report.to_view(one, []) for one in reports]
  shown = page.render(views, paper_tables.results(), title='t')
  assert 'Graders of the same texts' in shown and 'effective votes of 3' in shown and '0.00028' in shown
  assert 'all together' in shown and comparable.names([path]) == ['mine']
