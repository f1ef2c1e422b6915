"""Asks an endpoint for one wave of replies, and says how far it is."""

import sys

from evals.replies.endpoints import Endpoint, collect
from evals.replies.ledger import Request
from evals.replies.progress import Wave
from evals.replies.run import Run


def ask(run: Run, stage: str, name: str, requests: list[Request], endpoint: Endpoint) -> int:
  """One wave with its progress; returns the number of requests that got no reply."""
  with Wave(name, len(requests), endpoint.prices) as wave:
    failed = collect(
      run.ledger, stage, requests, endpoint, lambda request, reply: wave.advance(reply.usage) if reply else None
    )
  for request, reason in failed[:3]:
    print(f'{request.slot}: {reason}', file=sys.stderr)
  if failed:
    print(f'{len(failed)} requests got no reply: run the same command again', file=sys.stderr)
  return len(failed)
