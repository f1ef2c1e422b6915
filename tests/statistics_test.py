"""Intervals cover, tests keep their level, and published examples come out."""

import math
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evals.results.statistics import (
  Interval,
  bootstrap,
  clustered,
  cohen_kappa,
  difference,
  fleiss_kappa,
  holm,
  mcnemar,
  paired_bootstrap,
  pairs_needed,
  sign_flip,
  wilson,
)


@pytest.mark.parametrize(
  ('successes', 'n', 'low', 'high'),
  [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombe_1998(successes, n, low, high):
  """Two-sided confidence intervals for the single proportion, Statistics in Medicine 17:857, table I, method 3."""
  np.testing.assert_allclose(wilson(successes / n, n), (low, high), atol=5e-5)
  theirs = scipy.stats.binomtest(successes, n).proportion_ci(method='wilson')
  np.testing.assert_allclose(wilson(successes / n, n), theirs, atol=1e-12)


@pytest.mark.parametrize('p', [0, 0.01, 0.02, 0.05, 0.37, 0.96])
def test_wilson_covers_at_n_100(p):
  """Exact: the sum over all 101 outcomes."""
  intervals = [wilson(successes / 100, 100) for successes in range(101)]
  chances = scipy.stats.binom.pmf(range(101), 100, p)
  assert sum(chance for chance, (low, high) in zip(chances, intervals) if low <= p <= high) >= 0.92


@pytest.mark.parametrize('p', [0.05, 0.37, 0.96])
def test_wilson_of_a_bounded_mean_is_conservative(p):
  """Skills fractions with k = 3: less variance than 0/1 values of the same mean."""
  values_RxN = np.random.default_rng(0).binomial(3, p, (1000, 100)) / 3
  covered = [low <= p <= high for low, high in (wilson(mean, 100) for mean in values_RxN.mean(axis=1))]
  assert np.mean(covered) >= 0.97


@pytest.mark.parametrize('mean', [0.0, 1.0, np.float64(0.3)])
def test_wilson_stays_between_0_and_1_and_has_a_width(mean):
  low, high = wilson(mean, 50)
  assert 0 <= low <= mean <= high <= 1 and high - low > 0.05
  assert wilson(mean, 0) == Interval(0, 1)
  assert wilson(mean, 50, level=0.99).high - wilson(mean, 50, level=0.99).low > high - low


def test_bootstrap_covers_and_is_repeatable():
  rng = np.random.default_rng(0)
  covered = []
  for i in range(300):
    low, high = bootstrap(rng.binomial(3, 0.37, 100) / 3, seed=i, num=500)
    covered.append(low <= 0.37 <= high)
  assert np.mean(covered) >= 0.92
  values = rng.random(50)
  assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_bootstrap_equals_scipys():
  values = np.random.default_rng(0).random(200)
  theirs = scipy.stats.bootstrap((values,), np.mean, method='percentile', random_state=0).confidence_interval
  np.testing.assert_allclose(bootstrap(values), theirs, atol=2e-3)


def test_two_runs_of_one_student_differ_in_at_most_5_percent():
  rng = np.random.default_rng(0)
  flagged = np.zeros((1500, 3), bool)
  for i in range(len(flagged)):
    chance = rng.beta(0.6, 1, 100)  # combinations differ in how hard they are; the two runs do not
    a, b = rng.random((2, 100)) < chance
    flagged[i, 0] = mcnemar((a & ~b).sum(), (~a & b).sum()) <= 0.05
    a, b = rng.binomial(3, chance, (2, 100)) / 3
    low, high = paired_bootstrap(a, b, seed=i, num=400)
    flagged[i, 1] = not low <= 0 <= high
    flagged[i, 2] = sign_flip(a, b, seed=i, num=400) <= 0.05
  by_mcnemar, by_bootstrap, by_sign_flip = flagged.mean(axis=0)
  assert by_mcnemar <= 0.05 and by_sign_flip <= 0.05
  assert by_bootstrap <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / len(flagged))  # nominal, not exact


def test_a_paired_difference_is_found_with_its_sign():
  rng = np.random.default_rng(0)
  hard = rng.random(200)
  a, b = hard + 0.1, hard + rng.normal(0, 0.05, 200)
  low, high = paired_bootstrap(a, b)
  assert 0.08 < low < 0.1 < high < 0.12
  assert sign_flip(a, b) == pytest.approx(1 / 10_001)
  assert sign_flip(a, a) == 1
  with pytest.raises(ValueError, match='no pairs'):
    paired_bootstrap(a, b[1:])


def test_sign_flip_equals_enumeration():
  a, b = np.array([0.5, 1, 0.25, 1, 0, 0.75]), np.array([0, 0.5, 0.5, 0, 0, 0.5])
  signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
  exact = (abs((a - b) @ signs) >= abs((a - b).sum()) - 1e-9).mean()
  assert sign_flip(a, b, num=100_000) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(('b', 'c'), [(0, 0), (1, 0), (5, 0), (6, 0), (2, 9), (9, 2), (7, 7), (40, 61)])
def test_mcnemar_equals_scipys_binomial_test(b, c):
  expected = scipy.stats.binomtest(b, b + c).pvalue if b + c else 1
  assert mcnemar(b, c) == pytest.approx(expected)


def test_holm_by_hand():
  """Sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04; made monotone .04 .06 .06 .06."""
  assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
  assert holm([0.5, 0.9]) == [1, 1]
  assert holm([]) == []


@pytest.mark.parametrize(
  ('a', 'm', 'b', 'n', 'low', 'high'),
  [
    (56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926), (0, 10, 0, 20, -0.1611, 0.2775), (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0), (10, 10, 0, 10, 0.6075, 1.0),
  ],
)  # fmt: skip
def test_difference_equals_newcombe_1998(a, m, b, n, low, high):
  """Interval estimation for the difference between independent proportions, Stat. Med. 17:873, table II, method 10."""
  one, two = (a / m, wilson(a / m, m)), (b / n, wilson(b / n, n))
  np.testing.assert_allclose(difference(*one, *two), (low, high), atol=5e-5)
  np.testing.assert_allclose(difference(*two, *one), (-high, -low), atol=5e-5)


def simulate(rng, num_skills, k, n, spread):
  """0/1 values that all k skills must work for; `spread` is the standard deviation of the skills' chances (mean .7)."""
  chances = np.full(num_skills, 0.7)
  if spread:
    size = 0.7 * 0.3 / spread**2 - 1
    chances = rng.beta(0.7 * size, 0.3 * size, num_skills)
  groups = np.argsort(rng.random((n, num_skills)), axis=1)[:, :k]
  return (rng.random(n) < chances[groups].prod(axis=1)).astype(float), groups


@pytest.mark.parametrize(('num_skills', 'k', 'n'), [(50, 1, 300), (50, 3, 150), (12, 2, 66)])
def test_clustered_covers_where_skills_differ_and_wilson_does_not(num_skills, k, n):
  rng = np.random.default_rng(0)
  covered = np.zeros((200, 2), bool)
  for i in range(len(covered)):
    values, groups = simulate(rng, num_skills, k, n, spread=0.23)
    for j, (low, high) in enumerate((clustered(values, groups.tolist()), wilson(values.mean(), n))):
      covered[i, j] = low <= 0.7**k <= high
  clustered_covers, wilson_covers = covered.mean(axis=0)
  assert clustered_covers >= 0.91
  assert wilson_covers < 0.87


def test_clustered_covers_where_skills_are_alike():
  rng = np.random.default_rng(0)
  draws = [simulate(rng, 50, 3, 100, spread=0) for _ in range(200)]
  intervals = [clustered(values, groups.tolist()) for values, groups in draws]
  assert np.mean([low <= 0.343 <= high for low, high in intervals]) >= 0.94
  assert np.mean([high - low for low, high in intervals]) < 1.25 * (wilson(0.343, 100).high - wilson(0.343, 100).low)


def test_clustered_by_hand():
  """Residuals +-.5; a-a-b-c: of 16 ordered pairs 6 share. Products: 4 * .25 + 2 * .25 = 1.5; / (1 - 6/16) = 2.4;
  independent 4 * .25 * 4/3 = 1.333; ratio 1.8; t of 3 skills (2 degrees) 4.3027; u = 18.513 * 1.8 / 4 = 8.331."""
  u = 8.331
  half = math.sqrt(0.25 * u + u * u / 4)
  expected = ((0.5 + u / 2 - half) / (1 + u), (0.5 + u / 2 + half) / (1 + u))
  np.testing.assert_allclose(clustered([1, 1, 0, 0], [['a'], ['a'], ['b'], ['c']]), expected, atol=1e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.sets(st.sampled_from('abcdefgh'), max_size=3)), max_size=30))
