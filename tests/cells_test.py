"""Cells against numbers worked out by hand."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from evals import compare
from evals.marking.marks import majority, marks
from evals.questions import catalog
from evals.results import cells, contrasts, statistics, terminal, trust
from evals.results.cells import Cell
from evals.results.comparable import Conditions
from evals.results.graded import GradedDecoy, GradedRun, GradedText
from evals.results.summary import RunMetrics
from evals.results.trust import Decoys
from skillmix_jax.errors import InputError


def text(combination, generation, votes, *, skills=('a', 'b'), grader='g-1', topic=None, num_votes=3, decoy=None):
  """As `graded.build` makes it, for one sentence that names nothing."""
  given = [vote for vote in votes if vote]
  points = majority(given, num_votes) if given else None
  return GradedText(
    combination, 'all', len(skills), skills, topic or f't-{combination}', generation, grader, text='', answer1='',
    answer2='', votes=tuple(votes), reasons=tuple('' if vote else 'no table' for vote in votes), num_sentences=1,
    named=(False,) * len(skills), points=points, marks=marks(points, len(skills)) if points else None, decoy=decoy,
  )  # fmt: skip


FULL, NO_SENSE, ONE_SKILL = (1, 1, 1, 1, 1), (1, 1, 1, 0, 1), (1, 0, 1, 1, 1)


def texts_of_three():
  """c1: full marks once of three; c2: all skills, never full; c3: half the skills; c4: a generation is missing."""
  return [
    text('c1', 1, [FULL] * 3), text('c1', 2, [ONE_SKILL, ONE_SKILL, FULL]), text('c1', 3, [NO_SENSE] * 3),
    *(text('c2', g, [NO_SENSE, NO_SENSE, FULL]) for g in (1, 2, 3)),
    *(text('c3', g, [ONE_SKILL] * 3, skills=('b', 'c')) for g in (1, 2, 3)),
    text('c4', 1, [FULL] * 3), text('c4', 2, [FULL, NO_SENSE, None]), text('c4', 3, [FULL] * 3),
  ]  # fmt: skip


def test_a_cell_is_what_a_hand_computes():
  cell = cells.cell(texts_of_three(), wanted=5, generations=3, num_votes=3)
  assert (cell.n, cell.wanted, cell.missing) == (3, 5, 1 + 9)
  assert cell.best['ratio_of_full_marks'].mean == pytest.approx(1 / 3)  # c1
  assert cell.best['ratio_of_all_skills'].mean == pytest.approx(2 / 3)  # c1, c2
  assert cell.best['skills_fraction'].mean == pytest.approx((1 + 0 + 0.5) / 3)  # c2 makes no sense: 0
  assert cell.mean_of_one['ratio_of_full_marks'].mean == pytest.approx(1 / 9)
  assert cell.mean_of_one['ratio_of_all_skills'].mean == pytest.approx((2 + 3 + 0) / 9)
  assert cell.mean_of_one['skills_fraction'].mean == pytest.approx((1 + 0.5 + 0 + 0 + 1.5) / 9)
  # Wilson for 1 of 3: (1/3 + z2/6 -+ z sqrt(2/27 + z2/36)) / (1 + z2/3), z = 1.96
  assert cell.best['ratio_of_full_marks'].ci95 == pytest.approx((0.0615, 0.7923), abs=1e-4)


def test_a_missing_vote_leaves_a_majority_where_two_agree():
  decided = text('c', 1, [FULL, FULL, None])
  open_ = text('c', 1, [FULL, NO_SENSE, None])
  assert decided.marks.full_marks == 1 and open_.points is None
  assert cells.cell([open_], wanted=1, generations=1, num_votes=3).best == {}


def test_a_cell_of_two_graders_is_refused():
  texts = [text('c1', 1, [FULL] * 3), text('c2', 1, [FULL] * 3, grader='g-2')]
  cell = cells.cell(texts, wanted=2, generations=1, num_votes=3)
  assert cell.n == 0 and 'g-1, g-2' in cell.refused and cell.best == {}
  texts = [text('c1', 1, [FULL] * 3, grader='g-1 and g-2')]
  assert cells.cell(texts, wanted=1, generations=1, num_votes=3).refused


def test_seen_and_unseen_skill_sets_are_apart_whatever_their_order():
  found = cells.seen_cells(texts_of_three(), {frozenset(('b', 'a'))}, generations=3, num_votes=3)
  assert [(cell.seen, cell.n, cell.best['ratio_of_full_marks'].mean) for cell in found] == [
    (True, 2, 0.5),
    (False, 1, 0),
  ]


def test_agreement_counts_unanimous_votes_by_criterion():
  found = trust.agreement(texts_of_three(), num_votes=3, catalog=catalog.load())
  assert found.n == 11  # one text lacks a vote
  # skill points: 22 of them, of which one (c1, generation 2, second skill) is not unanimous
  assert found.criteria['skill'] == pytest.approx(21 / 22)
  assert found.criteria['sense'] == pytest.approx(8 / 11)
  assert found.criteria['topic'] == 1 and found.fleiss_kappa['topic'] is None
  assert found.length_vs_count == 1


def test_decoys_are_counted_with_an_interval():
  texts = [text(f'c{i}', 1, [FULL] * 3, decoy=GradedDecoy(0, 'z', int(i < 2))) for i in range(20)]
  plain = text('plain', 1, [FULL] * 3)
  found = trust.decoys([*texts, plain], catalog.load())
  assert (found.n, found.points, found.rate) == (20, 2, 0.1)
  assert found.ci95 == pytest.approx((0.0279, 0.3010), abs=1e-4)  # Wilson, 2 of 20
  assert trust.decoys([plain], catalog.load()) is None
  assert found.left_out == 22 and Decoys.from_json(json.loads(json.dumps(found.to_json()))) == found
  mine = trust.decoys(texts, dataclasses.replace(catalog.load(), in_any_text=frozenset()))
  assert 'left_out' not in mine.to_json() and 'every skill may be a decoy' in mine.drawn_from


def graded(name, outcomes, grader='g-1', family='x', **params):
  texts = [text(f'c{i}', 1, [FULL if won else ONE_SKILL] * 3, topic=f't{i}') for i, won in enumerate(outcomes)]
  return GradedRun(name, texts, grader, family, Conditions(**params))


def test_contrasts_pair_the_same_combinations():
  a, b = graded('a', [1] * 10 + [0] * 10), graded('b', [0] * 8 + [1] * 2 + [0] * 10 + [1] * 5)
  (one,) = contrasts.contrast(a, b, 'ratio_of_full_marks')
  assert (one.n, one.mean_a, one.mean_b, one.difference) == (20, 0.5, 0.1, 0.4)
  assert one.p == pytest.approx(2 * 0.5**8)  # McNemar: 8 gained, none lost
  low, high = one.ci95
  assert 0 < low < 0.4 < high


def test_a_question_asked_ten_times_is_one_observation():
  """Ten questions, each asked ten times; the student can or cannot answer each. n is 10, not 100."""
  outcomes = [1] * 5 + [0] * 5
  once = [text(f'c{i}', 1, [FULL if won else ONE_SKILL] * 3, topic=f't{i}') for i, won in enumerate(outcomes)]
  ten = [dataclasses.replace(one, combination=f'{one.combination}-{i}') for one in once for i in range(10)]
  few, many = (cells.cell(texts, len(texts), 1, 3) for texts in (once, ten))
  assert (many.n, many.num_questions, many.missing) == (100, 10, 0)
  assert many.best == few.best and many.by_skill_ci95 == few.by_skill_ci95
  assert Cell.from_json(json.loads(json.dumps(many.to_json()))) == many
  none = [dataclasses.replace(one, points=(0,) * 5, marks=marks((0,) * 5, 2)) for one in ten]
  (one,) = contrasts.contrast(GradedRun('a', ten, 'g', None), GradedRun('b', none, 'g', None), 'ratio_of_full_marks')
  assert (one.n, one.asked, one.p) == (10, 10, 2 * 0.5**5)


def test_a_question_asked_again_with_another_outcome_counts_in_part():
  """The mean of its combinations; before, the last one of them was all that a contrast saw."""
  a = [text(f'c{i}', 1, [FULL if i else ONE_SKILL] * 3, topic='t') for i in range(4)]
  assert list(contrasts.values(GradedRun('a', a, 'g', None), 'ratio_of_full_marks').values()) == [0.75]
  assert cells.cell(a, 4, 1, 3).best['ratio_of_full_marks'].mean == 0.75


def test_missing_votes_are_said_with_what_they_cost(capsys):
  """At 5 % missing votes about a quarter of the combinations has no marks."""
  texts = [text(f'c{i}', g, [FULL, NO_SENSE, None if i < 24 else FULL]) for i in range(100) for g in (1, 2, 3)]
  cell = cells.cell(texts, 100, 3, 3)
  terminal.print_cells([cell], None, None)
  assert 'k=2 (n=76/100)' in capsys.readouterr().out
  full = [text(f'c{i}', g, [FULL] * 3) for i in range(100) for g in (1, 2, 3)]
  alike = Conditions(generations=3)
  runs = [GradedRun(name, its, 'g', None, alike) for name, its in (('a', texts), ('b', full))]
  terminal.print_contrasts(contrasts.decide(contrasts.contrast(*runs, 'ratio_of_full_marks')))
  assert 'n=76 of 100' in capsys.readouterr().out


def test_holm_decides_over_all_contrasts_asked_for():
  a, b, c = graded('a', [1] * 6 + [0] * 6), graded('b', [0] * 12), graded('c', [0] * 12)
  found = [*contrasts.contrast(a, b, 'ratio_of_full_marks'), *contrasts.contrast(b, c, 'ratio_of_full_marks')]
  assert found[0].p == pytest.approx(2 * 0.5**6)
  decided = contrasts.decide(found)
  assert decided[0].p_holm == pytest.approx(4 * 0.5**6) and decided[0].verdict == 'undecided'
  assert contrasts.decide(found[:1])[0].verdict == 'higher'
  assert decided[1].verdict == 'undecided' and decided[1].p == 1
  # both are undecided, so .05 / 2 is what the smaller p has to pass; no difference is decided by no number
  assert decided[0].needed == statistics.pairs_needed(0.5, 0.5, 0.025) and decided[1].needed is None


def test_a_grader_of_the_writers_family_gives_no_verdict():
  runs = [graded('a', [1] * 9, family='openai'), graded('b', [0] * 9, family='openai')]
  why = contrasts.refusal(runs, {'openai'})
  assert 'openai' in why
  (one,) = contrasts.decide(contrasts.contrast(*runs, 'ratio_of_full_marks'), why)
  assert (one.verdict, one.reason) == ('refused', why)
  other = graded('a2', [1] * 9, grader='g-2', family='anthropic')
  assert not contrasts.refusal([*runs, other], {'openai'}) and not contrasts.refusal(runs, set())


@pytest.mark.parametrize('name', ['run_exact', 'run_hosted'])
def test_what_earlier_versions_wrote_is_read_and_written_again_as_it_was(name):
  folder = Path(__file__).parent / 'fixtures' / '0.1' / name
  for line in (folder / 'grades.jsonl').read_text().splitlines():
    assert json.dumps(GradedText.from_json(json.loads(line)).to_json(), ensure_ascii=False) == line
  written = (folder / 'metrics.json').read_text()
  metrics = RunMetrics.from_json(json.loads(written))
  assert json.dumps(metrics.to_json(), indent=1, ensure_ascii=False) + '\n' == written
  texts = [GradedText.from_json(json.loads(line)) for line in (folder / 'grades.jsonl').open()]
  wanted = Counter((c.setting, c.k) for c in metrics.cells for _ in range(c.wanted))
  assert tuple(cells.cells(texts, wanted, 3, 3)) == metrics.cells


def test_texts_without_marks_and_seen_and_refused_cells_survive_a_file():
  texts = [*texts_of_three(), text('open', 1, [FULL, None, None]), text('not asked', 1, [])]
  again = lambda value: type(value).from_json(json.loads(json.dumps(value.to_json())))
  assert [again(one) for one in texts] == texts
  found = cells.seen_cells(texts, {frozenset(('b', 'a'))}, generations=3, num_votes=3)
  two = [text('c1', 1, [FULL] * 3), text('c2', 1, [FULL] * 3, grader='g-2')]
  found.append(cells.cell(two, wanted=2, generations=1, num_votes=3))
  assert [again(cell) for cell in found] == found
  assert [cell.to_json().get('seen') for cell in found] == [True, False, None]
  assert found[-1].to_json()['ratio_of_full_marks'] is None and found[-1].to_json()['refused'].endswith('g-1, g-2')


def test_comparing_cells_that_no_run_has_says_which_there_are():
  runs = [graded('a', [1, 0]), graded('b', [1, 1])]
  setting, k = runs[0].texts[0].setting, runs[0].texts[0].k
  assert compare.find(runs, 'ratio_of_full_marks', [setting], [k])
  with pytest.raises(InputError, match=rf'--settings: no run has heldout, but {setting}$'):
    compare.find(runs, 'ratio_of_full_marks', ['heldout'], [])
  with pytest.raises(InputError, match=rf'--ks: no run has 9, but {k}$'):
    compare.find(runs, 'ratio_of_full_marks', [], [9])
