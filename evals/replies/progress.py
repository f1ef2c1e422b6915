"""How far a wave is: a bar on a terminal, plain lines in a batch log; both say when nothing comes."""

import sys
import threading
import time
from types import TracebackType

from skillmix_jax.progress import terminal_bar

LOG_EVERY = 10.0  # seconds between lines in a log
ENOUGH = 20  # replies, to tell what all will cost
SILENCE = 60.0  # seconds without a reply, after which it is said, and again after as many

Prices = tuple[float, float]  # dollars for a million tokens, in and out


def dollars(prices: Prices | None, prompt_tokens: int, completion_tokens: int) -> float | None:
  """Returns what these tokens cost; None where the price is not known."""
  if prices is None:
    return None
  return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


def money(amount: float | None) -> str:
  """Writes '$12.34', '$0.0021', or 'price unknown'."""
  if amount is None:
    return 'price unknown'
  return f'${amount:,.2f}' if amount >= 0.1 or amount == 0 else f'${amount:.2g}'


class Wave:
  """Counts replies as they come: done of total, tokens, dollars."""

  def __init__(self, name: str, total: int, prices: Prices | None):
    self._name, self._total, self._prices = name, total, prices
    self._done = self._in = self._out = 0
    self._began = self._logged = self._heard = time.perf_counter()
    self._over = threading.Event()
    self._watch = threading.Thread(target=self._say_silence, daemon=True)

  def __enter__(self) -> 'Wave':
    self._bar = terminal_bar(self._name, self._total)
    if self._bar is None:
      self._print(f'{self._total} requests')
    self._watch.start()
    return self

  def advance(self, usage: dict[str, int]):
    """Counts one reply."""
    self._heard = time.perf_counter()
    self._done += 1
    self._in += usage.get('prompt_tokens', 0)
    self._out += usage.get('completion_tokens', 0)
    if self._bar is not None:
      self._bar.update(self._bar.task_ids[0], completed=self._done, description=self._spent())
    elif time.perf_counter() - self._logged > LOG_EVERY or (self._prices and self._done == ENOUGH < self._total):
      self._logged = time.perf_counter()
      rate = self._done / (self._logged - self._began)
      left = (self._total - self._done) / rate
      self._print(f'{self._done} of {self._total}  {self._spent()}  {rate:.1f}/s, about {left / 60:.0f} min left')

  def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
    self._over.set()
    self._watch.join()
    if self._bar is not None:
      self._bar.stop()
    seconds = time.perf_counter() - self._began
    self._print(f'{self._done} of {self._total} replies  {self._spent()}  in {seconds:.1f} s')

  def _say_silence(self):
    """Runs in a thread: says when no reply comes, since whoever waits wants to know that the other side is slow."""
    said = self._heard
    while not self._over.wait(max(0.0, said + SILENCE - time.perf_counter())):
      said = max(said, self._heard)
      now = time.perf_counter()
      if now - said >= SILENCE:
        said = now
        so_far = f'{self._done} of {self._total}, no further' if self._done else 'no'
        self._print(f'{so_far} reply yet, {now - self._heard:.0f} s')

  def _spent(self) -> str:
    """Tokens and dollars so far; and of the whole wave, for real replies may be much longer than usual ones."""
    spent = dollars(self._prices, self._in, self._out)
    so_far = f'{self._in:,} + {self._out:,} tokens, {money(spent)}'
    if not spent or not ENOUGH <= self._done < self._total:
      return so_far
    return f'{so_far} of about {money(spent / self._done * self._total)}'

  def _print(self, line: str):
    print(f'{self._name}: {line}', file=sys.stderr, flush=True)
