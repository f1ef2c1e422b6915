"""What the paper prints, cell by cell, with its misprints marked."""

from dataclasses import dataclass

ASSUMED_N = 100  # combinations per cell: the paper does not say; its authors' earlier evaluation used 100
# E.2: the estimated probability that 5 random skills and a topic are together in 2T tokens of training, when common
# skills are left out: a student with full marks more often writes what it has not read.
NOVELTY_LINE, NOVELTY_K = 0.11, 5
# Why a cell cannot be right as printed.
_FRACTION = 'printed .00 beside .75 full marks, which is impossible: a text with full marks has fraction 1'
_CLAUDE = 'printed .08/.64, out of line with its neighbours .07/.48 and .00/.42'


@dataclass(frozen=True)
class Printed:
  """One number of the paper."""

  value: float
  misprint: str = ''  # why it cannot be right


class Results:
  """Tables 4, 5, 6, 10 and 11 of results.json under one address: (table, grader, model, row, setting, k, metric)."""

  def __init__(self, results: dict):
    self._cells: dict[tuple, Printed] = {}
    self.models: list[str] = []
    for table in (10, 11, 4):
      section = results[f'table_{table}']
      model = section['model']
      self.models += [] if model in self.models else [model]
      for setting, rows in section['settings'].items():
        for row, by_k in rows.items():
          for k, values in zip(section['k'], by_k):
            self._add(table, section['grader'], model, row, setting, k, section['metrics'], values)
    five = results['table_5']
    for grader, rows in five['graders'].items():
      for row, by_k in rows.items():
        for k, values in zip(five['k'], by_k):
          self._add(5, grader, five['model'], row, five['setting'], k, five['metrics'], values)
    six = results['table_6']
    for rows in six['rows'].values():
      for name, by_setting in rows.items():
        model = next(m for m in self.models if m.split('-')[0] == name.split('-')[0].split()[0])
        row = name if name == model else name.split(' ', 1)[1]
        for setting, values in zip(('train', 'held_out', 'all'), by_setting):
          self._add(6, six['grader'], model, row, setting, six['k'][0], six['metrics'], values)

  def _add(self, table, grader, model, row, setting, k, metrics, values):
    for metric, value in zip(metrics, values):
      misprint = ''
      if (table, row, setting, k, metric) == (11, 'D(1,2)', 'all', 2, 'skills_fraction'):
        misprint = _FRACTION
      if (table, grader, row, k) == (5, 'claude-3-opus', model, 4):
        misprint = _CLAUDE
      self._cells[table, grader, model, row, setting, k, metric] = Printed(value, misprint)

  def get(self, table: int, grader: str, model: str, row: str, setting: str, k: int, metric: str) -> Printed | None:
    """Returns the printed cell, None where the paper has none."""
    return self._cells.get((table, grader, model, row, setting, k, metric))

  def find(self, model: str | None, row: str | None, setting: str, k: int, metric: str) -> Printed | None:
    """Returns the cell graded by gpt-4, with all skills in use, of whichever table has it."""
    for (table, grader, *address), printed in self._cells.items():
      if table != 6 and grader == 'gpt-4' and address == [model, row, setting, k, metric]:
        return printed
    return None

  def rows(self, table: int, model: str | None = None) -> list[tuple[str, str]]:
    """Returns (model, row) of a table, as ordered in print."""
    students = dict.fromkeys((m, row) for t, _, m, row, *_ in self._cells if t == table and model in (None, m))
    return list(students)

  def columns(self, table: int) -> list[tuple[str, int]]:
    """Lists (setting, k) of a table."""
    return list(dict.fromkeys((setting, k) for t, _, _, _, setting, k, _ in self._cells if t == table))

  def graders(self, table: int) -> list[str]:
    """Lists who graded a table."""
    return list(dict.fromkeys(grader for t, grader, *_ in self._cells if t == table))

  def metrics(self, table: int) -> list[str]:
    """Lists what is printed of a table's cells, in the paper's order."""
    return list(dict.fromkeys(address[-1] for address in self._cells if address[0] == table))
