"""Lets a grader vote on every finished text of a run.

    python -m evals.grade --run=runs/d123 --grader=openai:MODEL
    python -m evals.grade --run=runs/d123 --grader=openai:MODEL --decoys=0.1
    python -m evals.grade --run=runs/toy --grader=exact
    python -m evals.grade --run=runs/d123 --grader=openai:MODEL --answer=1
    python -m evals.grade --run=runs/d123 --grader=openai:MODEL --dry_run

Votes are separate requests: config.votes of them for each text. A reply that the parser cannot read is asked for up to
three times, then the vote is missing, and listed; --attempts=6 asks for it again. --decoys=0.1 grades a tenth of the
texts once more with one skill swapped for one that was never asked for: how often the decoy earns its point is a
false-positive rate that needs no labels. --answer=1 grades the students' first answers instead of the improved ones:
`report` then shows what improving gained and lost. Every reply is on disk before it is parsed; the same command again
asks only for what is missing. --batch=FOLDER writes batch files instead of asking, for half the price, and takes up
their results. --grader has no default: without it the choices are listed with what they would cost. Another grader may
mark the same run: its votes are kept apart, and `report` compares both. The run's own marks are those of the first.
"""

import dataclasses
import json
import sys
from pathlib import Path

from absl import flags

from evals import graders, students
from evals.replies import waves
from evals.replies.asking import ask
from evals.replies.budget import Halt
from evals.replies.canary import Canary
from evals.replies.endpoints import Endpoint
from evals.replies.estimate import Estimate, estimate_grading
from evals.replies.ledger import Slot
from evals.replies.progress import money
from evals.replies.run import ATTEMPTS, Run, open_run
from evals.replies.waves import Grader
from evals.results import graded
from evals.results.graded import GRADES
from skillmix_jax import command
from skillmix_jax.errors import SOME_FAILED, InputError
from skillmix_jax.lock import hold

FLAGS = flags.FLAGS
TEXTS = {1: 'first answer', 2: 'finished text'}
LISTED = 5  # missing votes that are named one by one


def check_grader(run: Run, grader: Grader, answer: int = 2):
  """Says which graders the run has besides.

  Raises:
    InputError: it holds votes of the same one that was asked otherwise; or first answers would be graded by one that
      has not graded the improved ones, though others have.
  """
  before = graded.find_graders(run)
  for other in before:
    if other.model == grader.model and other != grader:
      said, now, copy = json.dumps(other.params), json.dumps(grader.params), f'{run.path}-2'
      raise InputError(
        f'{run.path} holds votes of {other.model} that was asked with {said}, not {now}: give the same '
        f'--grader_params, or grade a copy: cp -r {run.path} {copy} && rm {copy}/replies/votes-*'
      )
  if answer == 1 and before and grader not in before:
    raise InputError(
      f'{run.path} holds votes of {before[0].model}: first answers are compared with improved ones under one grader; '
      f'give --grader={before[0].model}, or grade the improved ones with {grader.model} first'
    )
  if others := [other.model for other in before if other != grader]:
    print(f'{run.path} has votes of {", ".join(others)}; those of {grader.model} are kept apart')


def grade(run: Run, endpoint: Endpoint, decoys: float, answer: int = 2, canary: Canary | None = None) -> int:
  """Asks for all votes that are needed; returns how many requests got no reply, or votes are missing if most are."""
  grader = Grader(endpoint.model, endpoint.params)
  ready = list(waves.texts(run, answer))
  if not ready:
    raise InputError(f'{run.path} has no {TEXTS[answer]} yet: run evals.sample first')
  name = 'votes' if answer == 2 else 'votes on first answers'
  skip: set[Slot] = set()
  failed, again = 0, ''
  while todo := waves.vote_requests(run, grader, ready, decoys, skip):
    failed += ask(run, 'votes', name + again, todo, endpoint, canary)
    skip |= {request.slot for request in todo}  # a slot that failed waits for the next start
    again = ' again'
  settled, missing = report_missing(run, grader, ready, answer)
  return failed or (missing if missing > settled else 0)


