"""What people's sheets say about a run's marks: the Ratio of Full Marks as people would have given it, with its noise.

The sheet is drawn evenly over setting, k and whether the grader gave full marks, so its texts are no simple random
sample: a text counts as many times as its stratum has texts for each one marked (N / n). From them come two shares, of
texts to which people give full marks: A among those with the grader's full marks, B among the others.

- Prediction-powered inference (Angelopoulos et al. 2023, Science 382:669): the grader's mean plus the mean error that
  the sheet shows. The grader's mark p is the stratum here, so this is p A + (1 - p) B. For a cell only its own texts
  on the sheets count: no assumption, few texts.
- Rogan and Gladen (1978, American Journal of Epidemiology 107:71): (p + specificity - 1) / (sensitivity +
  specificity - 1), both from the sheets of the whole run: all texts count, but the grader has to err alike in every
  cell. For the whole run, from which both are taken, it is the same number as the other.

An interval carries the noise of p (over combinations) and of the sheets: all shares are drawn from their Jeffreys
distributions, with Kish's effective number of texts, (sum w)^2 / sum w^2, in the place of n. Sensitivity and
specificity are never taken for known (why not: Lang and Reiczigel 2014, Preventive Veterinary Medicine 113:13).
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from evals.marking import marks
from evals.questions import prompts
from evals.questions.catalog import Catalog
from evals.questions.settings import Settings
from evals.results.cells import Estimate
from evals.results.graded import GradedText
from evals.results.sheets import OTHERS, Grades, Key, Marked
from evals.results.statistics import Interval

LEAST = 5  # marked texts with the grader's full marks, and as many without, below which no number is given
DRAWS = 10_000


@dataclasses.dataclass(frozen=True)
class Corrected:
  """The Ratio of Full Marks of single texts, as graded and corrected, in a cell or a whole run.

  Attributes:
    setting, k: of the cell; '' and 0: the whole run.
    texts: with marks.
    marked: of these on the sheets: with the grader's full marks, and without.
    graded: as the grader marked all of them.
    prediction_powered, rogan_gladen: see the head of this file; None where the sheets are too small for it.
    reason: why there is no prediction-powered number.
  """

  setting: str
  k: int
  texts: int
  marked: tuple[int, int]
  graded: Estimate
  prediction_powered: Estimate | None
  rogan_gladen: Estimate | None
  reason: str = ''

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads the dict of its fields."""
    estimates = {name: _estimate(row[name]) for name in ('graded', 'prediction_powered', 'rogan_gladen')}
    return cls(**dict(row) | estimates | {'marked': tuple(row['marked'])})


@dataclasses.dataclass(frozen=True)
class Corrections:
  """`corrections` of RUN/audit.json: the whole run, then its cells.

  Attributes:
    sensitivity: share of what people give full marks that the grader gives them, too; None where nobody can tell.
    specificity: share of the others to which the grader does not give them.
    ratios: the run's is the first.
    reason: why sensitivity and specificity are missing.
  """

  sensitivity: Estimate | None
  specificity: Estimate | None
  ratios: Sequence[Corrected]
  reason: str = ''

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads the dict of its fields."""
    ratios = [Corrected.from_json(ratio) for ratio in row['ratios']]
    return cls(_estimate(row['sensitivity']), _estimate(row['specificity']), ratios, row['reason'])


def _estimate(row: Mapping[str, Any] | None) -> Any:
  return Estimate(row['mean'], Interval(*row['ci95'])) if row else None


@dataclasses.dataclass(frozen=True)
class _Share:
  """A share of `n` observations, or of as many as they are worth; n = 0: unknown."""

  mean: float
  n: float

  def draw(self, chance: np.random.Generator) -> np.ndarray:
    """Returns draws from its Jeffreys distribution."""
    return chance.beta(self.n * self.mean + 0.5, self.n * (1 - self.mean) + 0.5, DRAWS)


def full_marks_of(
  people: Collection[Mapping[Key, Marked]], grades: Grades, catalog: Catalog, settings: Settings
) -> dict[Key, float]:
  """Returns for each text the share of the people who give it full marks; each of them counts alike.

  The name rule and the sentence counter are applied to people's points as to the grader's. A person who left a point
  open that counts says nothing about that text.
  """
  by_text: dict[Key, list[int]] = defaultdict(list)
  for marked in people:
    for key, points in marked.items():
      if (full := _full_marks(points, grades[key], catalog, settings)) is not None:
        by_text[key].append(full)
  return {key: sum(given) / len(given) for key, given in by_text.items()}


def _full_marks(points: Marked, text: GradedText, catalog: Catalog, settings: Settings) -> int | None:
  given = [*points['skills'], *(points[name][0] for name in OTHERS)]
  with_0, with_1 = (
    marks.adjust(
      [blank if point is None else point for point in given], text.k, num_sentences_found=text.num_sentences,
      limit=prompts.limit(catalog, text.k), named=text.named, length=settings.length, name_filter=settings.name_filter,
    )
    for blank in (0, 1)
  )  # fmt: skip
  return marks.marks(with_0, text.k).full_marks if with_0 == with_1 else None


def correct(texts: Sequence[GradedText], truth: Mapping[Key, float], seed: int) -> Corrections:
  """Corrects the run and each of its cells. A stratum without a text on the sheets is taken to be like the others.

  Args:
    texts: all that have marks.
    truth: of those on the sheets, the share of the people who give full marks.
  """
  chance = np.random.default_rng(seed)
  size, on_sheet = Counter(map(_stratum, texts)), Counter(_stratum(text) for text in texts if _key(text) in truth)
  weight = {stratum: size[stratum] / n for stratum, n in on_sheet.items()}
  whole, share = _shares(texts, truth, weight), _graded(texts)
  errors = None
  if not (reason := _too_few(whole, (1, 1))) and (errors := _error_rates(whole, share.mean, chance)) is None:
    reason = 'the sheets do not show that the grader tells texts with full marks from others'
  run = _corrected('', 0, texts, whole, share, None, chance)
  ratios = [dataclasses.replace(run, rogan_gladen=run.prediction_powered)]
  by_cell: dict[tuple[str, int], list[GradedText]] = defaultdict(list)
  for text in texts:
    by_cell[text.setting, text.k].append(text)
  for (setting, k), group in by_cell.items():
    ratios.append(_corrected(setting, k, group, _shares(group, truth, weight), _graded(group), errors, chance))
  sensitivity, specificity = (errors.sensitivity, errors.specificity) if errors else (None, None)
  return Corrections(sensitivity, specificity, ratios, reason)


def _too_few(on_sheet: '_OnSheet', needed: tuple[float, float]) -> str:
  """Says what is too little for a number; '' where it is enough. `needed`: 0 where there is nothing to be known."""
  if any(n < LEAST for n, is_needed in zip(on_sheet.counts, needed) if is_needed):
    return f'{on_sheet.counts[0]} marked texts with full marks and {on_sheet.counts[1]} without; {LEAST} of each needed'
  return ''


def _key(text: GradedText) -> Key:
  return text.combination, text.generation


def _is_full(text: GradedText) -> int:
  return text.marks.full_marks if text.marks else 0


def _stratum(text: GradedText) -> tuple[str, int, int]:
  return text.setting, text.k, _is_full(text)


@dataclasses.dataclass(frozen=True)
class _OnSheet:
  """What people say about the texts with the grader's full marks, and about the others."""

  full: _Share
  other: _Share
  counts: tuple[int, int]  # marked texts of both


