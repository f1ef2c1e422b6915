"""What of a table or figure of the paper is done, what is missing, the commands for the rest, and what they cost.

    python -m evals.paper --table=1
    python -m evals.paper --figure=2 --student=openai:gpt-6.1-sol
    python -m evals.paper --table=1 --student_config=configs/qwen3_4b.py --gpus=1xH100
    python -m evals.paper --table=1 --grader=openai:claude-sonnet-5-5 --gpus=8xA100 --mfu=0.35
    python -m evals.paper --table=1 --student=openai:gpt-6.1-sol --grader=openai:gpt-6.1-sol --tier=batch

Looks at the folders (runs/, data/, checkpoints/) and touches nothing; the same command again shows how far it is. A
step is listed if something that comes after it is missing: where dialogs exist nothing has to be generated, where
answers exist nothing has to be trained. Requests, tokens and dollars are those of --dry_run. GPU-hours follow from
--gpus and --mfu, an assumption: evals/paper/gpu_hours.py has the formula, docs/results/performance.md what was
measured. Tables 10 and 11 are 1 and 3 with one metric more. In figure 2 --student is also a student, as GPT-4 is in the
paper. --student_config plans table 1 for a student that the paper does not have: the page shows its rows beside the
paper's, and never as the paper's. docs/guides/reproduce.md tells the whole story.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from evals import graders
from evals.paper import gpu_hours
from evals.paper.experiments import TABLES, Row
from evals.paper.places import Place, config_file, config_of, reached, row_title, workdir
from evals.paper.plan import Planned, plan_figure_2, plan_table
from evals.paper.steps import Step
from evals.replies.estimate import Estimate
from evals.replies.progress import dollars, money
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS
CONCURRENCY = 64  # the default of evals.sample and evals.grade


def price(model: str, tier: str) -> tuple[float, float] | None:
  """Dollars for a million tokens in and out, of 'openai:MODEL' or a checkpoint of ours; None: not known."""
  kind, _, name = model.partition(':')
  return (0.0, 0.0) if kind == 'checkpoint' else graders.price(name, tier)


def numbers(asked: Estimate) -> str:
  """Writes '100 requests, about 2,000 + 3,000 tokens'."""
  return f'{asked.requests:,} requests, about {asked.prompt_tokens:,} + {asked.completion_tokens:,} tokens'


def describe_weights(place: Place, row: Row) -> tuple[str, str]:
  """Returns where a row's weights come from, and how far they are."""
  config = config_of(row)
  if row.data:
    return f'{config_file(row)}:{row.data}', f'step {reached(workdir(place, row)) or 0:,} of {config.steps:,}'
  return config.model.init_from, 'there' if reached(Path(config.model.init_from)) is not None else 'missing'


def print_rows(place: Place, rows: Planned):
  """Prints how far each row is."""
  lines = [('row', 'from', 'weights', 'run', 'texts', 'votes')]
  for row, plan in rows:
    who, weights = describe_weights(place, row) if row else (plan.student or 'openai:STUDENT', 'hosted')
    where = str(plan.path) if plan.path.is_dir() else f'{plan.path} (missing)'
    texts, votes = f'{plan.texts:,} of {plan.wanted:,}', f'{plan.votes:,} of {plan.wanted_votes:,}'
    lines.append((row_title(row) if row else 'a hosted student', who, weights, where, texts, votes))
  widths = [max(map(len, column)) for column in zip(*lines)]
  for line in lines:
    print('  '.join(f'{cell:{width}}' for cell, width in zip(line, widths)).rstrip())


def print_steps(steps: Sequence[Step], tier: str):
  """Prints what to do, in order."""
  for number, step in enumerate(steps, 1):
    print(f'\n{number}. {step.title}')
    for line in step.commands:
      print(f'   $ {line}')
    if step.role and step.model:
      print(f'     {step.asked.describe(price(step.model, tier), CONCURRENCY)}')
    elif step.role:
      minutes = step.asked.seconds / CONCURRENCY / 60
      print(f'     {numbers(step.asked)}, {minutes:,.1f} min with {CONCURRENCY} at a time')
    for note in step.notes:
      print(f'     {note}')
    if hours := step.training_hours + step.sampling_hours:
      print(f'     {hours:.1f} GPU-hours')