def report_missing(run: Run, grader: Grader, ready: list[waves.Text], answer: int) -> tuple[int, int]:
  """Says what is graded, and which votes nobody could read; returns the numbers of both."""
  judged = [(text, waves.votes(run, grader, text)) for text in ready]
  unread = [(text, vote) for text, votes in judged for vote in votes if vote.points is None and not vote.pending]
  settled = sum(vote.points is not None for _, votes in judged for vote in votes)
  total = len(run.combinations) * run.settings.generations
  what = 'texts' if answer == 2 else 'first answers'
  print(f'{run.path}: {settled} votes by {grader.model} on {len(ready)} of {total} {what}, {len(unread)} missing')
  for text, vote in unread[:LISTED]:
    print(f'  {text.combination.id} generation {text.generation}: {vote.reason}', file=sys.stderr)
  if len(unread) > LISTED:
    print(f'  and {len(unread) - LISTED} more: see "reasons" in {GRADES[answer]}', file=sys.stderr)
  if unread:
    print(f'the same command with --attempts={run.attempts + ATTEMPTS} asks for these again', file=sys.stderr)
  return settled, len(unread)


def choices(total: Estimate) -> str:
  """Returns the graders that the config knows, with what this run would cost."""
  known = [f'openai:{model.name} ({money(total.cost((model.input, model.output)))})' for model in graders.MODELS]
  return ', '.join([*known, 'openai:ANY_OTHER, exact (catalogs of evals.minimix, free)'])


def _define_flags():
  flags.DEFINE_string('run', None, 'folder of the run')
  flags.DEFINE_string('grader', None, 'openai:MODEL, or exact')
  flags.DEFINE_float('decoys', 0.0, 'share of the texts that are graded with a decoy as well', 0.0, 1.0)
  flags.DEFINE_enum('answer', '2', ('1', '2'), '1: the first answers; 2: the improved ones, which the paper grades')
  flags.DEFINE_integer('attempts', ATTEMPTS, 'at each vote that nobody can read; then it is missing', lower_bound=1)
  students.define_flags('grader_params')


def main() -> int:
  if not FLAGS.run:
    raise InputError('--run is missing, see --help')
  path, answer = Path(FLAGS.run), int(FLAGS.answer)
  if answer == 1 and FLAGS.decoys:
    raise InputError('--decoys are put into improved answers: give them without --answer=1')
  if not FLAGS.grader:
    total = estimate_grading(open_run(path), None, FLAGS.decoys, answer)
    raise InputError(f'--grader is missing; for this run: {choices(total)}')
  access = students.access('grader_params')
  if FLAGS.dry_run:
    run = dataclasses.replace(open_run(path), attempts=FLAGS.attempts)
    endpoint = students.open_grader(FLAGS.grader, run.catalog, access)
    grader = Grader(endpoint.model, endpoint.params)
    check_grader(run, grader, answer)
    total = estimate_grading(run, grader, FLAGS.decoys, answer)
    print(f'to grade: {total.describe(endpoint.prices, FLAGS.concurrency)}')
    if next(waves.texts(run, answer), None) is None:
      print(f'there is no {TEXTS[answer]} yet, so each counts as a usual one: run evals.sample before evals.grade')
    return 0
  if not (path / 'config.json').is_file():
    open_run(path)  # says what is wrong, and makes no folder
  command.stop_on_sigterm()
  with hold(path):
    run = dataclasses.replace(open_run(path), attempts=FLAGS.attempts)
    endpoint = students.open_grader(FLAGS.grader, run.catalog, access)
    check_grader(run, Grader(endpoint.model, endpoint.params), answer)
    canary = Canary(FLAGS.canary, path / 'replies') if students.is_hosted(endpoint) else None
    try:
      return SOME_FAILED if grade(run, endpoint, FLAGS.decoys, answer, canary) else 0
    except Halt as halt:
      print(halt, file=sys.stderr)
      return SOME_FAILED


if __name__ == '__main__':
  _define_flags()
  command.run(main)