def test_clustered_is_bounded_and_never_narrower_than_wilson(pairs):
  values = [value for value, _ in pairs]
  low, high = clustered(values, [members for _, members in pairs])
  plain = wilson(float(np.mean(values)) if values else 0.0, len(values))
  assert 0 <= low <= high <= 1
  assert high - low >= plain.high - plain.low - 1e-9
  assert not values or low - 1e-9 <= np.mean(values) <= high + 1e-9


def test_clustered_knows_what_it_does_not_know():
  low, high = clustered([0] * 100, [[str(i % 50)] for i in range(100)])
  assert low == 0 and 0.03 < high < 0.1
  assert clustered([0, 1, 0, 1], [['a', str(i)] for i in range(4)]) == (0, 1)
  with pytest.raises(ValueError, match='3 values'):
    clustered([0, 1, 0], [['a']])


def test_clustered_sums_over_all_pairs_that_share_a_member():
  rng = np.random.default_rng(4)
  worth, groups = rng.random(9), [set(rng.choice(9, 2, replace=False).tolist()) for _ in range(60)]
  values = np.array([worth[list(group)].mean() for group in groups])
  residuals = values - values.mean()
  pairs = np.array([[i == j or bool(groups[i] & groups[j]) for j in range(60)] for i in range(60)])
  independent = 60 / 59 * residuals @ residuals
  effect = max(1.0, residuals @ pairs @ residuals / (1 - pairs.mean()) / independent)
  u = scipy.stats.t.ppf(0.975, 8) ** 2 * effect / 60
  half = math.sqrt(values.mean() * (1 - values.mean()) * u + u * u / 4)
  expected = [(values.mean() + u / 2 + sign * half) / (1 + u) for sign in (-1, 1)]
  assert effect > 1
  np.testing.assert_allclose(clustered(values, groups), expected, rtol=1e-9)


