"""Answers prompts with a checkpoint, in batches on all devices.

    python -m skillmix_jax.sample --checkpoint=runs/mine --prompts=prompts.jsonl --answers=answers.jsonl
    python -m skillmix_jax.sample --checkpoint=runs/mine@2000 --prompts=P.jsonl --answers=A.jsonl --temperature=0

A prompt is a line {"id", "messages": [..., {"role": "user", "content": TEXT}]}, an answer a line {"id", "answer",
"num_tokens", "finish_reason"}: "stop", or "length" where --max_new_tokens cut it. Answers are appended as they end.
The same command again samples only what the file does not answer yet, and ends with the same answers: an answer depends
on the checkpoint, its prompt, the flags, its id and the batch size, which is kept beside the file, in
ANSWERS.settings.json; a command that differs in one of them is refused. --temperature=0 takes the likeliest token.
SIGTERM and Ctrl-C keep what is answered and exit with 85 and 130: run the same command again.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from skillmix_jax import command
from skillmix_jax.models.config import DTYPES

if __name__ == '__main__':  # the libraries below take seconds to load: --help and a wrong flag do not wait for them
  flags.DEFINE_string('checkpoint', None, 'W, W@step or a Hugging Face folder')
  flags.DEFINE_string('prompts', None, 'JSONL file of dialogs that end with a user message')
  flags.DEFINE_string('answers', None, 'JSONL file to append the answers to')
  flags.DEFINE_float('temperature', 0.7, '0 takes the likeliest token')
  flags.DEFINE_float('top_p', 1.0, 'draw from the likeliest tokens that have this probability together')
  flags.DEFINE_integer('max_new_tokens', 512, 'longest answer, in tokens')
  flags.DEFINE_integer('seed', 0, 'seed of the draws')
  flags.DEFINE_string('template', None, "chat template, instead of the checkpoint's; auto: the tokenizer's own")
  flags.DEFINE_enum('dtype', 'bfloat16', DTYPES, 'type to compute in')
  flags.DEFINE_integer('batch_size', None, 'prompts at a time; default: as the memory allows, kept on a restart')
  command.read_flags()

from skillmix_jax.answering import Model
from skillmix_jax.answers import Answers
from skillmix_jax.decode import check_numbers
from skillmix_jax.errors import InputError
from skillmix_jax.lock import hold_together
from skillmix_jax.mesh import explain_lost_process
from skillmix_jax.progress import Bar
from skillmix_jax.prompts import read_dialogs

FLAGS = flags.FLAGS


def sample(
  model: Model, prompts: Path, answers: Path, *, temperature: float, top_p: float, max_new_tokens: int, seed: int
):
  """Answers the prompts of a file into another; raises InputError before anything is compiled."""
  numbers = dict[str, Any](temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed)
  check_numbers(temperature, top_p, max_new_tokens)
  dialogs = read_dialogs(prompts)
  encoded = model.encode(dialogs, max_new_tokens)
  with hold_together(answers, answers.with_name(f'.{answers.name}.lock')):
    done = Answers(answers)
    done.check({**model.settings, **numbers, 'batch_size': model.batch_size}, encoded)
    todo = [dialog for dialog in dialogs if dialog['id'] not in done.ids]
    if len(todo) < len(dialogs) and model.is_main_process:
      print(f'{len(dialogs) - len(todo)} of {len(dialogs)} are answered in {answers}', file=sys.stderr, flush=True)
    if not todo:
      return
    longest = max(len(ids) for _, ids in encoded)
    numbers['batch_size'] = model.choose_batch_size(longest, len(encoded), max_new_tokens, done.batch_size)
    model.load()  # before anything is written: weights may be damaged
    if model.is_main_process:  # the others answer along and write nothing
      done.bind({**model.settings, 'mesh': model.mesh, **numbers}, encoded)
    _append(model, todo, done, numbers)


def _append(model: Model, dialogs: Sequence[dict], done: Answers, numbers: dict[str, Any]):
  bar = Bar(len(dialogs)) if model.is_main_process else None
  with explain_lost_process(), done.open() if model.is_main_process else open(os.devnull, 'wb') as file:
    try:
      for row in model.sample_dialogs(dialogs, **numbers):
        file.write((json.dumps(row, ensure_ascii=False) + '\n').encode())
        file.flush()
        if bar is not None:
          bar.advance(row['num_tokens'])
    finally:
      if bar is not None:
        bar.close()


def main():
  for name in ('checkpoint', 'prompts', 'answers'):
    if not FLAGS[name].value:
      raise InputError(f'--{name} is missing, see --help')
  model = Model(FLAGS.checkpoint, dtype=FLAGS.dtype, template=FLAGS.template, batch_size=FLAGS.batch_size)
  command.stop_on_sigterm()  # after the model has joined its processes: JAX takes the signal for itself there
  sample(
    model, Path(FLAGS.prompts), Path(FLAGS.answers), temperature=FLAGS.temperature, top_p=FLAGS.top_p,
    max_new_tokens=FLAGS.max_new_tokens, seed=FLAGS.seed,
  )  # fmt: skip


if __name__ == '__main__':
  command.run(main)
