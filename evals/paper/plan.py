"""From a table of the paper and the folders that exist: what is done, and the steps that are left, in order.

A step is needed where something that comes after it is missing and what it makes does not exist.
"""

from pathlib import Path

from evals.paper import steps
from evals.paper.experiments import COMMON, DIALOGS, TABLES, TRAINING, Row
from evals.paper.places import Place, config_of, dialogs, is_trained, prepared, reached
from evals.paper.run_plans import Plan, plan_row
from evals.paper.steps import Step


def plan_table(place: Place, table: int) -> tuple[list[tuple[Row, Plan]], list[Step]]:
  """Returns (rows with their runs, all that is left to do, in order); what rows share comes once."""
  rows = [(row, plan_row(place, row)) for row in TABLES[table]]
  unsampled = list({(row.config, row.data): row for row, plan in rows if plan.sampling.requests}.values())
  untrained = [row for row in unsampled if row.data and not is_trained(place, row)]
  unprepared = [row for row in untrained if not (prepared(place, row) / 'manifest.json').is_file()]
  wanted = dict.fromkeys(name for row in unprepared for name in TRAINING[row.data])
  unselected = [name for name in wanted if not dialogs(place, name).is_file()]
  without_weights = {
    row.config: row
    for row in (*untrained, *(row for row in unsampled if not row.data))
    if reached(Path(config_of(row).model.init_from)) is None
  }
  left: list[Step] = []
  if table == 6 and not Path(COMMON.format(data=place.data)).is_file():
    left.append(steps.common_skills_step(place))
  left += [steps.conversion_step(row) for row in without_weights.values()]
  for name in dict.fromkeys(DIALOGS[file][0] for file in unselected):
    left += steps.generation_steps(place, name)
  left += [steps.selection_step(place, name) for name in unselected]
  for row in untrained:
    left += [steps.preparation_step(place, row)] if row in unprepared else []
    left.append(steps.training_step(place, row))
  for row, plan in rows:
    left += steps.sampling_steps(place, row, plan)
    left += steps.grading_steps(place, plan, 'second_grader' if row.evaluation.copy else 'grader')
  return rows, [*left, steps.report_step(place, table, [plan for _, plan in rows])]
