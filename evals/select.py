"""Turns texts with full marks into training dialogs.

    python -m evals.select --run=runs/generate --ks=1 --out=D1.jsonl
    python -m evals.select --run=runs/generate --ks=1,2,3 --max=8000 --seed=0 --out=D123-8000.jsonl

Training dialogs belong to training skills and topics. A run that also holds texts of held-out ones, or of all, has to
be told which to take: --settings=train. A student that is trained on the others was trained on its own test.

A dialog is prompt 1, answer 1, prompt 2, answer 2, as the student wrote them; `meta` says where it is from. --max draws
so many of them at random; of k = 1, 2 and 3 together, as in D.2, fewer with k = 2 and 3 than D(2) has. Prints how many
of the texts had full marks, beside what the paper kept (C.1).
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from evals.files import write_jsonl
from evals.questions import catalog
from evals.questions.settings import parse_ks
from evals.replies import waves
from evals.replies.run import Run, open_run
from evals.results import graded
from evals.results.graded import GradedText
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file

FLAGS = flags.FLAGS
PART_OF_D123 = {1, 2, 3}  # the ks of what D.2 draws from


def paper_yields() -> dict[int, float]:
  """Returns k -> share of the paper's texts that had full marks: .82, .63 and .36."""
  sizes = json.loads((catalog.PAPER / 'results.json').read_text(encoding='utf-8'))['dataset_sizes']
  return {int(k): sizes[f'D({k})'] / number for k, number in sizes['generations_before_filter'].items()}


def to_dialog(run: Run, text: waves.Text, grade: GradedText) -> dict[str, Any]:
  """Returns a line that `prepare` reads."""
  combination = text.combination
  said = (text.round1, text.answer1, text.round2, text.answer2)
  return {
    'id': f'{combination.id}-g{text.generation}',
    'messages': [
      {'role': role, 'content': content} for role, content in zip(('user', 'assistant', 'user', 'assistant'), said)
    ],
    'meta': {
      'k': combination.k, 'skills': list(combination.skills), 'topic': combination.topic,
      'setting': combination.setting, 'student': run.student.model, 'grader': grade.grader,
      'catalog': run.catalog.name, 'points': list(grade.points or ()),
    },
  }  # fmt: skip


def held_out_settings(run: Run) -> list[str]:
  """Settings of the run whose texts are about held-out skills or topics; a file of combinations may name any."""
  settings, topics = run.settings, set(run.catalog.topics['train'])
  # `generate` takes all skills at k = 1, as the paper's D(1) does (footnote 3)
  skills = {s.name for s in run.catalog.skills if catalog.is_train_skill(s, settings.split)}
  unfit = {
    combination.setting
    for combination in run.combinations
    if combination.setting not in catalog.SETTINGS
    and (combination.topic not in topics or not skills.issuperset(combination.skills))
  }
  return sorted(unfit | ({'held_out', 'all'} & {combination.setting for combination in run.combinations}))


def check_settings(run: Run, asked: Sequence[str]):
  """Raises InputError where held-out texts would be taken without being asked for, or a setting has none."""
  present = list(dict.fromkeys(combination.setting for combination in run.combinations))
  if odd := [name for name in asked if name not in present]:
    raise InputError(f'--settings={",".join(asked)}: {run.path} has no {odd[0]!r}, but {", ".join(present)}')
  held_out = [] if asked else held_out_settings(run)
  if held_out:
    others = [name for name in present if name not in held_out] or ['NAMES']
    raise InputError(
      f'{run.path} has texts of {" and ".join(held_out)}, which are for testing: say which settings to train on with '
      f'--settings={",".join(others)}, or begin a run with configs/eval_generate.py'
    )