def test_clustered_is_quick_at_n_400_k_5():
  values, groups = simulate(np.random.default_rng(0), 50, 5, 400, spread=0.2)
  names = [[f'skill {skill}' for skill in group] for group in groups]
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    clustered(values, names)
    seconds.append(time.perf_counter() - start)
  assert min(seconds) < 0.2


def test_cohen_kappa_by_hand():
  """50 proposals, both yes 20, only the first 5, only the second 10, both no 15: (.7 - .5) / (1 - .5) = .4.

  The example of Wikipedia's article on Cohen's kappa. The second: Cohen 1960 defines chance by the margins alone.
  """
  a = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
  b = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
  assert cohen_kappa(a, b) == pytest.approx(0.4)
  assert cohen_kappa('abab', 'abab') == 1
  assert cohen_kappa('abab', 'baba') == -1
  assert math.isnan(cohen_kappa('aaa', 'aaa'))
  with pytest.raises(ValueError, match='no pairs'):
    cohen_kappa('ab', 'a')


def test_fleiss_kappa_of_the_textbook_table():
  """14 raters, 10 items, 5 labels: .210 (Wikipedia, "Fleiss' kappa", worked example: P = .378, Pe = .213)."""
  table = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
  ]  # fmt: skip
  ratings = [[label for label, count in enumerate(item) for _ in range(count)] for item in table]
  assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)
  assert fleiss_kappa([(0, 0, 0), (1, 1, 1)]) == 1
  assert math.isnan(fleiss_kappa([(1, 1, 1)] * 5))
  with pytest.raises(ValueError, match='same number'):
    fleiss_kappa([(1, 1), (1, 1, 0)])


def decided_by_mcnemar(n, gained, lost, level):
  """Chance that n pairs, of which shares are gained and lost, have p <= level: over every outcome."""
  total = 0.0
  for differing in range(n + 1):
    weight = scipy.stats.binom.pmf(differing, n, gained + lost)
    if weight > 1e-7:
      rejected = [won for won in range(differing + 1) if mcnemar(won, differing - won) <= level]
      total += weight * scipy.stats.binom.pmf(rejected, differing, gained / (gained + lost)).sum()
  return total


@pytest.mark.parametrize(
  ('gained', 'lost', 'level'),
  [(0.3, 0.1, 0.05), (0.1, 0.3, 0.005), (0.2, 0.0, 0.05), (0.9, 0.0, 0.05), (0.5, 0.1, 0.005), (0.2, 0.1, 0.05)],
)
def test_so_many_pairs_decide_in_four_of_five_cases(gained, lost, level):
  n = pairs_needed(gained - lost, gained + lost, level)
  assert 0.8 <= decided_by_mcnemar(n, gained, lost, level) < 0.97
  assert decided_by_mcnemar(int(0.7 * n), gained, lost, level) < 0.8, 'far fewer would do'
  if lost:
    psi, d = gained + lost, gained - lost  # Connor's (1987) formula, which is the limit for many pairs
    z = scipy.stats.norm.isf([level / 2, 0.2])
    connor = (z[0] * psi**0.5 + z[1] * (psi - d * d) ** 0.5) ** 2 / d**2
    assert connor < n < 1.25 * connor
  assert pairs_needed(0.0, psi if lost else 0.1, level) is None


def test_so_many_shares_are_decided_by_sign_flips():
  rng = np.random.default_rng(0)
  kinds, rates = np.array([-1 / 3, 0, 1 / 3, 1]), [0.2, 0.4, 0.3, 0.1]
  n = pairs_needed(kinds @ rates, kinds**2 @ rates, 0.05)
  samples = rng.choice(kinds, (300, n), p=rates)
  decided = [sign_flip(sample, np.zeros(n), num=1000) <= 0.05 for sample in samples]
  assert 0.74 < np.mean(decided) < 0.93  # .8 or a little more, to 2.5 standard errors
