"""How far a number may be off: intervals, tests and agreement. Arrays in, plain numbers out."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special  # not scipy.stats, which takes half a second longer to import

Values = Sequence[float] | np.ndarray

_CHUNK = 2_000_000  # elements of a temporary array


class Interval(NamedTuple):
  low: float
  high: float


def wilson(mean: float, n: float, level: float = 0.95) -> Interval:
  """Score interval of a proportion (Wilson 1927); [0, 1] where n = 0.

  `mean` may also be that of values between 0 and 1: their variance is at most mean * (1 - mean), so the interval is
  then conservative. n need not be whole: `clustered` passes an effective number.
  """
  if n <= 0:
    return Interval(0.0, 1.0)
  if not -1e-9 <= mean <= 1 + 1e-9:
    raise ValueError(f'mean {mean} is not between 0 and 1')
  mean = min(1.0, max(0.0, float(mean)))
  return _score_interval(mean, float(special.ndtri((1 + level) / 2)) ** 2 / n)


def _score_interval(mean: float, u: float) -> Interval:
  """Wilson's interval, which depends on quantile and n through u = z^2 / n only."""
  half = math.sqrt(mean * (1 - mean) * u + u * u / 4)
  low, high = (mean + u / 2 - half) / (1 + u), (mean + u / 2 + half) / (1 + u)
  return Interval(0.0 if mean == 0 else max(0.0, low), 1.0 if mean == 1 else min(1.0, high))


def bootstrap(values: Values, seed: int = 0, num: int = 10_000, level: float = 0.95) -> Interval:
  """Percentile bootstrap of a mean over independent values [n]; the same for the same seed.

  The percentiles are widened for small n as Hesterberg proposes ("What Teachers Should Know About the Bootstrap",
  The American Statistician 69:371, 2015): Phi(-sqrt(n/(n-1)) t) in the place of (1 - level)/2. Not for rare
  0/1 values: without a success it is [0, 0], where `wilson` is not.
  """
  array = np.asarray(values, np.float64)
  n = len(array)
  if n < 2:
    raise ValueError(f'a bootstrap of {n} values says nothing')
  rng = np.random.default_rng(seed)
  rows = max(1, _CHUNK // n)
  means = [
    array[rng.integers(0, n, (min(rows, num - start), n), dtype=np.int32)].mean(axis=1) for start in range(0, num, rows)
  ]
  tail = special.ndtr(-math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 + level) / 2))
  low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
  return Interval(float(low), float(high))


def paired_bootstrap(a: Values, b: Values, seed: int = 0, num: int = 10_000, level: float = 0.95) -> Interval:
  """Bootstrap interval of mean(a) - mean(b), where a[i] and b[i] belong to the same combination.

  It says how large a difference is. Whether there is one, `mcnemar` and `sign_flip` say at an exact level.
  """
  return bootstrap(_differences(a, b), seed, num, level)


