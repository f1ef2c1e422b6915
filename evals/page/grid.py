"""What a table of the page is made of, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.questions.printed import ASSUMED_N, Printed
from evals.results import statistics
from evals.results.cells import Cell, Estimate
from evals.results.contrasts import Contrast
from evals.results.statistics import Interval
from evals.results.written import about, probability

SYMBOLS = {'higher': '▲', 'lower': '▼', 'undecided': '○', 'refused': '×'}


@dataclass(frozen=True)
class Number:
  """One cell of one line."""

  value: float | None
  interval: Interval | None = None
  is_difference: bool = False
  misprint: str = ''
  note: str = ''  # 'n = 97', '3 votes missing'; may be all that there is
  verdict: str = ''  # of a contrast, one of SYMBOLS

  @property
  def symbol(self) -> str:
    """The verdict without colour."""
    return SYMBOLS.get(self.verdict, '')

  @property
  def excludes_zero(self) -> bool:
    """Whether a difference is outside what chance explains."""
    return self.is_difference and self.interval is not None and not self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True)
class Line:
  """Numbers of one origin along the columns. `kind`: 'paper', 'ours', 'difference', 'offset', 'contrast' or 'p'."""

  kind: str
  label: str
  numbers: Sequence[Number | None]


@dataclass(frozen=True)
class Row:
  """A student and its lines."""

  name: str
  lines: Sequence[Line]


@dataclass(frozen=True)
class Block:
  """Rows under one heading; '' where the table needs none."""

  heading: str
  rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
  """One metric of one table."""

  title: str
  columns: Sequence[str]
  blocks: Sequence[Block]
  first: str = 'student'  # what the rows are

  @property
  def misprints(self) -> list[str]:
    """Why numbers of the paper in it cannot be right, each reason once."""
    numbers = [n for block in self.blocks for row in block.rows for line in row.lines for n in line.numbers]
    return list(dict.fromkeys(number.misprint for number in numbers if number and number.misprint))


def paper_number(printed: Printed | None) -> Number | None:
  """A cell of the paper with the interval it would have at n = 100."""
  if printed is None:
    return None
  return Number(printed.value, statistics.wilson(printed.value, ASSUMED_N), misprint=printed.misprint)


def estimated(estimate: Estimate | None) -> Number | None:
  """An estimate with its interval."""
  return Number(estimate.mean, estimate.ci95) if estimate else None


def our_number(cell: Cell | None, metric: str, usual_n: int | None, missing: bool = False) -> Number | None:
  """The best of a cell; says n where it is not the usual one, and `missing` votes if asked to."""
  if cell is None:
    return None
  notes = [f'n = {cell.n}'] if cell.n != usual_n else []
  notes += [f'{cell.num_questions} different'] if cell.num_questions else []
  notes += [f'{cell.missing} missing'] if missing and cell.missing else []
  notes += [f'refused: {cell.refused}'] if cell.refused else []
  best = cell.best.get(metric)
  return Number(best.mean if best else None, best.ci95 if best else None, note=', '.join(notes))


def contrast_lines(label: str, contrasts: Sequence[Contrast | None]) -> list[Line]:
  """Differences with their verdicts, their p, and how many combinations would decide those that are undecided."""
  lines = [
    Line('contrast', label, [_difference(contrast) if contrast else None for contrast in contrasts]),
    Line('p', 'p (Holm)', [_said(said_of_p(contrast)) if contrast else None for contrast in contrasts]),
  ]
  if any(contrast and contrast.needed for contrast in contrasts):
    lines.append(
      Line('p', 'n needed', [_said(said_of_needed(contrast)) if contrast else None for contrast in contrasts])
    )
  return lines


def _difference(contrast: Contrast) -> Number:
  return Number(contrast.difference, contrast.ci95, is_difference=True, verdict=contrast.verdict)


def _said(text: str) -> Number:
  return Number(None, note=text)


def said_of_p(contrast: Contrast) -> str:
  """'p = .21'; 'refused' where it gets no verdict."""
  return 'refused' if contrast.verdict == 'refused' else probability(contrast.p_holm)


def said_of_needed(contrast: Contrast) -> str:
  """'about 350' combinations would decide it; '–' where it is decided or nothing would."""
  return f'about {about(contrast.needed)}' if contrast.needed else '–'


def minus(ours: Number | None, other: Number | None) -> Number | None:
  """ours - other with its interval."""
  if ours is None or other is None or ours.value is None or other.value is None:
    return None
  interval = None
  if ours.interval and other.interval:
    interval = statistics.difference(ours.value, ours.interval, other.value, other.interval)
  return Number(ours.value - other.value, interval, is_difference=True, misprint=other.misprint)
