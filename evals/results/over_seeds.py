"""Which of two recipes is better: differences of their models over training seeds, each seed one observation.

Two models that were trained alike but for the seed differ, so a verdict on two models does not decide between recipes.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from evals.results import comparable, contrasts, statistics
from evals.results.contrasts import ALPHA, Contrast
from evals.results.graded import GradedRun
from evals.results.statistics import Interval
from skillmix_jax.errors import InputError

MOST_EXACT = 20  # seeds of which all signs can be tried
FLIPS, STUDENT = 'exact sign flips', "Student's t"


@dataclasses.dataclass(frozen=True)
class OverSeeds:
  """One recipe minus another in one setting and k.

  Attributes:
    differences: of the two models of a seed, in the order of the seeds; each a mean over the questions that both have.
    ci95: Student's, of their mean.
    p_flips: of all signs; None with more than MOST_EXACT seeds, where Student's p decides.
    p_student: of normal differences.
    p_holm: the p that decides, corrected over all cells that were asked for.
    verdict: 'higher', 'lower', 'undecided' or 'refused'.
    reason: why it was refused.
    needed: seeds that sign flips need at least to decide so many cells; None where there are as many.
  """

  setting: str
  k: int
  metric: str
  differences: tuple[float, ...]
  ci95: Interval
  p_flips: float | None
  p_student: float
  p_holm: float = 1.0
  verdict: str = ''
  reason: str = ''
  needed: int | None = None

  @property
  def mean(self) -> float:
    """Over the seeds."""
    return float(np.mean(self.differences))

  @property
  def p(self) -> float:
    """The p that decides."""
    return self.p_student if self.p_flips is None else self.p_flips

  @property
  def test(self) -> str:
    """Its name."""
    return STUDENT if self.p_flips is None else FLIPS


def pair(seeds: Sequence[GradedRun], against: Sequence[GradedRun], metric: str) -> list[list[Contrast]]:
  """Contrasts of the two models of each seed.

  Raises:
    InputError: two runs are not comparable. Seeds may have catalogs of their own, the two models of a seed may not.
  """
  for a, b in zip(seeds, against, strict=True):
    if why := comparable.refusal(a, b):
      raise InputError(why)
  for run in (*against[1:], *seeds):
    if why := comparable.refusal(run, against[0], but=('catalog',)):
      raise InputError(why)
  return [contrasts.contrast(a, b, metric) for a, b in zip(seeds, against)]


def decide(by_seed: Sequence[Sequence[Contrast]], refusal: str = '') -> list[OverSeeds]:
  """Every cell of some seed; p is corrected over those that get a verdict."""
  by_cell: dict[tuple[str, int, str], list[Contrast]] = {}
  for of_seed in by_seed:
    for contrast in of_seed:
      by_cell.setdefault((contrast.setting, contrast.k, contrast.metric), []).append(contrast)
  results = [_test(cell, group, len(by_seed), refusal) for cell, group in by_cell.items()]
  allowed = [result for result in results if not result.reason]
  ps = iter(statistics.holm([result.p for result in allowed]))
  least = math.ceil(1 + math.log2(len(allowed) / ALPHA)) if allowed else 0  # 2 / 2^n times the number of cells
  return [result if result.reason else _judged(result, next(ps), least) for result in results]


def _test(cell: tuple[str, int, str], group: Sequence[Contrast], num_seeds: int, refusal: str) -> OverSeeds:
  differences = tuple(contrast.difference for contrast in group)
  reason = refusal or next((contrast.reason for contrast in group if contrast.reason), '')
  if len(group) < num_seeds:
    reason = reason or f'{num_seeds - len(group)} of {num_seeds} seeds have no marks here'
  flips = statistics.exact_sign_flip(differences) if len(differences) <= MOST_EXACT else None
  interval, p = statistics.student(differences)
  return OverSeeds(*cell, differences, interval, flips, p, verdict='refused' if reason else '', reason=reason)


def _judged(result: OverSeeds, p_holm: float, least: int) -> OverSeeds:
  verdict = ('higher' if result.mean > 0 else 'lower') if p_holm <= ALPHA else 'undecided'
  few = verdict == 'undecided' and result.p_flips is not None and len(result.differences) < least
  return dataclasses.replace(result, p_holm=p_holm, verdict=verdict, needed=least if few else None)
