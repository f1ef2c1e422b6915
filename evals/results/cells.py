"""From graded texts to cells: the paper's metrics for each setting and k, with intervals.

A new metric is a field of `Marks` and `Best` (evals/marking/marks.py) and a line of METRICS.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from evals.marking import marks
from evals.marking.marks import Best, Marks
from evals.results import statistics
from evals.results.graded import GradedText
from evals.results.statistics import Interval

Question = tuple[str, int, tuple[str, ...], str]  # setting, k, skills, topic


@dataclasses.dataclass(frozen=True)
class Metric:
  """A mean over combinations.

  Attributes:
    title: what the paper calls it.
    mark: of a text, a field of `Marks`.
    is_ratio: whether that mark is 0 or 1: then its interval is Wilson's, else a bootstrap.
  """

  title: str
  mark: str
  is_ratio: bool


METRICS = {
  'ratio_of_full_marks': Metric('Ratio of Full Marks', 'full_marks', is_ratio=True),
  'ratio_of_all_skills': Metric('Ratio of All Skills', 'all_skills', is_ratio=True),
  'skills_fraction': Metric('Skills Fraction', 'skills_fraction', is_ratio=False),
}


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over combinations and its 95 % interval over these."""

  mean: float
  ci95: Interval


@dataclasses.dataclass(frozen=True)
class Cell:
  """The numbers of one setting and k; an entry of metrics.json's `cells`.

  Attributes:
    n: combinations that count: every generation has its marks.
    wanted: combinations that were asked for.
    missing: votes that are not there, or not yet.
    num_generations: texts of each combination.
    best: metric -> of the best generation; empty where n is 0.
    mean_of_one: metric -> of a single text.
    by_skill_ci95: metric -> interval of the best for other skills than these.
    refused: why there is no number though there are votes.
    seen: whether the training data combines the cell's skills; None where all skill sets are together.
    num_questions: different ones, where some are asked several times: of such a one the mean is one observation.
  """

  setting: str
  k: int
  n: int
  wanted: int
  missing: int
  num_generations: int
  best: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
  mean_of_one: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
  by_skill_ci95: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
  refused: str = ''
  seen: bool | None = None
  num_questions: int | None = None

  def to_json(self) -> dict[str, Any]:
    """Returns an entry of metrics.json."""
    single = _means(self.mean_of_one) | {'ci95': _intervals(self.mean_of_one)} if self.mean_of_one else {}
    return (
      {name: getattr(self, name) for name in _COUNTS}
      | ({'refused': self.refused} if self.refused else {})
      | dict.fromkeys(METRICS)
      | _means(self.best)
      | {'ci95': _intervals(self.best), 'mean_of_one': single, 'by_skill_ci95': dict(self.by_skill_ci95)}
      | ({'seen': self.seen} if self.seen is not None else {})
      | ({'num_questions': self.num_questions} if self.num_questions else {})
    )

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads an entry of metrics.json; raises KeyError where it is something else."""
    return cls(
      **{name: row[name] for name in _COUNTS},
      best=_estimates(row),
      mean_of_one=_estimates(row['mean_of_one']),
      by_skill_ci95={name: Interval(*bounds) for name, bounds in row['by_skill_ci95'].items()},
      refused=row.get('refused', ''),
      seen=row.get('seen'),
      num_questions=row.get('num_questions'),
    )


_COUNTS = ('setting', 'k', 'n', 'wanted', 'missing', 'num_generations')


def _means(estimates: Mapping[str, Estimate]) -> dict[str, float]:
  return {name: estimate.mean for name, estimate in estimates.items()}


def _intervals(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
  return {name: estimate.ci95 for name, estimate in estimates.items()}


def _estimates(row: Mapping[str, Any]) -> dict[str, Estimate]:
  return {name: Estimate(row[name], Interval(*bounds)) for name, bounds in row.get('ci95', {}).items()}


def by_combination(texts: Iterable[GradedText]) -> dict[str, list[GradedText]]:
  """Groups texts by combination, in the order of their generations."""
  groups: dict[str, list[GradedText]] = defaultdict(list)
  for text in texts:
    groups[text.combination].append(text)
  return {name: sorted(group, key=lambda text: text.generation) for name, group in groups.items()}


def question(text: GradedText) -> Question:
  """What was asked, whatever the id: in a file of combinations the same question may occur several times."""
  return text.setting, text.k, text.skills, text.topic


def complete(texts: Iterable[GradedText], generations: int) -> dict[str, list[GradedText]]:
  """Returns combinations whose every generation has its marks: a maximum of two is not a maximum of three."""
  return {
    name: group
    for name, group in by_combination(texts).items()
    if len(group) == generations and all(text.marks is not None for text in group)
  }


def marks_of(group: Iterable[GradedText]) -> list[Marks]:
  """Returns the marks of the texts that have them."""
  return [text.marks for text in group if text.marks is not None]


def interval(values: np.ndarray) -> Interval:
  """Returns a 95 % interval for a mean over combinations: Wilson where values are 0 or 1, or all alike, else
  bootstrap.
  """
  if len(values) < 2 or np.all(np.isin(values, (0, 1))) or np.ptp(values) == 0:
    return _wilson(values)
  return statistics.bootstrap(values)


def _wilson(values: np.ndarray) -> Interval:
  return statistics.wilson(float(values.mean()), len(values))


def by_question(groups: Iterable[Sequence[GradedText]]) -> dict[Question, list[Sequence[GradedText]]]:
  """Sorts the texts of combinations by what they were asked; usually one combination each."""
  per_question: dict[Question, list[Sequence[GradedText]]] = defaultdict(list)
  for group in groups:
    per_question[question(group[0])].append(group)
  return dict(per_question)


def value(asked: Sequence[Sequence[GradedText]], metric: str, summary: Callable[[Sequence[Marks]], Best]) -> float:
  """Returns one observation: the mean over the combinations that asked the same question."""
  return float(np.mean([getattr(summary(marks_of(group)), METRICS[metric].mark) for group in asked]))


def _table(
  questions: Collection[Sequence[Sequence[GradedText]]], summary: Callable[[Sequence[Marks]], Best]
) -> dict[str, np.ndarray]:
  """Returns metric -> its value for each question."""
  return {name: np.array([value(asked, name, summary) for asked in questions], float) for name in METRICS}


def _estimate(table: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
  return {
    name: Estimate(float(values.mean()), _wilson(values) if METRICS[name].is_ratio else interval(values))
    for name, values in table.items()
  }


def cell(texts: Sequence[GradedText], wanted: int, generations: int, num_votes: int) -> Cell:
  """Computes the numbers of one setting and k.

  Args:
    texts: all of one setting and k.
    wanted: combinations asked for.
    generations: texts asked for, of each combination.
    num_votes: votes asked for, of each text.
  """
  missing = sum(vote is None for text in texts for vote in text.votes)
  missing += (wanted * generations - len(texts)) * num_votes  # texts that are not there, or not yet
  missing += sum(num_votes for text in texts if not text.votes)
  groups = complete(texts, generations)
  empty = Cell(texts[0].setting, texts[0].k, 0, wanted, missing, generations)
  names = {text.grader for group in groups.values() for text in group}
  if len(names) > 1 or any(' and ' in name for name in names):
    return dataclasses.replace(empty, refused='votes of two graders: ' + ', '.join(sorted(names)))
  if not groups:
    return empty
  questions = by_question(groups.values())
  best = _table(questions.values(), marks.combine)
  skills = [skills for _, _, skills, _ in questions]
  return dataclasses.replace(
    empty,
    n=len(groups),
    num_questions=len(questions) if len(questions) < len(groups) else None,
    best=_estimate(best),
    mean_of_one=_estimate(_table(questions.values(), marks.mean_of_one)),
    by_skill_ci95={name: statistics.clustered(values, skills) for name, values in best.items()},
  )


def cells(
  texts: Iterable[GradedText], wanted: Mapping[tuple[str, int], int], generations: int, num_votes: int
) -> list[Cell]:
  """Computes all cells that have texts, in the order of `wanted`, which counts combinations."""
  groups: dict[tuple[str, int], list[GradedText]] = defaultdict(list)
  for text in texts:
    groups[text.setting, text.k].append(text)
  return [cell(groups[name], wanted[name], generations, num_votes) for name in wanted if name in groups]


def seen_cells(
  texts: Sequence[GradedText], seen: Collection[frozenset[str]], generations: int, num_votes: int
) -> list[Cell]:
  """Cells of the skill sets that the training data holds, and of those that it does not."""
  both = []
  for is_seen in (True, False):
    part = [text for text in texts if (frozenset(text.skills) in seen) == is_seen]
    wanted = Counter((group[0].setting, group[0].k) for group in by_combination(part).values())
    both += [dataclasses.replace(each, seen=is_seen) for each in cells(part, wanted, generations, num_votes)]
  order = {name: index for index, name in enumerate(dict.fromkeys((text.setting, text.k) for text in texts))}
  return sorted(both, key=lambda each: (order[each.setting, each.k], not each.seen))