def _shares(texts: Sequence[GradedText], truth: Mapping[Key, float], weight: Mapping[tuple, float]) -> _OnSheet:
  shares, counts = [], []
  for is_full in (1, 0):
    rows = [
      (weight[_stratum(text)], truth[_key(text)]) for text in texts if _is_full(text) == is_full and _key(text) in truth
    ]
    w, y = np.array(rows, float).reshape(-1, 2).T
    counts.append(len(rows))
    shares.append(_Share(float(w @ y / w.sum()), float(w.sum() ** 2 / (w @ w))) if rows else _Share(0.5, 0.0))
  return _OnSheet(shares[0], shares[1], (counts[0], counts[1]))


def _graded(texts: Sequence[GradedText]) -> _Share:
  """The grader's share of full marks; n is what combinations, whose texts belong together, are worth."""
  by_combination: dict[str, list[int]] = defaultdict(list)
  for text in texts:
    by_combination[text.combination].append(_is_full(text))
  means = np.array([np.mean(group) for group in by_combination.values()])
  mean = sum(map(_is_full, texts)) / len(texts)
  variance = float(means.var(ddof=1)) / len(means) if len(means) > 1 else 0.0
  return _Share(mean, mean * (1 - mean) / variance if variance and 0 < mean < 1 else len(means))


@dataclasses.dataclass(frozen=True)
class _ErrorRates:
  """Of the grader; `draws` are of (sensitivity, specificity)."""

  sensitivity: Estimate
  specificity: Estimate
  draws: tuple[np.ndarray, np.ndarray]


def _error_rates(on_sheet: _OnSheet, p: float, chance: np.random.Generator) -> _ErrorRates | None:
  """None where the sheets do not show that the grader tells full marks from others."""

  def rates(a, b):
    return p * a / (p * a + (1 - p) * b), (1 - p) * (1 - b) / ((1 - p) * (1 - b) + p * (1 - a))

  with np.errstate(invalid='ignore', divide='ignore'):
    draws = rates(on_sheet.full.draw(chance), on_sheet.other.draw(chance))
    means = [float(value) for value in rates(np.float64(on_sheet.full.mean), np.float64(on_sheet.other.mean))]
  if not all(map(math.isfinite, means)) or np.quantile(sum(draws) - 1, 0.025) <= 0:
    return None
  return _ErrorRates(_spread(means[0], draws[0]), _spread(means[1], draws[1]), draws)


def _spread(mean: float, draws: np.ndarray) -> Estimate:
  mean = min(1.0, max(0.0, mean))
  low, high = np.quantile(np.clip(draws, 0, 1), (0.025, 0.975))
  return Estimate(mean, Interval(min(mean, float(low)), max(mean, float(high))))


def _corrected(
  setting: str, k: int, texts: Sequence[GradedText], on_sheet: _OnSheet, graded: _Share, errors: _ErrorRates | None,
  chance: np.random.Generator,
) -> Corrected:  # fmt: skip
  p, p_drawn = graded.mean, graded.draw(chance)
  powered = adjusted = None
  if not (reason := _too_few(on_sheet, (p, 1 - p))):
    mean = p * on_sheet.full.mean + (1 - p) * on_sheet.other.mean
    powered = _spread(mean, p_drawn * on_sheet.full.draw(chance) + (1 - p_drawn) * on_sheet.other.draw(chance))
  if errors:
    sensitivity, specificity = errors.draws
    known = errors.sensitivity.mean, errors.specificity.mean
    adjusted = _spread(
      (p + known[1] - 1) / (sum(known) - 1),
      (p_drawn + specificity - 1) / np.maximum(sensitivity + specificity - 1, 1e-9),
    )
  return Corrected(setting, k, len(texts), on_sheet.counts, _spread(p, p_drawn), powered, adjusted, reason)
