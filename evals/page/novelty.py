"""Appendix E.2: does a student write what its training data cannot have held? The paper's line is at 11 %."""

from collections.abc import Sequence

from evals.page.graders import usual_n
from evals.page.grid import Block, Line, Number, Row, Table, our_number, paper_number
from evals.page.view import RunView, labels, short_model
from evals.questions.printed import NOVELTY_K, NOVELTY_LINE, Results
from evals.results.cells import METRICS
from evals.results.statistics import Interval

_TABLE, _METRIC = 6, 'ratio_of_full_marks'  # of the paper: k = 5 without common skills


def novelty_table(runs: Sequence[RunView], results: Results) -> Table | None:
  """How far the paper's students and ours are beyond the line; None where no run leaves common skills out."""
  is_meant = lambda run: run.metrics.exclude_skills and run.metrics.catalog == 'paper'
  ours = {label: run for label, run in zip(labels(runs), runs) if is_meant(run)}
  columns = [column for column in results.columns(_TABLE) if any(column in run.cells for run in ours.values())]
  if not columns:
    return None
  rows = []
  for model, row in results.rows(_TABLE):
    theirs = [paper_number(results.get(_TABLE, 'gpt-4', model, row, *column, _METRIC)) for column in columns]
    name = row if row == model else f'{short_model(model)} {row}'
    rows.append(Row(f'{name} (the paper)', _lines('paper', 'paper, gpt-4', theirs)))
  for label, run in ours.items():
    numbers = [our_number(run.cells.get(column), _METRIC, usual_n(run)) for column in columns]
    rows.append(Row(label, _lines('ours', f'ours, {run.grader}', numbers)))
  title = f'{METRICS[_METRIC].title} at k = {NOVELTY_K}'
  return Table(title, [setting.replace('_', '-') for setting, _ in columns], [Block('', rows)])


def _lines(kind: str, label: str, numbers: Sequence[Number | None]) -> list[Line]:
  return [
    Line(kind, label, numbers),
    Line('difference', f'difference from {NOVELTY_LINE:.0%}', [_beyond(number) for number in numbers]),
  ]


def _beyond(number: Number | None) -> Number | None:
  if number is None or number.value is None or number.interval is None:
    return None
  low, high = number.interval
  interval = Interval(low - NOVELTY_LINE, high - NOVELTY_LINE)
  return Number(number.value - NOVELTY_LINE, interval, is_difference=True)