def sign_flip(a: Values, b: Values, seed: int = 0, num: int = 10_000) -> float:
  """Two-sided p of a paired difference: how often random signs give a mean at least as far from 0 (with the data's).

  The counterpart of `mcnemar` for values between 0 and 1, with no assumption but that under no effect a and b could
  be swapped in any pair (Fisher's randomisation test; the +1 is of Phipson and Smyth 2010).
  """
  differences = _differences(a, b)
  differences = differences[differences != 0]
  if not len(differences):
    return 1.0
  rng = np.random.default_rng(seed)
  rows = max(1, _CHUNK // len(differences))
  observed = abs(differences.sum()) - 1e-9
  num_beyond = 0
  for start in range(0, num, rows):
    signs = rng.integers(0, 2, (min(rows, num - start), len(differences)), dtype=np.int8) * 2 - 1
    num_beyond += int((np.abs(signs @ differences) >= observed).sum())
  return (num_beyond + 1) / (num + 1)


def exact_sign_flip(differences: Values) -> float:
  """Two-sided p of a mean difference: the share of all 2^n signs that give one at least as far from 0.

  As `sign_flip`, for so few values that every sign can be tried; the smallest p is 2 / 2^n.
  """
  array = np.asarray(differences, np.float64)
  if not 1 <= len(array) <= 20:
    raise ValueError(f'all signs of {len(array)} differences: 1 to 20 are possible')
  signs = np.array(list(itertools.product((-1, 1), repeat=len(array))), np.int8)
  return float(np.mean(np.abs(signs @ array) >= abs(array.sum()) - 1e-9))


def student(differences: Values, level: float = 0.95) -> tuple[Interval, float]:
  """Returns (interval of the mean, two-sided p) of normal differences; nan of a single one."""
  array = np.asarray(differences, np.float64)
  mean, n = float(array.mean()), len(array)
  if n == 1:
    return Interval(math.nan, math.nan), math.nan
  error = float(array.std(ddof=1)) / math.sqrt(n)
  if error == 0:
    return Interval(mean, mean), 1.0 if mean == 0 else 0.0
  half = float(special.stdtrit(n - 1, (1 + level) / 2)) * error
  return Interval(mean - half, mean + half), 2 * float(special.stdtr(n - 1, -abs(mean) / error))


def _differences(a: Values, b: Values) -> np.ndarray:
  if len(a) != len(b):
    raise ValueError(f'{len(a)} and {len(b)} values are no pairs')
  return np.asarray(a, np.float64) - np.asarray(b, np.float64)


def paired_difference(num_gained: int, num_lost: int, n: int, level: float = 0.95) -> Interval:
  """Interval of the difference of two 0/1 means over the same n pairs, of which some were gained and some lost.

  The adjusted Wald interval of Bonett and Price (2012, Statistics in Medicine 31:2151): one pair is added to each of
  the four kinds. Unlike a bootstrap it has a width where no pair differs.
  """
  gained, lost = (num_gained + 1) / (n + 2), (num_lost + 1) / (n + 2)
  z = special.ndtri((1 + level) / 2)
  half = float(z) * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
  return Interval(max(-1.0, gained - lost - half), min(1.0, gained - lost + half))


def mcnemar(b: int, c: int) -> float:
  """Exact two-sided p of b pairs won by one side and c by the other; ties do not enter."""
  return min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5)))


def pairs_needed(mean: float, mean_square: float, level: float, power: float = 0.8) -> int | None:
  """How many pairs decide a difference in this share of all cases if its rates stay as observed; None where it is 0.

  Of n pairs that differ by d, the sum of d has the mean n * m and the variance n * (s - m^2), where m is the mean of d
  and s that of d^2; if both sides were alike it would have n * s. `mcnemar` (d is -1, 0 or 1) and `sign_flip` decide
  about where |sum| - 1 exceeds z(level) times the root of n * s; the 1 is Edwards's continuity correction (1948,
  Psychometrika 13:185). So n solves

      n * |m| - 1 = sqrt(n) * (z(level) * sqrt(s) + z(power) * sqrt(s - m^2))

  Without the 1 it is the formula of Connor (1987, Biometrics 43:207) for McNemar's test.

  Args:
    mean: of the differences.
    mean_square: of the differences; for 0/1 marks the share of pairs that differ.
    level: that p must not exceed.
    power: share of cases that are decided.
  """
  if mean == 0:
    return None
  m = abs(mean)
  spread = float(-special.ndtri(level / 2)) * math.sqrt(mean_square)
  spread += float(special.ndtri(power)) * math.sqrt(max(0.0, mean_square - m * m))
  return math.ceil(((spread + math.sqrt(spread**2 + 4 * m)) / (2 * m)) ** 2)


def holm(ps: Sequence[float]) -> list[float]:
  """Adjusted p values in the order given (Holm 1979): the i-th smallest of m times m - i + 1, made monotone."""
  adjusted = [0.0] * len(ps)
  highest = 0.0
  for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
    highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
    adjusted[i] = highest
  return adjusted


def difference(a: float, of_a: Interval, b: float, of_b: Interval) -> Interval:
  """Interval of a - b of independent numbers from their own intervals.

  Of two proportions with Wilson's intervals it is Newcombe's (1998, Statistics in Medicine 17:873, method 10).
  """
  below = math.hypot(a - of_a.low, of_b.high - b)
  above = math.hypot(of_a.high - a, b - of_b.low)
  return Interval(max(-1.0, a - b - below), min(1.0, a - b + above))


