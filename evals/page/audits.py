"""What people say beside what the grader said: marks as graded and as corrected by the sheets of an audit."""

from collections.abc import Sequence

from evals.page.grid import Block, Line, Number, Row, Table, estimated
from evals.page.view import by_setting, setting_name
from evals.results.corrected import Corrected
from evals.results.people import Audit


def corrected_table(audit: Audit) -> Table | None:
  """The Ratio of Full Marks of single texts in each cell; None where an earlier version audited."""
  if audit.corrections is None:
    return None
  cells = audit.corrections.ratios[1:]
  ks = sorted({one.k for one in cells})
  by_place = {(one.setting, one.k): one for one in cells}
  rows = [
    Row(setting_name(setting), _lines([by_place.get((setting, k)) for k in ks]))
    for setting in by_setting(one.setting for one in cells)
  ]
  return Table('Ratio of Full Marks of single texts', [f'k = {k}' for k in ks], [Block('', rows)], 'setting')


def _lines(found: Sequence[Corrected | None]) -> list[Line]:
  graded = [estimated(one.graded) if one else None for one in found]
  adjusted = [estimated(one.rogan_gladen) if one else None for one in found]
  too_few = Number(None, note='too few marked')
  powered = [(estimated(one.prediction_powered) or too_few) if one else None for one in found]
  marked = [Number(None, note=f'{sum(one.marked)} of {one.texts:,}') if one else None for one in found]
  return [
    Line('paper', 'as graded', graded), Line('ours', 'Rogan–Gladen', adjusted),
    Line('ours', 'prediction-powered', powered), Line('p', 'marked by people', marked),
  ]  # fmt: skip
