"""From a table of the paper and the folders that exist: what is done, and the steps that are left, in order.

A step is needed where something that comes after it is missing and what it makes does not exist.
"""

from collections.abc import Sequence
from pathlib import Path

from evals.paper import steps, student_config
from evals.paper.experiments import COMMON, DIALOGS, FIGURE_2, HELD_OUT, TABLES, TRAINING, Row
from evals.paper.places import Place, config_of, dialogs, is_trained, prepared, reached
from evals.paper.run_plans import Plan, plan_hosted, plan_row
from evals.paper.steps import Step

Planned = list[tuple[Row | None, Plan]]  # None: a hosted student, who is no row


def plan_table(place: Place, table: int, config: str | None = None) -> tuple[Planned, list[Step]]:
  """Returns (rows with their runs, all that is left to do, in order); what rows share comes once.

  Args:
    config: file of a student that takes the place of the paper's in table 1.

  Raises:
    InputError: there is no plan for this student.
  """
  if config is None:
    return _plan(place, TABLES[table], f'table{table}')
  return _plan(place, student_config.rows(config, table), f'table{table}-{Path(config).stem}')


def plan_figure_2(place: Place) -> tuple[Planned, list[Step]]:
  """Returns the same of figure 2, with the student who writes the training data in GPT-4's place."""
  return _plan(place, FIGURE_2, 'figure2', plan_hosted(place, HELD_OUT))


def _plan(place: Place, wanted: Sequence[Row], page: str, hosted: Plan | None = None) -> tuple[Planned, list[Step]]:
  rows = [(row, plan_row(place, row)) for row in wanted]
  unsampled = list({(row.config, row.data): row for row, plan in rows if plan.sampling.requests}.values())
  untrained = [row for row in unsampled if row.data and not is_trained(place, row)]
  unprepared = [row for row in untrained if not (prepared(place, row) / 'manifest.json').is_file()]
  files = dict.fromkeys(name for row in unprepared for name in TRAINING[row.data])
  unselected = [name for name in files if not dialogs(place, name).is_file()]
  without_weights = {
    row.config: row
    for row in (*untrained, *(row for row in unsampled if not row.data))
    if reached(Path(config_of(row).model.init_from)) is None
  }
  left: list[Step] = []
  if page == 'table6' and not Path(COMMON.format(data=place.data)).is_file():
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
  picture = []
  if hosted is not None:
    left += steps.hosted_steps(place, hosted, 'answers of a hosted student')
    left += steps.grading_steps(place, hosted, 'grader')
    picture = [f'--figure={place.runs / f"{page}.svg"}']
  planned: Planned = [*rows, *([(None, hosted)] if hosted else [])]
  return planned, [*left, steps.report_step(place, wanted, [plan for _, plan in planned], page, *picture)]
