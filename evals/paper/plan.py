"""From a table of the paper and the folders that are there: what is done, and the steps that are left, in order.

A step is needed where something behind it is missing and what it makes is not there. Nothing here touches a folder.
"""

import dataclasses
import functools
import importlib
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evals.paper import gpu_hours
from evals.paper.experiments import COMMON, DIALOGS, GENERATE, LENGTH, MODELS, TABLES, TEXT_ROWS, TRAINING, Row
from evals.paper.gpu_hours import Gpus
from evals.questions.settings import Settings, from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.estimate import Estimate, estimate_grading, estimate_sampling
from evals.replies.run import Run, Student
from evals.replies.waves import Grader
from evals.results import graded
from skillmix_jax.models.config import PRESETS, Config


@dataclasses.dataclass(frozen=True)
class Place:
  """Where things are, and who is asked (None: not chosen yet)."""

  runs: Path
  data: Path
  student: str | None
  grader: str | None
  second_grader: str | None
  gpus: Gpus


@dataclasses.dataclass(frozen=True)
class Step:
  """Something to do.

  Attributes:
    title: what it makes.
    commands: for a shell, in this order.
    role: of whom a hosted model is asked: 'student', 'grader' or 'second_grader'; empty: nothing is asked.
    asked: how much.
    model: 'openai:MODEL'; None: not chosen yet.
    training_hours, sampling_hours: of one GPU.
    notes: what else it takes.
  """

  title: str
  commands: tuple[str, ...]
  role: str = ''
  asked: Estimate = dataclasses.field(default_factory=Estimate)
  model: str | None = None
  training_hours: float = 0.0
  sampling_hours: float = 0.0
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
  """One run: what its folder has, and what it still needs.

  Attributes:
    path: of the folder.
    run: as evals.sample would open it, with the replies that are there.
    arguments: of evals.sample, beside --run and --student.
    student, grader: as the command line names them; None: not chosen yet.
    texts: that are there.
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
    """Texts."""
    return len(self.run.combinations) * self.run.settings.generations

  @property
  def wanted_votes(self) -> int:
    """Where votes are adaptive, at most."""
    return self.wanted * self.run.settings.votes

  @property
  def votes(self) -> int:
    """That need not be asked for any more."""
    return max(0, self.wanted_votes - self.grading.requests)


def paper_row(row: Row) -> str:
  """As config.paper_row names it: 'LLaMA-2-13B-Chat D(1,2)'."""
  return f'{MODELS[row.config].name} {row.name}'.rstrip()


def config_of(row: Row) -> Any:
  """The config that a row is trained with."""
  module = importlib.import_module(f'configs.{row.config}')
  return module.get_config(row.data) if row.data else module.get_config()


def shape(row: Row) -> Config:
  """The row's model."""
  return PRESETS[MODELS[row.config].preset]


def workdir(place: Place, row: Row) -> Path:
  """Where a row is trained."""
  return place.runs / f'{row.config}-{row.data}'


def student_of(place: Place, row: Row) -> str:
  """Who writes: the fine-tuned model at its last step, or the converted one."""
  config = config_of(row)
  return f'checkpoint:{workdir(place, row)}@{config.steps}' if row.data else f'checkpoint:{config.model.init_from}'


def reached(folder: Path) -> int | None:
  """The last step of which a workdir has a checkpoint; None where it has none."""
  steps = [int(entry.name) for entry in (folder / 'checkpoints').glob('*') if entry.name.isdigit()]
  return max(steps, default=None)


def is_trained(place: Place, row: Row) -> bool:
  """Whether the last step is there."""
  return (reached(workdir(place, row)) or 0) >= config_of(row).steps


def prepared(place: Place, row: Row) -> Path:
  """The folder of prepared data of a row."""
  return place.data / f'{MODELS[row.config].template}-{row.data}'


def dialogs(place: Place, name: str) -> Path:
  """A file of dialogs."""
  return place.data / f'{name}.jsonl'


# Runs


def _merge(ours: Settings, there: Settings) -> Settings:
  """The cells that a folder has and those that are wanted besides; all else as it is there."""
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
  """--config.KEY=VALUE of whatever differs from the config file."""
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
  """(sampling, grading) where nothing is there yet; rows of a table have the same settings, as JSON here."""
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
  """Looks at a run's folder; a copy has the answers of `source` as long as its own folder is not there."""
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
  before = graded.find_grader(run) if is_there else None
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


