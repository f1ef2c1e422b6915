"""Which of two students is better: differences on the combinations that both have, corrected for looking many times."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from evals.marking import marks
from evals.results import cells, comparable, statistics
from evals.results.cells import Question
from evals.results.graded import GradedRun
from evals.results.statistics import Interval

ALPHA = 0.05
SCOPE = (
  'A verdict is about these two models, not about how they were made: trained with another seed, one may be better or '
  'worse. For that: evals.compare --seeds=A1,A2,A3 --against=B1,B2,B3'
)


@dataclasses.dataclass(frozen=True)
class Contrast:
  """a minus b on the combinations that both have.

  Attributes:
    difference: of the means.
    ci95: of the difference, not corrected.
    p: exact McNemar for 0/1, sign flips for shares.
    p_holm: corrected over all contrasts that were asked for together.
    verdict: 'higher', 'lower', 'undecided' or 'refused'; '' before `decide`.
    reason: why it was refused.
    mean_square: of the differences of single combinations.
    needed: combinations that would decide it, see `statistics.pairs_needed`; None where it is not undecided.
    asked: questions that both have; n of them have all their marks.
  """

  a: str
  b: str
  setting: str
  k: int
  metric: str
  n: int
  mean_a: float
  mean_b: float
  difference: float
  ci95: Interval
  p: float
  grader: str
  p_holm: float = 1.0
  verdict: str = ''
  reason: str = ''
  mean_square: float = 0.0
  needed: int | None = None
  asked: int = 0

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads the dict of its fields."""
    return cls(**{**row, 'ci95': Interval(*row['ci95'])})


def values(run: GradedRun, metric: str) -> dict[Question, float]:
  """Returns the value of each question whose every text has its marks; of one asked several times the mean."""
  complete = cells.complete(run.texts, run.generations).values()
  return {question: cells.value(of, metric, marks.combine) for question, of in cells.by_question(complete).items()}


def asked(run: GradedRun) -> set[Question]:
  """Returns the questions that have a text, with marks or without."""
  return {cells.question(text) for text in run.texts}


def _refusal(a: GradedRun, b: GradedRun, setting: str, k: int) -> str:
  """Says why this cell of two runs, which are comparable otherwise, gets no verdict."""
  graders: set[str] = set()
  for run in (b, a):
    texts = [text for text in run.texts if (text.setting, text.k) == (setting, k)]
    graders.update(*(text.grader.split(' and ') for text in texts if text.marks is not None))
    students = set().union(*(run.students.get(text.combination, ()) for text in texts))
    if len(students) > 1:
      return f'two models wrote the texts of {run.name}: {", ".join(sorted(students))}'
  return f'votes of two graders: {", ".join(sorted(graders))}' if len(graders) > 1 else ''


def _test(a: np.ndarray, b: np.ndarray) -> tuple[Interval, float]:
  """Returns (interval of a - b, p)."""
  if len(a) < 2:
    return Interval(-1.0, 1.0), 1.0
  if np.all(np.isin(a, (0, 1))) and np.all(np.isin(b, (0, 1))):
    gained, lost = int(np.sum(a > b)), int(np.sum(a < b))
    return statistics.paired_difference(gained, lost, len(a)), statistics.mcnemar(gained, lost)
  return statistics.paired_bootstrap(a, b), statistics.sign_flip(a, b)


def contrast(a: GradedRun, b: GradedRun, metric: str) -> list[Contrast]:
  """a minus b for each setting and k in which the two share questions; verdicts are still open.

  The runs have to be comparable (`comparable.refusal`); a cell that is not has a reason.
  """
  values_a, values_b, common = values(a, metric), values(b, metric), asked(a) & asked(b)
  shared: dict[tuple[str, int], list[Question]] = {}
  for key in values_a:
    if key in values_b:
      shared.setdefault(key[:2], []).append(key)
  differences = []
  for (setting, k), keys in shared.items():
    of_a, of_b = (np.array([of[key] for key in keys]) for of in (values_a, values_b))
    interval, p = _test(of_a, of_b)
    differences.append(
      Contrast(
        a.name, b.name, setting, k, metric, len(keys), float(of_a.mean()), float(of_b.mean()),
        float(of_a.mean() - of_b.mean()), interval, p, a.grader, mean_square=float(np.mean((of_a - of_b) ** 2)),
        reason=_refusal(a, b, setting, k), asked=sum(question[:2] == (setting, k) for question in common),
      )
    )  # fmt: skip
  return differences


def between(runs: Sequence[GradedRun], metric: str) -> tuple[list[Contrast], list[str]]:
  """Returns (every run minus each before it that it is comparable with, why the others are not)."""
  differences: list[Contrast] = []
  refusals: dict[str, None] = {}
  for earlier, later in itertools.combinations(runs, 2):
    if _folder(earlier) == _folder(later) or _has_a_better_pair(earlier, later, runs):
      continue
    if why := comparable.refusal(later, earlier):
      refusals[why] = None
    else:
      differences += contrast(later, earlier, metric)
  return differences, list(refusals)


def _folder(run: GradedRun) -> str:
  return run.folder or run.name


def _has_a_better_pair(a: GradedRun, b: GradedRun, runs: Sequence[GradedRun]) -> bool:
  """Says whether two runs under different graders are there under one grader as well."""
  if same_grader(a, b):
    return False
  of_a, of_b = ([run for run in runs if _folder(run) == _folder(compared)] for compared in (a, b))
  return any(same_grader(first, other) for first in of_a for other in of_b)


def same_grader(a: GradedRun, b: GradedRun) -> bool:
  """Says whether one grader marked both: asked for by one name, and its endpoint gave a name that both runs have."""
  return a.asked == b.asked and comparable.same_grader(a, b)


def decide(differences: Sequence[Contrast], refusal: str = '') -> list[Contrast]:
  """Corrects p over all of these (Holm) and gives each its verdict, or the reason why it gets none.

  What has a reason already is not corrected for. An undecided contrast says how many combinations would decide it, as
  long as the others stay as they are.
  """
  allowed = [contrast for contrast in differences if not (refusal or contrast.reason)]
  ps = iter(statistics.holm([contrast.p for contrast in allowed]))
  num_undecided = sum(p > ALPHA for p in statistics.holm([contrast.p for contrast in allowed]))
  decided = []
  for contrast in differences:
    if reason := refusal or contrast.reason:
      decided.append(dataclasses.replace(contrast, verdict='refused', reason=reason))
      continue
    p, needed = next(ps), None
    verdict = ('higher' if contrast.difference > 0 else 'lower') if p <= ALPHA else 'undecided'
    if verdict == 'undecided':
      # Holm's step: the smallest p of those that are still undecided has to pass this level
      needed = statistics.pairs_needed(contrast.difference, contrast.mean_square, ALPHA / num_undecided)
    decided.append(dataclasses.replace(contrast, p_holm=p, verdict=verdict, needed=needed))
  return decided


def refusal(runs: Sequence[GradedRun], writers: Collection[str]) -> str:
  """Says why no verdict can be given; empty where one can.

  Args:
    runs: what is compared, and every other run whose grader may confirm it.
    writers: families of the models that wrote the training data; empty: not known.
  """
  families = {run.family for run in runs}
  if writers and families <= set(writers):
    names = ', '.join(sorted({run.grader for run in runs}))
    return f'the only grader ({names}) is of the family that wrote the training data ({", ".join(sorted(writers))})'
  return ''
