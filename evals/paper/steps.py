"""The steps that a table may take, each with its commands and its cost."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from evals.paper import gpu_hours
from evals.paper.experiments import COMMON, DIALOGS, GENERATE, TRAINING, Row
from evals.paper.places import (
  Place,
  config_file,
  config_of,
  dialogs,
  evaluated,
  length,
  model_name,
  preparation,
  prepared,
  reached,
  row_title,
  shape,
  workdir,
)
from evals.paper.run_plans import Plan, plan_run
from evals.replies.estimate import Estimate


@dataclasses.dataclass(frozen=True)
class Step:
  """A thing to do, with its command and its cost.

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


def _line(*parts: object) -> str:
  """Quotes a command for a shell."""
  return 'python -m ' + ' '.join(shlex.quote(str(part)) for part in parts)


def _sample(place: Place, plan: Plan) -> str:
  student = plan.student or 'openai:STUDENT'
  tier = _tier(place, plan, 'student_params') if student.startswith('openai:') else []
  return _line('evals.sample', *plan.arguments, f'--run={plan.path}', f'--student={student}', *tier)


def _tier(place: Place, plan: Plan, params: str) -> list[str]:
  if place.tier == 'batch':
    return [f'--batch={plan.path / "batch"}']
  return [] if place.tier == 'standard' else [f'--{params}=service_tier={place.tier}']


def generation_steps(place: Place, name: str) -> list[Step]:
  """Returns the steps of a run that makes training data."""
  plan = plan_run(place.runs / name, 'eval_generate', GENERATE[name], place.student, place.grader)
  return hosted_steps(place, plan, 'texts to choose from') + grading_steps(place, plan, 'grader')


def hosted_steps(place: Place, plan: Plan, what: str) -> list[Step]:
  """Returns the step that asks the student who writes the training data."""
  if not plan.sampling.requests:
    return []
  command = _sample(place, plan)
  return [Step(f'{plan.path}: {what}', (command,), 'student', plan.sampling, plan.student, notes=plan.notes)]


def sampling_steps(place: Place, row: Row, plan: Plan) -> list[Step]:
  """Returns the steps that make the answers of a row's model."""
  if row.evaluation.copy and not (plan.path / 'config.json').is_file():
    copy, source = (shlex.quote(str(path)) for path in (plan.path, evaluated(place, row)))
    commands = (f'cp -r {source} {copy} && rm -f {copy}/replies/votes-*', _sample(place, plan))
    return [Step(f'{plan.path}: the same answers for another grader', commands, notes=('nothing is asked',))]
  if not plan.sampling.requests:
    if plan.settled:
      return []
    return [Step(f'{plan.path}: its config', (_sample(place, plan),), notes=('nothing is asked', *plan.notes))]
  requests, read, written = (getattr(plan.sampling, n) for n in ('requests', 'prompt_tokens', 'completion_tokens'))
  hours = place.gpus.sampling_hours(shape(row), requests, read, written)
  note = f'{requests:,} requests to our own model, about {read:,} + {written:,} tokens'
  title = f'{plan.path}: answers of {row_title(row)}'
  return [Step(title, (_sample(place, plan),), sampling_hours=hours, notes=(note, *plan.notes))]


def grading_steps(place: Place, plan: Plan, role: str) -> list[Step]:
  """Returns the steps that ask for the votes of a run."""
  if not plan.grading.requests:
    return []
  grader = plan.grader or f'openai:{role.upper()}'
  line = _line('evals.grade', f'--run={plan.path}', f'--grader={grader}', *_tier(place, plan, 'grader_params'))
  return [Step(f'{plan.path}: votes', (line,), role, plan.grading, plan.grader, notes=plan.notes)]