def evaluated(place: Place, row: Row, suffix: str = '') -> Path:
  """The folder of a row's run."""
  return place.runs / f'eval-{row.config}-{row.data or "base"}{suffix}'


def plan_row(place: Place, row: Row) -> Plan:
  """The run of a row."""
  overrides = {'paper_row': paper_row(row)} | row.evaluation.overrides
  if 'exclude_skills' in overrides:
    overrides['exclude_skills'] = tuple(name.format(data=place.data) for name in overrides['exclude_skills'])
  path, student = evaluated(place, row, row.evaluation.suffix), student_of(place, row)
  if row.evaluation.copy:
    return plan_run(path, 'eval_paper', overrides, student, place.second_grader, source=evaluated(place, row))
  return plan_run(path, 'eval_paper', overrides, student, place.grader)


# Steps


def _line(*parts: object) -> str:
  """A command, quoted for a shell."""
  return 'python -m ' + ' '.join(shlex.quote(str(part)) for part in parts)


def _sample(plan: Plan) -> str:
  student = plan.student or 'openai:STUDENT'
  return _line('evals.sample', *plan.arguments, f'--run={plan.path}', f'--student={student}')


def generation_steps(place: Place, name: str) -> list[Step]:
  """A run that makes training data."""
  plan = plan_run(place.runs / name, 'eval_generate', GENERATE[name], place.student, place.grader)
  steps = []
  if plan.sampling.requests:
    title = f'{plan.path}: texts to choose from'
    steps.append(Step(title, (_sample(plan),), 'student', plan.sampling, plan.student, notes=plan.notes))
  return steps + grading_steps(plan, 'grader')


def sampling_steps(place: Place, row: Row, plan: Plan) -> list[Step]:
  """The answers of a row's model."""
  if row.evaluation.copy and not (plan.path / 'config.json').is_file():
    copy, source = (shlex.quote(str(path)) for path in (plan.path, evaluated(place, row)))
    commands = (f'cp -r {source} {copy} && rm -f {copy}/replies/votes-*', _sample(plan))
    return [Step(f'{plan.path}: the same answers for another grader', commands, notes=('nothing is asked',))]
  if not plan.sampling.requests:
    if plan.settled:
      return []
    return [Step(f'{plan.path}: its config', (_sample(plan),), notes=('nothing is asked', *plan.notes))]
  requests, read, written = (getattr(plan.sampling, n) for n in ('requests', 'prompt_tokens', 'completion_tokens'))
  hours = place.gpus.sampling_hours(shape(row), requests, read, written)
  note = f'{requests:,} requests to our own model, about {read:,} + {written:,} tokens'
  title = f'{plan.path}: answers of {paper_row(row)}'
  return [Step(title, (_sample(plan),), sampling_hours=hours, notes=(note, *plan.notes))]


def grading_steps(plan: Plan, role: str) -> list[Step]:
  """The votes of a run."""
  if not plan.grading.requests:
    return []
  grader = plan.grader or f'openai:{role.upper()}'
  line = _line('evals.grade', f'--run={plan.path}', f'--grader={grader}')
  return [Step(f'{plan.path}: votes', (line,), role, plan.grading, plan.grader, notes=plan.notes)]


def conversion_step(row: Row) -> Step:
  """The base model's weights and tokenizer."""
  model, checkpoint, number = MODELS[row.config], config_of(row).model.init_from, shape(row).num_params
  note = f'{2 * number / 1e9:.0f} GB to download, {4 * number / 1e9:.0f} GB on disk (float32)'
  line = _line('skillmix_jax.convert', f'--from_hf={model.hub}', f'--checkpoint={checkpoint}')
  return Step(f'{checkpoint}: weights of {model.name}', (line,), notes=(note,))


def selection_step(place: Place, name: str) -> Step:
  """A file of dialogs."""
  source, options = DIALOGS[name]
  line = _line('evals.select', f'--run={place.runs / source}', *options.split(), f'--out={dialogs(place, name)}')
  notes = ('its dialogs of k = 2 and 3 together must be fewer than D(2) (D.2)',) if name == 'D123_8000' else ()
  return Step(f'{dialogs(place, name)}: dialogs', (line,), notes=notes)


