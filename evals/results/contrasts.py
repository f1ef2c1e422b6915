"""Which of two students is better: differences on the combinations that both have, corrected for looking many times."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from evals.marking import marks
from evals.results import cells, statistics
from evals.results.cells import METRICS
from evals.results.graded import GradedRun
from evals.results.statistics import Interval

ALPHA = 0.05


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

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """From the dict of its fields."""
    return cls(**{**row, 'ci95': Interval(*row['ci95'])})


def values(run: GradedRun, metric: str) -> dict[tuple, float]:
  """The value of each complete combination, by what was asked."""
  mark = METRICS[metric].mark
  found = {}
  for group in cells.complete(run.texts, run.generations).values():
    text = group[0]
    best = marks.combine(cells.marks_of(group))
    found[text.setting, text.k, text.skills, text.topic] = float(getattr(best, mark))
  return found


def _test(a: np.ndarray, b: np.ndarray) -> tuple[Interval, float]:
  """Returns (interval of a - b, p)."""
  if len(a) < 2:
    return Interval(-1.0, 1.0), 1.0
  if np.all(np.isin(a, (0, 1))) and np.all(np.isin(b, (0, 1))):
    gained, lost = int(np.sum(a > b)), int(np.sum(a < b))
    return statistics.paired_difference(gained, lost, len(a)), statistics.mcnemar(gained, lost)
  return statistics.paired_bootstrap(a, b), statistics.sign_flip(a, b)


def contrast(a: GradedRun, b: GradedRun, metric: str) -> list[Contrast]:
  """a minus b for each setting and k in which the two share combinations; verdicts are still open."""
  values_a, values_b = values(a, metric), values(b, metric)
  shared: dict[tuple[str, int], list[tuple]] = {}
  for key in values_a:
    if key in values_b:
      shared.setdefault(key[:2], []).append(key)
  found = []
  for (setting, k), keys in shared.items():
    of_a, of_b = (np.array([of[key] for key in keys]) for of in (values_a, values_b))
    interval, p = _test(of_a, of_b)
    found.append(
      Contrast(
        a.name, b.name, setting, k, metric, len(keys), float(of_a.mean()), float(of_b.mean()),
        float(of_a.mean() - of_b.mean()), interval, p, a.grader, mean_square=float(np.mean((of_a - of_b) ** 2)),
      )
    )  # fmt: skip
  return found


def decide(found: Sequence[Contrast], refusal: str = '') -> list[Contrast]:
  """Corrects p over all of these (Holm) and gives each its verdict, or the reason why it gets none.

  An undecided one says how many combinations would decide it, as long as the other contrasts stay as they are.
  """
  ps = statistics.holm([contrast.p for contrast in found])
  num_undecided = sum(p > ALPHA for p in ps)
  decided = []
  for contrast, p in zip(found, ps):
    verdict = ('higher' if contrast.difference > 0 else 'lower') if p <= ALPHA else 'undecided'
    needed = None
    if verdict == 'undecided' and not refusal:
      # Holm's step: the smallest p of those that are still undecided has to pass this level
      needed = statistics.pairs_needed(contrast.difference, contrast.mean_square, ALPHA / num_undecided)
    verdict = 'refused' if refusal else verdict
    decided.append(dataclasses.replace(contrast, p_holm=p, verdict=verdict, reason=refusal, needed=needed))
  return decided


def sent(run: GradedRun) -> dict[str, Any]:
  """The settings of sampling that change how well a student does; top_p is 1 where nobody sets it."""
  return {
    name: run.params.get(name, 1.0 if name == 'top_p' else None) for name in ('temperature', 'top_p', 'max_tokens')
  }


def refusal(runs: Sequence[GradedRun], writers: Collection[str]) -> str:
  """Why no verdict can be given; empty where one can.

  Args:
    runs: what is compared, and every other run whose grader may confirm it.
    writers: families of the models that wrote the training data; empty: not known.
  """
  families = {run.family for run in runs}
  if writers and families <= set(writers):
    names = ', '.join(sorted({run.grader for run in runs}))
    return f'the only grader ({names}) is of the family that wrote the training data ({", ".join(sorted(writers))})'
  return ''