def conversion_step(row: Row) -> Step:
  """Returns the step that fetches the base model's weights and tokenizer."""
  config, number = config_of(row), shape(row).num_params
  note = f'{2 * number / 1e9:.0f} GB to download, {4 * number / 1e9:.0f} GB on disk (float32)'
  return Step(f'{config.model.init_from}: weights of {model_name(row)}', (config.made_by.weights,), notes=(note,))


def selection_step(place: Place, name: str) -> Step:
  """Returns the step that writes a file of dialogs."""
  source, options = DIALOGS[name]
  line = _line('evals.select', f'--run={place.runs / source}', *options.split(), f'--out={dialogs(place, name)}')
  notes = ('of k = 2 and 3 together it draws fewer than D(2) has (D.2)',) if name == 'D123_8000' else ()
  return Step(f'{dialogs(place, name)}: dialogs', (line,), notes=notes)


def preparation_step(place: Place, row: Row) -> Step:
  """Returns the step that tokenises dialogs, code and web text."""
  ours = {
    '--dialogs': ','.join(str(dialogs(place, name)) for name in TRAINING[row.data]), '--out': str(prepared(place, row)),
  }  # fmt: skip
  words = [word.partition('=') for word in preparation(row)]
  line = shlex.join(f'{flag}={ours[flag]}' if flag in ours else flag + sign + value for flag, sign, value in words)
  tokens = length(row) * next(int(value) for flag, _, value in words if flag == '--rows')
  note = f'CODE and CRAWL: source files and Common Crawl pages of your own, {tokens / 1e6:.0f} M tokens'
  return Step(f'{prepared(place, row)}: prepared data', (line,), notes=(note,))


def training_step(place: Place, row: Row) -> Step:
  """Returns the step that trains from the last checkpoint to the end."""
  config, model, gpus, folder = config_of(row), shape(row), place.gpus, workdir(place, row)
  long = length(row)
  left = config.steps - (reached(folder) or 0)
  tokens = left * (config.data.dialogs + config.data.text_rows) * long
  hours = gpus.training_hours(model, tokens, long)
  more = []
  if config.data.path != str(prepared(place, row)):
    more.append(f'--config.data.path={prepared(place, row)}')
  if folder != Path('runs') / folder.name:
    more.append(f'--workdir={folder}')
  state, checkpoint = gpu_hours.state_bytes(model) / 1e9, 12 * model.num_trained / 1e9
  notes = [
    f'{left:,} steps of {config.data.dialogs} + {config.data.text_rows} rows x {long}: {tokens / 1e6:.0f} M tokens, '
    f'{hours / gpus.number:.1f} h on {gpus}',
    f'{state:.0f} GB of weights, gradients and moments over {gpus}, {checkpoint:.1f} GB a checkpoint',
  ]
  if not gpus.holds(model):
    notes.append(f'this does not fit on {gpus}')
  line = _line('skillmix_jax.train', f'--config={config_file(row)}:{row.data}', *more)
  return Step(f'{folder}: {row_title(row)}', (line,), training_hours=hours, notes=tuple(notes))


def report_step(place: Place, rows: Sequence[Row], plans: Sequence[Plan], name: str, *flags: str) -> Step:
  """Returns the step that writes the page `name` and prints the tables."""
  files = dict.fromkeys(dialogs(place, file) for row in rows for file in TRAINING.get(row.data, ()))
  out = place.runs / f'{name}.html'
  line = _line(
    'evals.report', '--runs=' + ','.join(str(plan.path) for plan in plans),
    '--train_data=' + ','.join(map(str, files)), f'--out={out}', *flags,
  )  # fmt: skip
  return Step(f'{out}: ours beside the paper', (line,))


def common_skills_step(place: Place) -> Step:
  """Returns the step that only the paper's authors can make: the list of skills that RedPajama has often."""
  notes = (
    'names of skills that occur in at least 5 % of RedPajama, one a line; the paper does not print them',
    'until it exists the numbers below are those of all skills',
  )
  return Step(f'{COMMON.format(data=place.data)}: a list of your own', (), notes=notes)