def clustered(values: Values, groups: Sequence[Collection[str]], level: float = 0.95) -> Interval:
  """Interval of the mean of values in [0, 1] of which two depend on each other if they share a member of their groups.

  A combination is graded on k skills, and those that share a skill fail together. The plain interval speaks about
  this list of skills; this one about other skills like them, and is never narrower.

  The variance of the mean is the sum of the residual products over all pairs that share a skill, over n^2
  (dyadic-robust; Aronow, Samii and Assenova 2015, Political Analysis 23:564). Residuals are taken from the mean of
  the same values, which hides variance in proportion to the pairs that share a skill; so the sum is divided by the
  share of pairs that have none in common (for independent values the usual n/(n-1)). Its ratio to the independent
  variance, at least 1, divides n in Wilson's interval, with Student's t for as many skills as there are. Where all
  values are equal nothing is known of the ratio and 1 is taken; where every pair shares a skill nothing is known at
  all: [0, 1].

  Raises ValueError if values and groups differ in number.
  """
  if len(values) != len(groups):
    raise ValueError(f'{len(values)} values for {len(groups)} groups')
  n = len(values)
  if n < 2:
    return Interval(0.0, 1.0)
  array = np.asarray(values, np.float64)
  mean = float(array.mean())
  residuals = array - mean
  has: dict[str, np.ndarray] = {}  # member -> which groups it is in
  for row, group in enumerate(groups):
    for member in group:
      has.setdefault(member, np.zeros(n, bool))[row] = True
  products, num_dependent = 0.0, 0
  for row, group in enumerate(groups):
    shares = np.zeros(n, bool)
    shares[row] = True
    for member in group:
      shares |= has[member]
    products += float(residuals[row] * residuals[shares].sum())
    num_dependent += int(shares.sum())
  share_independent = 1 - num_dependent / n**2
  if share_independent <= 0:
    return Interval(0.0, 1.0)
  independent = float(residuals @ residuals) * n / (n - 1)
  effect = max(1.0, products / share_independent / independent) if independent > 1e-12 else 1.0
  quantile = float(special.stdtrit(max(1, len(has) - 1), (1 + level) / 2))
  return _score_interval(min(1.0, max(0.0, mean)), quantile**2 * effect / n)


def effective_number(n: int, correlation: float) -> float:
  """How many independent votes n votes on the same text are worth: n / (1 + (n - 1) r).

  It is Kish's design effect of clusters (Survey Sampling, 1965, section 5.4): the mean of all votes is as uncertain as
  that of so many votes a text that have nothing in common. r is the correlation of two votes on one text; Fleiss' kappa
  estimates it for 0/1 votes (Fleiss and Cuzick 1979, Applied Psychological Measurement 3:537). What is negative counts
  as 0.
  """
  return n / (1 + (n - 1) * max(0.0, correlation))


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
  """Agreement of two raters beyond chance (Cohen 1960); nan where both give one and the same label throughout."""
  if len(a) != len(b) or not len(a):
    raise ValueError(f'{len(a)} and {len(b)} labels are no pairs')
  n = len(a)
  observed = sum(x == y for x, y in zip(a, b)) / n
  counts_a, counts_b = Counter(a), Counter(b)
  expected = sum(count * counts_b[label] for label, count in counts_a.items()) / n**2
  return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def fleiss_kappa(ratings: Sequence[Sequence[Hashable]]) -> float:
  """Agreement beyond chance of equally many raters per item (Fleiss 1971); nan where there is only one label.

  ratings: per item the labels that it was given, at least 2, in any order.
  """
  num_raters = len(ratings[0]) if len(ratings) else 0
  if num_raters < 2 or any(len(labels) != num_raters for labels in ratings):
    raise ValueError('every item needs the same number of ratings, at least 2')
  counts = [Counter(labels) for labels in ratings]
  pairs = sum(count * (count - 1) for item in counts for count in item.values())
  observed = pairs / (len(ratings) * num_raters * (num_raters - 1))
  totals = sum(counts, Counter())
  expected = sum(total**2 for total in totals.values()) / (len(ratings) * num_raters) ** 2
  return (observed - expected) / (1 - expected) if expected < 1 else math.nan
