"""Differences between students under one grader: the only numbers that get a verdict.

The page says "reproduced" only where graders of two families agree with a contrast that the paper itself decides.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from evals.page.grid import SYMBOLS, Number, minus, paper_number
from evals.page.view import RunView, by_setting, labels
from evals.questions.printed import Results
from evals.results.cells import METRICS
from evals.results.contrasts import Contrast

Cells = dict[tuple[str, str, int], Contrast]  # by metric, setting and k
Rows = tuple[str | None, str | None, str | None]  # model, row of a and row of b in the paper


@dataclass(frozen=True)
class BesidePaper:
  """A contrast, and the paper's own between the same students."""

  ours: Contrast
  paper: Number | None

  @property
  def symbol(self) -> str:
    """The verdict without colour."""
    return SYMBOLS[self.ours.verdict]

  @property
  def agrees(self) -> bool | None:
    """Whether the verdict is the paper's; None where the paper's own contrast could be chance."""
    if self.paper is None or not self.paper.excludes_zero or self.paper.value is None:
      return None
    return self.ours.verdict == ('higher' if self.paper.value > 0 else 'lower')


@dataclass(frozen=True)
class StudentPair:
  """All contrasts of two students under one grader: metric -> setting -> contrasts by k."""

  a: str
  b: str
  grader: str
  family: str | None
  rows: Rows
  by_metric: dict[str, dict[str, list[BesidePaper | None]]]
  ks: tuple[int, ...] = ()
  verdict: str = ''

  @property
  def title(self) -> str:
    """'D(1,2,3) − LLaMA-2-13B-Chat'."""
    return f'{self.a} − {self.b}'

  @property
  def refusals(self) -> list[str]:
    """Why verdicts are refused, each reason once."""
    lines = [line for settings in self.by_metric.values() for line in settings.values()]
    reasons = [beside.ours.reason for line in lines for beside in line if beside is not None]
    return list(dict.fromkeys(filter(None, reasons)))

  def ns(self, metric: str) -> list[int]:
    """How many combinations each of its cells has."""
    return [beside.ours.n for line in self.by_metric[metric].values() for beside in line if beside is not None]


@dataclass(frozen=True)
class Main:
  """What the first screen says: one pair, one setting, one metric, all k."""

  pair: StudentPair
  metric: str
  setting: str
  contrasts: list[BesidePaper]


def pairs(runs: Sequence[RunView], results: Results) -> list[StudentPair]:
  """The runs' contrasts, sorted into pairs; a contrast given twice counts once."""
  names = {run.name: (label, run) for label, run in zip(labels(runs), runs)}
  found: dict[tuple[str, str], Cells] = {}
  for run in runs:
    for contrast in run.contrasts:
      cells = found.setdefault((contrast.a, contrast.b), {})
      cells.setdefault((contrast.metric, contrast.setting, contrast.k), contrast)
  grouped = [_pair(a, b, cells, names, results) for (a, b), cells in found.items()]
  return [_judged(pair, grouped) for pair in grouped]


def _pair(a: str, b: str, cells: Cells, names: dict[str, tuple[str, RunView]], results: Results) -> StudentPair:
  (label_a, run_a), (label_b, run_b) = names[a], names[b]
  rows = (run_a.model, run_a.row, run_b.row) if run_a.model == run_b.model else (None, None, None)
  ks = tuple(sorted({k for _, _, k in cells}))
  by_metric: dict[str, dict[str, list[BesidePaper | None]]] = {}
  for metric in METRICS:
    for setting in by_setting(s for m, s, _ in cells if m == metric):
      line = [_beside_paper(cells.get((metric, setting, k)), rows, results) for k in ks]
      by_metric.setdefault(metric, {})[setting] = line
  suffix = f' · {run_a.grader}'
  if label_a.endswith(suffix) and label_b.endswith(suffix):  # said beside the title
    label_a, label_b = label_a.removesuffix(suffix), label_b.removesuffix(suffix)
  return StudentPair(label_a, label_b, run_a.grader, run_a.family, rows, by_metric, ks)


def _beside_paper(contrast: Contrast | None, rows: Rows, results: Results) -> BesidePaper | None:
  if contrast is None:
    return None
  model, row_a, row_b = rows
  place = contrast.setting, contrast.k, contrast.metric
  theirs = [paper_number(results.find(model, row, *place)) for row in (row_a, row_b)]
  return BesidePaper(contrast, minus(*theirs))


def _judged(pair: StudentPair, others: Sequence[StudentPair]) -> StudentPair:
  """Adds the sentence on reproduction: it counts cells of all metrics where the paper's own contrast is decided."""
  same = [other for other in others if other.rows == pair.rows and pair.rows[0] is not None]
  families = {other.family or other.grader: other for other in same}
  cells: dict[tuple[str, str, int], dict[str, bool]] = {}
  for family, other in families.items():
    for metric, settings in other.by_metric.items():
      for setting, line in settings.items():
        for beside in line:
          if beside is not None and beside.agrees is not None:
            cells.setdefault((metric, setting, beside.ours.k), {})[family] = beside.agrees
  if not cells:
    verdict = ''
  elif len(families) < 2:
    agreeing = sum(all(of.values()) for of in cells.values())
    verdict = (
      f'Agrees with the paper in {agreeing} of the {len(cells)} cells that the paper decides. Not yet “reproduced”: '
      f'that needs a second grader of another family than {next(iter(families))}.'
    )
  else:
    both = {place: of for place, of in cells.items() if len(of) > 1}
    agreeing = sum(all(of.values()) for of in both.values())
    verdict = (
      f'Reproduced under graders of {len(families)} families ({", ".join(sorted(families))}) in {agreeing} of the '
      f'{len(both)} cells that the paper decides and both graded.'
    )
  return dataclasses.replace(pair, verdict=verdict)


def main_contrast(found: Sequence[StudentPair]) -> Main | None:
  """Fine-tuned (on the most) minus base, on held-out skills, in full marks; else the nearest to it that there is."""
  choices: list[tuple[tuple, int, Main]] = []
  for pair in found:
    model, row_a, row_b = pair.rows
    for metric, settings in pair.by_metric.items():
      for setting, line in settings.items():
        contrasts = [beside for beside in line if beside is not None]
        if contrasts:
          of_base = row_b is not None and row_b == model
          of_ends = (pair.a == found[-1].a) + (pair.b == found[0].b)  # the last run against the first
          order = (metric == 'ratio_of_full_marks', of_base, setting == 'held_out', len(row_a or ''), of_ends)
          choices.append((order, -len(choices), Main(pair, metric, setting, contrasts)))
  return max(choices, key=lambda choice: choice[:2])[2] if choices else None
