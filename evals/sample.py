"""Lets a student write: for every combination some texts, each in two rounds.

    python -m evals.sample --config=configs/eval_paper.py --run=runs/d123 --student=checkpoint:runs/llama13b-D123
    python -m evals.sample --config=configs/eval_generate.py --run=runs/gen --student=openai:MODEL --dry_run

A student is a checkpoint of ours (checkpoint:W, W@step or a Hugging Face folder; no network is needed) or a model
on an OpenAI-compatible server (openai:MODEL; OPENAI_API_KEY or the variable of its vendor, and OPENAI_BASE_URL or
--base_url for a server of one's own). Every reply is on disk before anything reads it. The same command again asks
only for what is missing; more combinations, settings, ks or generations extend the run. --batch=FOLDER writes batch
files instead of asking, for half the price. Then grade it, here or on another machine:

    python -m evals.grade --run=runs/d123 --grader=openai:MODEL
"""

import dataclasses
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from evals import students
from evals.questions.paper_tables import parse_row
from evals.questions.settings import Settings, from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.asking import ask
from evals.replies.budget import Halt
from evals.replies.canary import Canary
from evals.replies.endpoints import Endpoint, Local
from evals.replies.estimate import estimate_sampling
from evals.replies.ledger import Request
from evals.replies.run import Run, Student
from evals.students import STUDENTS
from skillmix_jax import command
from skillmix_jax.errors import SOME_FAILED, InputError
from skillmix_jax.lock import hold

FLAGS = flags.FLAGS


def missing(run: Run, requests: list[Request]) -> list[Request]:
  """Returns the requests that the ledger has no reply to."""
  return [r for r in requests if waves.student_reply(run, r) is None]


def sample(run: Run, endpoint: Endpoint, canary: Canary | None = None) -> int:
  """Asks both rounds; returns the number of requests that got no reply."""
  total = len(run.combinations) * run.settings.generations
  firsts, _ = waves.answer_requests(run)
  failed = ask(run, 'answers', 'answer 1', todo, endpoint, canary) if (todo := missing(run, firsts)) else 0
  _, seconds = waves.answer_requests(run)
  failed += ask(run, 'answers', 'answer 2', todo, endpoint, canary) if (todo := missing(run, seconds)) else 0
  done = sum(1 for _ in waves.texts(run))
  if endpoint.writes:
    print(f'{run.path}: {done} of {total} texts by {run.student.name}', flush=True)
  return failed


def warn_of_few(settings: Settings, run: Run):
  """Says where a catalog has fewer combinations than were asked for."""
  if settings.combinations:
    return
  for setting in settings.settings:
    for k, wanted in zip(settings.ks, settings.num_combinations):
      have = sum(c.setting == setting and c.k == k for c in run.combinations)
      if have < wanted:
        print(f'{setting}, k={k}: there are only {have} combinations, not {wanted}; each is used once', file=sys.stderr)


def fix_batch_size(run: Run, endpoint: Local) -> Student:
  """Returns the student with how many texts it writes at a time: as many as the run began with, else what fits."""
  seconds = waves.unanswered_seconds(run)
  longest = max(seconds, key=lambda request: sum(len(message['content']) for message in request.messages))
  batch_size = endpoint.fix_batch_size(longest, len(seconds), run.student.batch_size)
  return dataclasses.replace(run.student, batch_size=batch_size)


def _define_flags():
  config_flags.DEFINE_config_file('config', None, 'the evaluation, for example configs/eval_paper.py')
  flags.DEFINE_string('run', None, 'folder of the run')
  flags.DEFINE_string('student', None, STUDENTS)
  students.define_flags('student_params')
  flags.DEFINE_string('template', None, "template of a checkpoint, instead of its own; auto: the tokenizer's")
  flags.DEFINE_enum('dtype', 'bfloat16', ('float32', 'bfloat16'), 'type that a checkpoint computes in')
  flags.DEFINE_integer('batch_size', None, 'prompts of a checkpoint at a time; default: as fit, kept with the run')


def main() -> int:
  if not FLAGS.run:
    raise InputError('--run is missing: a folder for the texts, for example --run=runs/eval-d123')
  if not FLAGS.student:
    raise InputError(f'--student is missing: {STUDENTS}')
  settings, path = from_config(FLAGS.config.to_dict()), Path(FLAGS.run)
  parse_row(settings.paper_row)
  access = students.access('student_params')
  endpoint = students.open_student(
    FLAGS.student, settings, access, dtype=FLAGS.dtype, template=FLAGS.template, batch_size=FLAGS.batch_size
  )
  is_local = isinstance(endpoint, Local)
  student = Student(FLAGS.student, endpoint.model, endpoint.params, FLAGS.batch_size if is_local else None)
  if FLAGS.dry_run:
    run = runs.preview(path, settings, student)
    warn_of_few(settings, run)
    print(f'to sample: {estimate_sampling(run).describe(endpoint.prices, FLAGS.concurrency)}')
    return 0
  command.stop_on_sigterm()
  if isinstance(endpoint, Local):
    student = fix_batch_size(runs.preview(path, settings, student), endpoint)
  if not endpoint.writes:  # another process of this sampling stores what both answer
    return SOME_FAILED if sample(runs.preview(path, settings, student), endpoint) else 0
  with hold(path):
    run = runs.start(path, settings, student)
    warn_of_few(settings, run)
    canary = Canary(FLAGS.canary, path / 'replies') if students.is_hosted(endpoint) else None
    try:
      return SOME_FAILED if sample(run, endpoint, canary) else 0
    except Halt as halt:
      print(halt, file=sys.stderr)
      return SOME_FAILED


if __name__ == '__main__':
  _define_flags()
  command.run(main, config_flag='config')
