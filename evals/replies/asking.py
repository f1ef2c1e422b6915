"""Asks an endpoint for one wave of replies, and says how far it is."""

import sys

from evals.replies import cost
from evals.replies.batch_files import WAITING, BatchFiles
from evals.replies.canary import Canary
from evals.replies.endpoints import Endpoint, collect
from evals.replies.ledger import Reply, Request, billed
from evals.replies.online import Online
from evals.replies.progress import Wave
from evals.replies.run import Run


def ask(
  run: Run, stage: str, name: str, requests: list[Request], endpoint: Endpoint, canary: Canary | None = None
) -> int:
  """One wave with its progress; returns the number of requests that got no reply.

  Raises:
    Halt: the canary or the endpoint's budget ended it; what came is stored.
    InputError, Stopped: see Endpoint.ask.
  """
  is_batch = isinstance(endpoint, BatchFiles)
  if isinstance(endpoint, (BatchFiles, Online)) and endpoint.budget:
    endpoint.budget.spent = max(endpoint.budget.spent, cost.of_model(run.ledger, endpoint.model))
  with Wave(name, len(requests), endpoint.prices) as wave:

    def advance(request: Request, reply: Reply | None):
      if reply is None:
        return
      wave.advance(billed(reply.usage))
      if canary is not None:
        canary.look(request, reply)
        if not is_batch:  # whose results are paid for: all are taken up
          canary.check()

    failed = collect(run.ledger, stage, requests, endpoint, advance)
  if canary is not None:
    canary.check()
  if isinstance(endpoint, BatchFiles):
    endpoint.write([request for request, _ in failed], name.replace(' ', '-'))
  errors = [(request, reason) for request, reason in failed if reason != WAITING]
  for request, reason in errors[:3]:
    print(f'{request.slot}: {reason}', file=sys.stderr)
  if errors:
    print(f'{len(errors)} requests got no reply: run the same command again', file=sys.stderr)
  return len(failed)
