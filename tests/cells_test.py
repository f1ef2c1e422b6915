"""Cells against numbers worked out by hand."""

import pytest

from evals import compare
from evals.marking.marks import majority, marks
from evals.results import cells, contrasts
from evals.results.contrasts import Graded
from skillmix_jax.errors import InputError


def row(combination, generation, votes, *, skills=('a', 'b'), grader='g-1', topic='t', setting='all', num_votes=3):
  """A row of grades.jsonl as `graded.build` makes it, for a text of one sentence that names nothing."""
  given = [tuple(vote) for vote in votes if vote]
  points = majority(given, num_votes) if given else None
  earned = marks(points, len(skills)) if points else None
  return {
    'combination': combination, 'setting': setting, 'k': len(skills), 'skills': list(skills), 'topic': topic,
    'generation': generation, 'grader': grader, 'text': '', 'votes': [list(vote) if vote else None for vote in votes],
    'reasons': ['' if vote else 'no table' for vote in votes], 'num_sentences': 1, 'named': [False] * len(skills),
    'points': list(points) if points else None,
    'full_marks': earned.full_marks if earned else None, 'all_skills': earned.all_skills if earned else None,
    'skills_fraction': earned.skills_fraction if earned else None,
  }  # fmt: skip


FULL, NO_SENSE, ONE_SKILL = (1, 1, 1, 1, 1), (1, 1, 1, 0, 1), (1, 0, 1, 1, 1)


def rows_of_three():
  """c1: full marks once of three; c2: all skills, never full; c3: half the skills; c4: a generation is missing."""
  return [
    row('c1', 1, [FULL] * 3), row('c1', 2, [ONE_SKILL, ONE_SKILL, FULL]), row('c1', 3, [NO_SENSE] * 3),
    *(row('c2', g, [NO_SENSE, NO_SENSE, FULL]) for g in (1, 2, 3)),
    *(row('c3', g, [ONE_SKILL] * 3, skills=('b', 'c')) for g in (1, 2, 3)),
    row('c4', 1, [FULL] * 3), row('c4', 2, [FULL, NO_SENSE, None]), row('c4', 3, [FULL] * 3),
  ]  # fmt: skip


def test_a_cell_is_what_a_hand_computes():
  cell = cells.cell(rows_of_three(), wanted=5, generations=3, num_votes=3)
  assert (cell['n'], cell['wanted'], cell['missing']) == (3, 5, 1 + 9)
  assert cell['ratio_of_full_marks'] == pytest.approx(1 / 3)  # c1
  assert cell['ratio_of_all_skills'] == pytest.approx(2 / 3)  # c1, c2
  assert cell['skills_fraction'] == pytest.approx((1 + 0 + 0.5) / 3)  # c2 makes no sense: 0
  one = cell['mean_of_one']
  assert one['ratio_of_full_marks'] == pytest.approx(1 / 9)
  assert one['ratio_of_all_skills'] == pytest.approx((2 + 3 + 0) / 9)
  assert one['skills_fraction'] == pytest.approx((1 + 0.5 + 0 + 0 + 1.5) / 9)
  # Wilson for 1 of 3: (1/3 + z2/6 -+ z sqrt(2/27 + z2/36)) / (1 + z2/3), z = 1.96
  assert cell['ci95']['ratio_of_full_marks'] == pytest.approx([0.0615, 0.7923], abs=1e-4)


def test_a_missing_vote_leaves_a_majority_where_two_agree():
  decided = row('c', 1, [FULL, FULL, None])
  open_ = row('c', 1, [FULL, NO_SENSE, None])
  assert decided['full_marks'] == 1 and open_['points'] is None
  assert cells.cell([open_], wanted=1, generations=1, num_votes=3)['ratio_of_full_marks'] is None


def test_a_cell_of_two_graders_is_refused():
  rows = [row('c1', 1, [FULL] * 3), row('c2', 1, [FULL] * 3, grader='g-2')]
  cell = cells.cell(rows, wanted=2, generations=1, num_votes=3)
  assert cell['n'] == 0 and 'g-1, g-2' in cell['refused'] and cell['ratio_of_full_marks'] is None
  rows = [row('c1', 1, [FULL] * 3, grader='g-1 and g-2')]
  assert 'refused' in cells.cell(rows, wanted=1, generations=1, num_votes=3)


