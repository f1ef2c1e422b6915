"""Our own tables, without the paper: every cell, single generations, seen and unseen skill sets."""

from collections.abc import Callable, Sequence

from evals.page import figure
from evals.page.graders import usual_n
from evals.page.grid import Block, Line, Number, Row, Table, estimated, minus, our_number
from evals.page.view import RunView, by_setting, labels, setting_name
from evals.questions.printed import Results
from evals.results.cells import METRICS

Part = tuple[str, str, Number | None]  # kind and label of a line, and its number in one column
Column = tuple[str, int]  # (setting, k)


def our_tables(runs: Sequence[RunView]) -> list[Table]:
  """Every cell of every run."""

  def parts(run: RunView, column: Column, metric: str) -> list[Part]:
    cell = run.cells.get(column)
    best = f'best of {cell.num_generations}' if cell else 'best of all'
    lines: list[Part] = [('ours', best, our_number(cell, metric, usual_n(run), missing=True))]
    if any(metric in its.by_skill_ci95 for its in run.metrics.cells):
      wide = Number(cell.best[metric].mean, cell.by_skill_ci95[metric]) if cell and cell.by_skill_ci95 else None
      lines.append(('paper', 'for other skills', wide))
    return lines

  return _tables(runs, _all_columns(runs), parts)


def single_tables(runs: Sequence[RunView]) -> list[Table]:
  """The best of the generations beside the mean of one: what a user of the model meets."""
  if not any(cell.mean_of_one for run in runs for cell in run.metrics.cells):
    return []

  def parts(run: RunView, column: Column, metric: str) -> list[Part]:
    cell = run.cells.get(column)
    best = our_number(cell, metric, usual_n(run))
    one = estimated(cell.mean_of_one.get(metric)) if cell else None
    gain = minus(best, one)
    return [
      ('ours', f'best of {cell.num_generations}' if cell else 'best of all', best),
      ('paper', 'one generation', one),
      ('difference', 'gain', Number(gain.value, is_difference=True) if gain else None),  # of the same texts
    ]

  return _tables(runs, _all_columns(runs), parts)


def seen_tables(runs: Sequence[RunView]) -> list[Table]:
  """Skill sets that stand in the training files against those that do not."""
  runs = [run for run in runs if run.metrics.seen and run.metrics.seen.cells]
  cells = lambda run: run.metrics.seen.cells if run.metrics.seen else ()

  def parts(run: RunView, column: Column, metric: str) -> list[Part]:
    here = {cell.seen: cell for cell in cells(run) if (cell.setting, cell.k) == column and cell.n}
    seen, unseen = (our_number(here.get(is_seen), metric, None) for is_seen in (True, False))
    return [
      ('ours', 'seen in training', seen),
      ('ours', 'unseen', unseen),
      ('difference', 'unseen − seen', minus(unseen, seen)),
    ]

  return _tables(runs, [(cell.setting, cell.k) for run in runs for cell in cells(run)], parts) if runs else []


def figure_table(runs: Sequence[RunView], results: Results, setting: str) -> Table:
  """The numbers of a figure: ours with intervals, and the paper's of the same students."""
  ks = sorted({k for run in runs for of, k in run.cells if of == setting})
  rows = []
  for label, run, series in zip(labels(runs), runs, figure.series(runs, results, setting)):
    theirs = dict(series.paper)
    lines = [Line('ours', 'ours', [our_number(run.cells.get((setting, k)), figure.METRIC, usual_n(run)) for k in ks])]
    if theirs:
      lines.append(Line('paper', 'paper', [Number(theirs[k]) if k in theirs else None for k in ks]))
    rows.append(Row(label, lines))
  return Table(METRICS[figure.METRIC].title, [f'k = {k}' for k in ks], [Block('', rows)])


def _tables(
  runs: Sequence[RunView], columns: Sequence[Column], parts: Callable[[RunView, Column, str], list[Part]]
) -> list[Table]:
  """One table for each metric, one block for each setting; `parts` are the lines of a run in one column."""
  settings, ks = by_setting(setting for setting, _ in columns), sorted({k for _, k in columns})
  tables = []
  for name, metric in METRICS.items():
    blocks = []
    for setting in settings:
      rows = []
      for label, run in zip(labels(runs), runs):
        by_k = [parts(run, (setting, k), name) for k in ks]
        if any(number for lines in by_k for _, _, number in lines):
          rows.append(Row(label, _lines(by_k)))
      blocks.append(Block(setting_name(setting), rows))
    tables.append(Table(metric.title, [f'k = {k}' for k in ks], blocks))
  return tables


def _lines(by_k: Sequence[Sequence[Part]]) -> list[Line]:
  """One list of parts per column -> lines. A label is taken from a column that has a number."""
  lines = []
  for parts in zip(*by_k):
    kind, label, _ = next((part for part in parts if part[2] is not None), parts[0])
    lines.append(Line(kind, label, [number for _, _, number in parts]))
  return lines


def _all_columns(runs: Sequence[RunView]) -> list[Column]:
  return [column for run in runs for column in run.cells]
