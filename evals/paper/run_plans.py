"""One run of a table: what its folder has, and what it still needs. Nothing here touches a folder."""

import dataclasses
import functools
import importlib
import json
from pathlib import Path
from typing import Any

from evals.paper.experiments import Evaluation, Row
from evals.paper.places import Place, evaluated, evaluated_hosted, paper_row, student_of
from evals.questions.settings import Settings, from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.estimate import Estimate, estimate_grading, estimate_sampling
from evals.replies.run import Run, Student
from evals.replies.waves import Grader
from evals.results import graded


@dataclasses.dataclass(frozen=True)
class Plan:
  """One run: what its folder has, and what it still needs.

  Attributes:
    path: of the folder.
    run: as evals.sample would open it, with the replies that it has.
    arguments: of evals.sample, beside --run and --student.
    student, grader: as the command line names them; None: not chosen yet.
    texts: the number of texts that exist.
    settled: whether the folder was last sampled with these arguments.
    notes: what is odd about it.
  """

  path: Path
  run: Run
  arguments: tuple[str, ...]
  student: str | None
  grader: str | None
  texts: int
  sampling: Estimate
  grading: Estimate
  settled: bool
  notes: tuple[str, ...] = ()

  @property
  def wanted(self) -> int:
    """The number of texts that the run must have."""
    return len(self.run.combinations) * self.run.settings.generations

  @property
  def wanted_votes(self) -> int:
    """The number of votes that the run must have; an upper bound where votes are adaptive."""
    return self.wanted * self.run.settings.votes

  @property
  def votes(self) -> int:
    """The number of votes that the run has already."""
    return max(0, self.wanted_votes - self.grading.requests)


def _merge(ours: Settings, there: Settings) -> Settings:
  """Returns the cells that a folder has and those that are wanted besides; everything else as the folder has it."""
  if there.combinations:
    return dataclasses.replace(there, paper_row=ours.paper_row)
  numbers = dict(zip(ours.ks, ours.num_combinations))
  for k, number in zip(there.ks, there.num_combinations):
    numbers[k] = max(number, numbers.get(k, 0))
  names = {*ours.settings, *there.settings}
  order = [name for name in ('train', 'held_out', 'all', 'generate') if name in names]
  return dataclasses.replace(
    there,
    settings=tuple(order),
    ks=tuple(sorted(numbers)),
    num_combinations=tuple(numbers[k] for k in sorted(numbers)),
    paper_row=ours.paper_row,
  )


def _flags(settings: Settings, default: Settings) -> list[str]:
  """Returns --config.KEY=VALUE of whatever differs from the config file."""
  found = []
  for field in dataclasses.fields(Settings):
    value, usual = getattr(settings, field.name), getattr(default, field.name)
    if field.name == 'student':
      found += [f'--config.student.{name}={value[name]}' for name in value if value[name] != usual[name]]
    elif value != usual:
      if isinstance(value, tuple):  # ml_collections reads 1,2 as numbers, but a,b as one text
        texts = len(value) > 1 and isinstance(value[0], str)
        value = '(' + ','.join(map(repr, value)) + ')' if texts else ','.join(map(str, value))
      found.append(f'--config.{field.name}={value}')
  return found


@functools.cache
def _estimate_all(settings: str) -> tuple[Estimate, Estimate]:
  """Estimates (sampling, grading) of an empty folder; rows of a table have the same settings, as JSON here."""
  run = runs.preview(Path('/nowhere'), from_config(json.loads(settings)), Student('', '', {}))
  return estimate_sampling(run), estimate_grading(run, None, 0.0)


def plan_run(
  path: Path,
  config: str,
  overrides: dict[str, Any],
  student: str | None,
  grader: str | None,
  source: Path | None = None,
) -> Plan:
  """Looks at a run's folder; a copy has the answers of `source` as long as it has no folder of its own."""
  default = from_config(importlib.import_module(f'configs.{config}').get_config().to_dict())
  wanted, who, notes, settled = dataclasses.replace(default, **overrides), Student('', '', {}), [], False
  is_there = (path / 'config.json').is_file()
  folder = path if is_there or source is None else source
  if (folder / 'config.json').is_file():
    saved = runs.open_run(folder)
    who = saved.student
    if is_there:
      student = who.name
      prompt = wanted.grading_prompt if source else saved.settings.grading_prompt
      wanted = dataclasses.replace(_merge(wanted, saved.settings), grading_prompt=prompt)
      settled = wanted == saved.settings
  arguments = (f'--config=configs/{config}.py', *_flags(wanted, default))
  for name in wanted.exclude_skills:
    if name.startswith('@') and not Path(name[1:]).is_file():
      wanted = dataclasses.replace(wanted, exclude_skills=())
  run = runs.preview(folder, wanted, who)
  known = graded.find_graders(run) if is_there else []
  before = next((one for one in known if f'openai:{one.model}' == grader), known[0] if known else None)
  if before is not None:
    if grader not in (None, f'openai:{before.model}'):
      notes.append(f'it holds votes of {before.model}, which goes on; a copy of the folder can have another grader')
    grader = f'openai:{before.model}'
  if len(run.ledger):
    texts, sampling = sum(1 for _ in waves.texts(run)), estimate_sampling(run)
    grading = estimate_grading(run, before or Grader('', {}), 0.0)
  else:
    texts, (sampling, grading) = 0, _estimate_all(json.dumps(wanted.to_dict() | {'paper_row': ''}))
  return Plan(path, run, arguments, student, grader, texts, sampling, grading, settled, tuple(notes))


def plan_row(place: Place, row: Row) -> Plan:
  """Plans the run of a row."""
  overrides = {'paper_row': paper_row(row)} | row.evaluation.overrides
  if 'exclude_skills' in overrides:
    overrides['exclude_skills'] = tuple(name.format(data=place.data) for name in overrides['exclude_skills'])
  path, student = evaluated(place, row, row.evaluation.suffix), student_of(place, row)
  if row.evaluation.copy:
    return plan_run(path, 'eval_paper', overrides, student, place.second_grader, source=evaluated(place, row))
  return plan_run(path, 'eval_paper', overrides, student, place.grader)


def plan_hosted(place: Place, evaluation: Evaluation) -> Plan:
  """Plans the run of the hosted student, as GPT-4 is a student in figure 2."""
  return plan_run(evaluated_hosted(place), 'eval_paper', evaluation.overrides, place.student, place.grader)
