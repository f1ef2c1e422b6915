"""A verdict on two recipes counts training seeds, not questions."""

import itertools

import numpy as np
import pytest
from cells_test import graded
from scipy import stats

from evals import compare
from evals.results import contrasts, over_seeds, statistics, terminal
from skillmix_jax.errors import InputError


def arm(name, rates, rng, num=60, **params):
  """A run for each seed, whose students earn full marks at these rates."""
  return [graded(f'{name}{seed}', rng.random(num) < rate, **params) for seed, rate in enumerate(rates, 1)]


def decided(a, b):
  return over_seeds.decide(over_seeds.pair(a, b, 'ratio_of_full_marks'))


def test_two_seeds_of_one_recipe_differ_but_recipes_do_not():
  """Seeds of one recipe earn .3 or .7: as two models they differ, as recipes they must not in more than 5 %."""
  rng = np.random.default_rng(0)
  verdicts = {'models': [], 'recipes': []}
  for _ in range(40):
    a, b = (arm(name, rng.choice((0.3, 0.7), 6), rng, num=40) for name in 'ab')
    (one,) = contrasts.decide(contrasts.contrast(a[0], b[0], 'ratio_of_full_marks'))
    (both,) = decided(a, b)
    verdicts['models'].append(one.verdict != 'undecided')
    verdicts['recipes'].append(both.verdict != 'undecided')
  assert np.mean(verdicts['models']) > 0.3
  assert (
    np.mean(verdicts['recipes']) <= 0.1
  )  # the test's level is .03 with six seeds: of 40 times it decides more than 4 once in 100


def test_what_holds_for_every_seed_is_decided_by_six_of_them():
  rng = np.random.default_rng(1)
  a, b = arm('a', [0.8] * 6, rng), arm('b', [0.3] * 6, rng)
  (one,) = decided(a, b)
  assert (one.verdict, one.test, one.needed) == ('higher', 'exact sign flips', None)
  assert one.p == 2 / 2**6 and len(one.differences) == 6
  assert decided(b, a)[0].verdict == 'lower'
  (few,) = decided(a[:3], b[:3])
  assert (few.verdict, few.p, few.needed) == ('undecided', 0.25, 6)


def test_more_than_twenty_seeds_are_decided_by_students_t():
  rng = np.random.default_rng(2)
  a, b = (arm(name, [rate] * 21, rng, num=20) for name, rate in (('a', 0.6), ('b', 0.4)))
  (one,) = decided(a, b)
  theirs = stats.ttest_1samp(one.differences, 0)
  assert (one.test, one.p_flips, one.verdict) == ("Student's t", None, 'higher')
  assert one.p == pytest.approx(theirs.pvalue) and one.ci95 == pytest.approx(tuple(theirs.confidence_interval()))


def test_exact_sign_flips_are_a_count_by_hand():
  found = statistics.exact_sign_flip([0.1, 0.2, -0.05])
  sums = [abs(sum(signs)) for signs in itertools.product((0.1, -0.1), (0.2, -0.2), (0.05, -0.05))]
  assert found == sum(one >= 0.25 - 1e-9 for one in sums) / 8 == 0.5
  many = np.random.default_rng(3).normal(0.3, 1, 12)
  assert statistics.exact_sign_flip(many) == pytest.approx(
    stats.permutation_test((many, np.zeros(12)), lambda x, y, axis: np.mean(x - y, axis=axis),
                           permutation_type='samples', vectorized=True, n_resamples=np.inf).pvalue
  )  # fmt: skip


def test_a_seed_without_marks_in_a_cell_refuses_the_cell():
  rng = np.random.default_rng(4)
  a, b = arm('a', [0.9] * 6, rng), arm('b', [0.1] * 6, rng)
  by_seed = over_seeds.pair(a, b, 'ratio_of_full_marks')
  by_seed[2] = []
  (one,) = over_seeds.decide(by_seed)
  assert (one.verdict, one.reason) == ('refused', '1 of 6 seeds have no marks here')


def test_seeds_may_have_catalogs_of_their_own_and_nothing_else():
  rng = np.random.default_rng(5)
  make = lambda name, **more: arm(name, [0.5], rng, **more)
  a, b = make('a', catalog='one') + make('a', catalog='two'), make('b', catalog='one') + make('b', catalog='two')
  assert len(decided(a, b)[0].differences) == 2
  with pytest.raises(InputError, match='differ in catalog'):
    decided(a, b[::-1])
  for odd in ({'temperature': 0.7}, {'votes': 1}):
    with pytest.raises(InputError, match='are not comparable'):
      decided(a[:1] + make('a', **odd), b[:1] + make('b', **odd))


def test_the_terminal_names_both_tests_and_how_many_seeds_are_needed(capsys):
  rng = np.random.default_rng(6)
  a, b = arm('a', [0.8] * 3, rng), arm('b', [0.3] * 3, rng)
  by_seed = compare.find_over_seeds(a, b, 'ratio_of_full_marks', [], [])
  terminal.print_over_seeds(over_seeds.decide(by_seed), by_seed)
  out = capsys.readouterr().out
  assert '3 training seeds: a1 - b1, a2 - b2, a3 - b3' in out
  assert 'exact sign flips p=0.25' in out and "Student's t p=" in out and 'need 6 seeds to decide 1 cell' in out
