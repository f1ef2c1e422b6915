"""A limit in dollars that is not crossed: what is in flight counts with what it may cost at most."""

import asyncio

from evals.replies.ledger import billed
from evals.replies.progress import Prices, dollars, money
from skillmix_jax.errors import InputError

USUAL_REPLY = 400  # tokens, before the first reply has told
HIGHEST = 1.5  # times the longest reply so far: what the next one may take
CHARACTERS_A_TOKEN = 3.0  # of a prompt, before the first reply has told


class Halt(Exception):
  """No more is asked, by a rule of the user's; what came is stored. The message says why, and what to do."""


class Budget:
  """Counts what a model's replies cost; the first request goes alone, for nobody knows how long it thinks."""

  def __init__(self, limit: float, prices: Prices | None, longest: int | None = None):
    """`longest`: tokens of a reply that the request itself allows; None: not said.

    Raises:
      InputError: the price is not known.
    """
    if prices is None:
      raise InputError(
        f'--max_dollars={limit:g} needs a price, and that of this model (at this tier) is not known: add a line to '
        'MODELS in evals/graders.py'
      )
    self._limit, self._prices, self._longest = limit, prices, longest
    self.spent = 0.0
    self._held: dict[asyncio.Task | None, float] = {}
    self._most_out = 0
    self._tokens_a_character = 0.0
    self._settled = asyncio.Event()

  async def hold(self, task: asyncio.Task | None, num_characters: int):
    """Waits until a request fits, whatever it costs; raises Halt where none of those in flight can change that."""
    self._held.pop(task, None)  # an attempt before this one, that cost nothing
    while True:
      cost = self._cost(num_characters)
      fits = self.spent + sum(self._held.values()) + cost <= self._limit
      if fits and (self._most_out or not self._held):
        self._held[task] = cost
        return
      if not self._held:
        raise Halt(
          f'--max_dollars={self._limit:g}: {money(self.spent)} are spent on this model in this run, and the next '
          f'request may cost {money(cost)}; a higher limit goes on where this one stopped'
        )
      self._settled.clear()
      await self._settled.wait()

  def settle(self, task: asyncio.Task | None, usage: dict | None, num_characters: int = 0):
    """A request ended: with these tokens, or (None) with nothing to pay."""
    self._held.pop(task, None)
    if usage is not None:
      usage = billed(usage)
      self.spent += dollars(self._prices, usage['prompt_tokens'], usage['completion_tokens']) or 0.0
      self._most_out = max(self._most_out, usage['completion_tokens'], 1)
      self._tokens_a_character = max(self._tokens_a_character, usage['prompt_tokens'] / max(1, num_characters))
    self._settled.set()

  def lose(self, task: asyncio.Task | None):
    """Nobody knows whether it is paid for: a server may answer what was not waited for."""
    self.spent += self._held.pop(task, 0.0)
    self._settled.set()

  def check(self, estimate: float):
    """Raises Halt where so much more would cross the limit."""
    if self.spent + estimate > self._limit:
      raise Halt(
        f'--max_dollars={self._limit:g}: {money(self.spent)} are spent on this model in this run, and what is missing '
        f'costs about {money(estimate)}'
      )

  def _cost(self, num_characters: int) -> float:
    prompt = num_characters * (self._tokens_a_character * 1.1 or 1 / CHARACTERS_A_TOKEN)
    longest = self._longest or HIGHEST * self._most_out or USUAL_REPLY
    return dollars(self._prices, round(prompt), round(longest)) or 0.0
