"""First answers beside improved ones: marks, the gain with its verdict, and the criteria that change."""

from collections.abc import Sequence

from evals.page.grid import Block, Line, Number, Row, Table, contrast_lines, our_number
from evals.page.view import RunView, by_setting, labels, setting_name
from evals.results.cells import METRICS
from evals.results.improving import Improving
from evals.results.trust import CRITERIA


def _with_first(runs: Sequence[RunView]) -> list[tuple[str, RunView, Improving]]:
  """(label, run, its first answers) of the runs whose first answers were graded."""
  return [(label, run, run.metrics.improving) for label, run in zip(labels(runs), runs) if run.metrics.improving]


def _places(runs: Sequence[RunView]) -> tuple[list[str], list[int]]:
  """(settings, ks) that have first answers."""
  cells = [cell for _, _, found in _with_first(runs) for cell in found.cells]
  return by_setting(cell.setting for cell in cells), sorted({cell.k for cell in cells})


def gain_tables(runs: Sequence[RunView]) -> list[Table]:
  """One table for each metric; none where no first answer was graded."""
  settings, ks = _places(runs)
  tables = []
  for metric, of in METRICS.items() if ks else ():
    blocks = []
    for setting in settings:
      rows = []
      for label, run, found in _with_first(runs):
        firsts = {(cell.setting, cell.k): cell for cell in found.cells}
        gains = {gain.k: gain for gain in found.gains if (gain.metric, gain.setting) == (metric, setting)}
        paired = {k: gain.n for k, gain in gains.items()}
        lines = [
          Line('paper', 'first answer', [our_number(firsts.get((setting, k)), metric, paired.get(k)) for k in ks]),
          Line('ours', 'improved', [our_number(run.cells.get((setting, k)), metric, paired.get(k)) for k in ks]),
          *contrast_lines('gain', [gains.get(k) for k in ks]),
        ]
        if any(number for line in lines for number in line.numbers):
          rows.append(Row(label, lines))
      blocks.append(Block(setting_name(setting), rows))
    tables.append(Table(of.title, [f'k = {k}' for k in ks], blocks))
  return tables


def change_table(runs: Sequence[RunView]) -> Table | None:
  """How many points each criterion gained and lost; None where no first answer was graded."""
  settings, ks = _places(runs)
  blocks = []
  for setting in settings:
    rows = []
    for label, _, found in _with_first(runs):
      changes = {(change.criterion, change.k): change for change in found.changes if change.setting == setting}
      lines = []
      for criterion in CRITERIA:
        numbers = []
        for k in ks:
          change = changes.get((criterion, k))
          note = f'{change.gained} gained, {change.lost} lost of {change.n}' if change else ''
          share = (change.improved - change.first) / change.n if change else None
          numbers.append(Number(share, is_difference=True, note=note) if change else None)
        lines.append(Line('difference', 'skills' if criterion == CRITERIA[0] else criterion, numbers))
      rows.append(Row(label, lines))
    blocks.append(Block(setting_name(setting), rows))
  return Table('Points by criterion', [f'k = {k}' for k in ks], blocks) if ks else None


def refusals(runs: Sequence[RunView]) -> list[str]:
  """Why gains get no verdict, each reason once, with the run that it is of."""
  reasons = [f'{label}: {gain.reason}' for label, _, found in _with_first(runs) for gain in found.gains if gain.reason]
  return list(dict.fromkeys(reasons))
