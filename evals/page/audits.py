"""What people say beside what the grader said: marks as graded and as corrected by the sheets of an audit."""

from evals.page.grid import Block, Line, Number, Row, Table, estimated
from evals.page.view import by_setting, setting_name
from evals.results.corrected import Corrected
from evals.results.people import Audit

WHOLE = 'the whole run'


def corrected_table(audit: Audit) -> Table | None:
  """The Ratio of Full Marks of single texts in each cell and in the run; None where an earlier version audited."""
  if audit.corrections is None:
    return None
  run, *cells = audit.corrections.ratios
  ks = sorted({one.k for one in cells})
  by_place = {(one.setting, one.k): one for one in cells}
  rows = [
    Row(setting_name(setting), _lines([by_place.get((setting, k)) for k in ks] + [None]))
    for setting in by_setting(one.setting for one in cells)
  ]
  rows.append(Row(WHOLE, _lines([None for _ in ks] + [run])))
  return Table('Ratio of Full Marks of single texts', [f'k = {k}' for k in ks] + ['all'], [Block('', rows)], 'setting')


def _lines(found: list[Corrected | None]) -> list[Line]:
  graded = [estimated(one.graded) if one else None for one in found]
  adjusted = [estimated(one.rogan_gladen) if one else None for one in found]
  powered = [
    (estimated(one.prediction_powered) or Number(None, note='too few marked')) if one else None for one in found
  ]
  marked = [Number(None, note=f'{sum(one.marked)} of {one.texts:,}') if one else None for one in found]
  return [
    Line('paper', 'as graded', graded), Line('ours', 'Rogan–Gladen', adjusted),
    Line('ours', 'prediction-powered', powered), Line('p', 'marked by people', marked),
  ]  # fmt: skip