def print_total(place: Place, steps: Sequence[Step]):
  """Sums, and what a model that is not chosen yet would cost."""
  print('\nTotal')
  for role in dict.fromkeys(step.role for step in steps if step.role):
    mine = [step for step in steps if step.role == role]
    total = sum((step.asked for step in mine), Estimate())
    open_ones = sum((step.asked for step in mine if step.model is None), Estimate())
    paid = [
      dollars(price(s.model, place.tier), s.asked.prompt_tokens, s.asked.completion_tokens) for s in mine if s.model
    ]
    known = [one for one in paid if one is not None]
    spent = '' if not paid else f', {money(sum(known) if len(known) == len(paid) else None)}'
    print(f'  {role.replace("_", " ")}: {numbers(total)}{spent}')
    if open_ones.requests:
      choices = (
        f'{m.name} {money(open_ones.cost(graders.price(m.name, place.tier)))}' for m in graders.MODELS if m.output
      )
      print(f'    --{role}=openai:MODEL is not chosen: {", ".join(choices)}')
  training, sampling = (sum(getattr(step, name) for step in steps) for name in ('training_hours', 'sampling_hours'))
  if training + sampling:
    gpus = place.gpus
    clock = (training + sampling) / gpus.number
    print(f'  GPU-hours: {training:.1f} to train, {sampling:.1f} to sample; {clock:.1f} h on {gpus}')
    print(
      f'    assumed: {gpus.mfu:.0%} MFU at 6 N FLOPs a token (docs/results/performance.md has what was measured), '
      f'{gpu_hours.ROWS} answers at a time at {gpu_hours.BANDWIDTH_SHARE:.0%} of the bandwidth'
    )
  print(
    "  The paper's graders are retired: compare differences from the untouched model, not cells, and confirm them "
    'with a grader of another family (docs/guides/reproduce.md).'
  )


def check_model(flag: str, value: str | None, kinds: Sequence[str]):
  """Raises InputError for a model that cannot be asked."""
  if value is None:
    return
  if not re.fullmatch(f'({"|".join(kinds)}):.+', value):
    raise InputError(f'--{flag}={value!r} must be {" or ".join(f"{kind}:MODEL" for kind in kinds)}')
  if day := graders.retired(value.partition(':')[2]):
    raise InputError(f'--{flag}={value} was retired on {day}: evals/graders.py lists models that can be asked')


def _define_flags():
  flags.DEFINE_enum('table', None, [str(table) for table in TABLES], 'table of the paper')
  flags.DEFINE_enum('figure', None, ['2'], 'figure of the paper, instead of a table')
  flags.DEFINE_string('student_config', None, 'file of configs/: table 1 for a student that the paper does not have')
  flags.DEFINE_string('runs', 'runs', 'folder that holds the runs')
  flags.DEFINE_string('data', 'data', 'folder that holds dialogs and prepared data')
  flags.DEFINE_string(
    'student', None, "who writes training data, and GPT-4's line of figure 2, openai:MODEL; without it all are priced"
  )
  flags.DEFINE_string('grader', None, 'who votes, openai:MODEL; without it the choices are priced')
  flags.DEFINE_string('second_grader', None, 'who votes in the half of table 5 that Claude graded')
  flags.DEFINE_string('gpus', '4xH100', f'what trains and samples: a number of {", ".join(gpu_hours.KINDS)}')
  flags.DEFINE_enum('tier', 'standard', ('standard', 'flex', 'batch'), 'at which hosted models are asked and paid for')
  flags.DEFINE_float('mfu', 0.4, 'share of the peak that training reaches: an assumption', 0.01, 1.0)


def main():
  if (FLAGS.table is None) == (FLAGS.figure is None):
    raise InputError(f'give --figure=2, or --table as one of {", ".join(map(str, TABLES))}')
  if FLAGS.student_config and FLAGS.figure:
    raise InputError(f'--student_config={FLAGS.student_config} plans --table=1, not --figure=2')
  check_model('student', FLAGS.student, ('openai', 'checkpoint'))
  check_model('grader', FLAGS.grader, ('openai',))
  check_model('second_grader', FLAGS.second_grader, ('openai',))
  gpus = gpu_hours.parse(FLAGS.gpus, FLAGS.mfu)
  place = Place(Path(FLAGS.runs), Path(FLAGS.data), FLAGS.student, FLAGS.grader, FLAGS.second_grader, gpus, FLAGS.tier)
  if FLAGS.figure:
    rows, steps = plan_figure_2(place)
  else:
    rows, steps = plan_table(place, int(FLAGS.table), FLAGS.student_config)
  what = f'Figure {FLAGS.figure}' if FLAGS.figure else f'Table {FLAGS.table}'
  of_another = f', for the student of {FLAGS.student_config}: rows of its own' if FLAGS.student_config else ''
  print(f'{what} of the paper{of_another}\n')
  print_rows(place, rows)
  print_steps(steps, place.tier)
  print_total(place, steps)


if __name__ == '__main__':
  _define_flags()
  command.run(main)