def test_seen_and_unseen_skill_sets_are_apart_whatever_their_order():
  found = cells.seen_cells(rows_of_three(), {frozenset(('b', 'a'))}, generations=3, num_votes=3)
  assert [(cell['seen'], cell['n'], cell['ratio_of_full_marks']) for cell in found] == [(True, 2, 0.5), (False, 1, 0.0)]


def test_agreement_counts_unanimous_votes_by_criterion():
  found = cells.agreement(rows_of_three(), num_votes=3)
  assert found['n'] == 11  # one text lacks a vote
  # skill points: 22 of them, of which one (c1, generation 2, second skill) is not unanimous
  assert found['criteria']['skill'] == pytest.approx(21 / 22)
  assert found['criteria']['sense'] == pytest.approx(8 / 11)
  assert found['criteria']['topic'] == 1 and found['fleiss_kappa']['topic'] is None
  assert found['length_vs_count'] == 1


def test_decoys_are_counted_with_an_interval():
  rows = [
    row(f'c{i}', 1, [FULL] * 3) | {'decoy': {'position': 0, 'skill': 'z', 'point': int(i < 2)}} for i in range(20)
  ]
  found = cells.decoys([*rows, row('plain', 1, [FULL] * 3)])
  assert (found['n'], found['points'], found['rate']) == (20, 2, 0.1)
  assert found['ci95'] == pytest.approx([0.0279, 0.3010], abs=1e-4)  # Wilson, 2 of 20
  assert cells.decoys([row('plain', 1, [FULL] * 3)]) is None


def graded(name, outcomes, grader='g-1', family='x', **params):
  rows = [row(f'c{i}', 1, [FULL if won else ONE_SKILL] * 3, topic=f't{i}') for i, won in enumerate(outcomes)]
  return Graded(name, rows, 1, grader, family, params)


def test_contrasts_pair_the_same_combinations():
  a, b = graded('a', [1] * 10 + [0] * 10), graded('b', [0] * 8 + [1] * 2 + [0] * 10 + [1] * 5)
  (one,) = contrasts.contrast(a, b, 'ratio_of_full_marks')
  assert (one.n, one.mean_a, one.mean_b, one.difference) == (20, 0.5, 0.1, 0.4)
  assert one.p == pytest.approx(2 * 0.5**8)  # McNemar: 8 gained, none lost
  low, high = one.ci95
  assert 0 < low < 0.4 < high


def test_holm_decides_over_all_contrasts_asked_for():
  a, b, c = graded('a', [1] * 6 + [0] * 6), graded('b', [0] * 12), graded('c', [0] * 12)
  found = [*contrasts.contrast(a, b, 'ratio_of_full_marks'), *contrasts.contrast(b, c, 'ratio_of_full_marks')]
  assert found[0].p == pytest.approx(2 * 0.5**6)
  decided = contrasts.decide(found)
  assert decided[0].p_holm == pytest.approx(4 * 0.5**6) and decided[0].verdict == 'undecided'
  assert contrasts.decide(found[:1])[0].verdict == 'higher'
  assert decided[1].verdict == 'undecided' and decided[1].p == 1


def test_a_grader_of_the_writers_family_gives_no_verdict():
  runs = [graded('a', [1] * 9, family='openai'), graded('b', [0] * 9, family='openai')]
  why = contrasts.refusal(runs, {'openai'})
  assert 'openai' in why
  (one,) = contrasts.decide(contrasts.contrast(*runs, 'ratio_of_full_marks'), why)
  assert one.verdict.startswith('refused: ')
  other = graded('a2', [1] * 9, grader='g-2', family='anthropic')
  assert not contrasts.refusal([*runs, other], {'openai'}) and not contrasts.refusal(runs, set())


def test_students_that_were_sampled_differently_are_not_compared():
  alike = dict(temperature=0.7, max_tokens=512)
  ours = graded('ours', [1], **alike, top_p=1.0, seed=0, dtype='bfloat16')
  served = graded('served', [1], **alike)  # a server's top_p is 1 where none is sent
  compare.check_same_sampling([ours, served])
  compare.check_same_sampling([graded('a', [1]), graded('b', [1])])  # nothing was sent to either
  said = (
    r'ours was written with --config.student.temperature=0.7 --config.student.max_tokens=512 and bare with no '
    r'temperature \(what the server takes\) no max_tokens'
  )
  with pytest.raises(InputError, match=said):
    compare.check_same_sampling([ours, served, graded('bare', [1])])
