"""What replies have cost."""

from evals import graders
from evals.replies.ledger import Ledger, Row
from evals.replies.progress import dollars


def of_row(row: Row) -> float | None:
  """Returns dollars, at the tier of the answer; our own checkpoints and exact graders cost nothing; None: unknown."""
  reply = row.envelope
  ours = row.model.startswith('checkpoint:') or row.model == 'exact'
  prices = (0.0, 0.0) if ours else graders.price(row.model, reply.tier, reply.url or None)
  return dollars(prices, reply.usage['prompt_tokens'], reply.usage['completion_tokens'])


def of_model(ledger: Ledger, model: str) -> float:
  """Returns the dollars of all replies that were asked of a model, as far as their prices are known."""
  return sum(of_row(row) or 0.0 for row in ledger.rows() if row.model == model)