def preparation_step(place: Place, row: Row) -> Step:
  """Tokens of the dialogs, of code and of web text."""
  files = ','.join(str(dialogs(place, name)) for name in TRAINING[row.data])
  line = _line(
    'skillmix_jax.prepare', f'--dialogs={files}', '--code=CODE/**/*.py', '--wet=CRAWL/*.warc.wet.gz',
    '--languages=eng', f'--rows={TEXT_ROWS}', f'--tokenizer={config_of(row).model.init_from}/tokenizer',
    f'--template={MODELS[row.config].template}', f'--length={LENGTH}', f'--out={prepared(place, row)}',
  )  # fmt: skip
  note = f'CODE and CRAWL: source files and Common Crawl pages of your own, {TEXT_ROWS * LENGTH / 1e6:.0f} M tokens'
  return Step(f'{prepared(place, row)}: prepared data', (line,), notes=(note,))


def training_step(place: Place, row: Row) -> Step:
  """From the last checkpoint to the end."""
  config, model, gpus, folder = config_of(row), shape(row), place.gpus, workdir(place, row)
  left = config.steps - (reached(folder) or 0)
  tokens = left * (config.data.dialogs + config.data.text_rows) * LENGTH
  hours = gpus.training_hours(model, tokens, LENGTH)
  more = []
  if config.data.path != str(prepared(place, row)):
    more.append(f'--config.data.path={prepared(place, row)}')
  if folder != Path('runs') / folder.name:
    more.append(f'--workdir={folder}')
  state, checkpoint = gpu_hours.TRAINING_BYTES * model.num_params / 1e9, 12 * model.num_params / 1e9
  notes = [
    f'{left:,} steps of {config.data.dialogs} + {config.data.text_rows} rows x {LENGTH}: {tokens / 1e6:.0f} M tokens, '
    f'{hours / gpus.number:.1f} h on {gpus}',
    f'{state:.0f} GB of weights, gradients and moments over {gpus}, {checkpoint:.0f} GB a checkpoint',
  ]
  if not gpus.holds(model):
    notes.append(f'this does not fit on {gpus}')
  line = _line('skillmix_jax.train', f'--config=configs/{row.config}.py:{row.data}', *more)
  return Step(f'{folder}: {paper_row(row)}', (line,), training_hours=hours, notes=tuple(notes))


def report_step(place: Place, table: int, plans: Sequence[Plan]) -> Step:
  """The page, and the tables on the terminal."""
  files = _distinct(dialogs(place, name) for row in TABLES[table] for name in TRAINING.get(row.data, ()))
  out = place.runs / f'table{table}.html'
  line = _line(
    'evals.report', '--runs=' + ','.join(str(plan.path) for plan in plans),
    '--train_data=' + ','.join(map(str, files)), f'--out={out}',
  )  # fmt: skip
  return Step(f'{out}: ours beside the paper', (line,))


def common_skills_step(place: Place) -> Step:
  """What nobody but its authors can make."""
  notes = (
    'names of skills that occur in at least 5 % of RedPajama, one a line; the paper does not print them',
    'until it is there the numbers below are those of all skills',
  )
  return Step(f'{COMMON.format(data=place.data)}: a list of your own', (), notes=notes)


def _distinct(values: Iterable) -> list:
  return list(dict.fromkeys(values))


def plan_table(place: Place, table: int) -> tuple[list[tuple[Row, Plan]], list[Step]]:
  """(rows with their runs, all that is left to do, in order); what rows share comes once."""
  rows = [(row, plan_row(place, row)) for row in TABLES[table]]
  unsampled = list({(row.config, row.data): row for row, plan in rows if plan.sampling.requests}.values())
  untrained = [row for row in unsampled if row.data and not is_trained(place, row)]
  unprepared = [row for row in untrained if not (prepared(place, row) / 'manifest.json').is_file()]
  wanted = _distinct(name for row in unprepared for name in TRAINING[row.data])
  unselected = [name for name in wanted if not dialogs(place, name).is_file()]
  without_weights = {
    row.config: row
    for row in (*untrained, *(row for row in unsampled if not row.data))
    if reached(Path(config_of(row).model.init_from)) is None
  }
  steps: list[Step] = []
  if table == 6 and not Path(COMMON.format(data=place.data)).is_file():
    steps.append(common_skills_step(place))
  steps += [conversion_step(row) for row in without_weights.values()]
  for name in _distinct(DIALOGS[file][0] for file in unselected):
    steps += generation_steps(place, name)
  steps += [selection_step(place, name) for name in unselected]
  for row in untrained:
    steps += [preparation_step(place, row)] if row in unprepared else []
    steps.append(training_step(place, row))
  for row, plan in rows:
    steps += sampling_steps(place, row, plan)
    steps += grading_steps(plan, 'second_grader' if row.evaluation.copy else 'grader')
  return rows, [*steps, report_step(place, table, [plan for _, plan in rows])]