def full_marks(
  run: Run, ks: Sequence[int], settings: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], Counter, Counter]:
  """Returns (dialogs, texts with marks per k, texts with full marks per k) in the order of the run; () takes all."""
  graders = graded.find_graders(run, answers=(2,))
  if not graders:
    raise InputError(f'{run.path} has no votes yet: run evals.grade first')
  grader = graders[0]
  if len(graders) > 1:
    print(f'full marks by {grader.model}, the first of {len(graders)} graders')
  dialogs: list[dict[str, Any]] = []
  num_graded, num_full = Counter[int](), Counter[int]()
  for text, grade in zip(waves.texts(run), graded.build(run, grader)):
    k = text.combination.k
    if grade.marks is None or (ks and k not in ks) or (settings and text.combination.setting not in settings):
      continue
    num_graded[k] += 1
    if grade.marks.full_marks and text.answer1.strip():  # one cannot be trained to say nothing
      num_full[k] += 1
      dialogs.append(to_dialog(run, text, grade))
  return dialogs, num_graded, num_full


def choose(dialogs: list[dict[str, Any]], largest: int | None, seed: int) -> list[dict[str, Any]]:
  """Draws at most so many, without replacement; their order stays.

  A part of D(1,2,3) has fewer dialogs of k = 2 and 3 than D(2) (D.2): "skill-richer" must not mean more of them. Where
  a plain draw has too many, some are left out at random and dialogs of k = 1 taken for them.

  Raises:
    InputError: there are not enough dialogs of k = 1 for that.
  """
  if largest is None or len(dialogs) <= largest:
    return dialogs
  chance, ks = random.Random(seed), [dialog['meta']['k'] for dialog in dialogs]
  kept = chance.sample(range(len(dialogs)), largest)
  composed, most = [index for index in kept if ks[index] > 1], ks.count(2) - 1
  if set(ks) == PART_OF_D123 and len(composed) > most:
    single = [index for index, k in enumerate(ks) if k == 1]
    if largest - most > len(single):
      raise InputError(
        f'--max={largest}: a part of D(1,2,3) has fewer dialogs of k = 2 and 3 than D(2) (D.2 of the paper), here up '
        f'to {most}, and there are only {len(single)} of k = 1: give --max={len(single) + most} or less, or a run '
        'with more texts; --ks=1 and --ks=2,3 write them apart, without this rule'
      )
    kept = composed[:most] + chance.sample(single, largest - most)
  return [dialogs[index] for index in sorted(kept)]


def _define_flags():
  flags.DEFINE_string('run', None, 'folder of a graded run')
  flags.DEFINE_string('out', None, 'JSONL file to write')
  flags.DEFINE_list('settings', [], 'only dialogs of these settings; default: all, if none of them is held out')
  flags.DEFINE_list('ks', [], 'only dialogs of these numbers of skills; default: all')
  flags.DEFINE_integer('max', None, 'at most so many, drawn at random', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'seed of the draw for --max')


def main():
  for name in ('run', 'out'):
    if not FLAGS[name].value:
      raise InputError(f'--{name} is missing, see --help')
  ks = parse_ks(FLAGS.ks)
  run, out = open_run(Path(FLAGS.run)), output_file('out', FLAGS.out, 'dialogs.jsonl')
  check_settings(run, FLAGS.settings)
  dialogs, num_graded, num_full = full_marks(run, ks, FLAGS.settings)
  if not dialogs:
    where = ' at these settings and ks' if FLAGS.settings or FLAGS.ks else ''
    raise InputError(f'{run.path} has no text with full marks{where}: nothing to write')
  chosen = choose(dialogs, FLAGS.max, FLAGS.seed)
  write_jsonl(out, chosen)
  written = Counter(dialog['meta']['k'] for dialog in chosen)
  paper = paper_yields()
  print(' k   texts   full marks    the paper   written')
  for k in sorted(num_graded):
    beside = f'{paper[k]:.2f}' if k in paper else '-'
    print(f'{k:2}  {num_graded[k]:6}  {num_full[k]:6} ({num_full[k] / num_graded[k]:.2f})  {beside:>8}  {written[k]:8}')
  if len(chosen) < len(dialogs) and set(num_full) == PART_OF_D123:
    print(f'k = 2 and 3 together: {written[2] + written[3]}, fewer than the {num_full[2]} of D(2), as in D.2')
  print(f'{out}: {len(chosen)} dialogs')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
