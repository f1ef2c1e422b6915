"""Says what a server makes us ask again, soon after it happens and without flooding the terminal."""

import asyncio
import sys
from collections import Counter

TOGETHER = 1.0  # seconds in which what happens is one line
EVERY = 10.0  # seconds between two lines
MOST_LATE = 3  # attempts that may be too slow, each twice as patient as the one before it


class Patience:
  """How long the next attempt of one request may take, and why there is a next one.

  A server that is slow, or works through a queue, would be asked for the same answer again and again, and compute it
  (and bill it) each time: so what was too slow may take twice as long the next time, and there are few next times.

  Attributes:
    seconds: that the next attempt may take.
    waited: how long the last one that was too slow was waited for.
    reason: why the last attempt failed; '' before it did.
    num_late: attempts that were too slow.
    num_refused: attempts that came too soon after others (429).
  """

  def __init__(self, seconds: float):
    self.seconds, self.waited, self.reason = seconds, 0.0, ''
    self.num_late = self.num_refused = 0

  def lose(self):
    """Notes that an attempt was too slow."""
    self.reason = f'no answer within {self.seconds:g} s (if the server is slow, lower --concurrency)'
    self.waited, self.seconds = self.seconds, 2 * self.seconds
    self.num_late += 1


class Retries:
  """Counts reasons and prints them, several in a line; to be used inside of a running event loop."""

  def __init__(self, where: str):
    """`where` begins each line: the URL of the server."""
    self._where = where
    self._new: Counter[str] = Counter()
    self._timer: asyncio.TimerHandle | None = None
    self._earliest = 0.0

  def add(self, reason: str):
    """Notes that one request is asked again."""
    self._new[reason] += 1
    if self._timer is None:
      loop = asyncio.get_running_loop()
      self._timer = loop.call_at(max(loop.time() + TOGETHER, self._earliest), self.say)

  def say(self):
    """Prints what is not printed yet."""
    if self._timer is None:
      return
    self._timer.cancel()
    self._timer, self._earliest = None, asyncio.get_running_loop().time() + EVERY
    reasons = ', '.join(f'{count} x {reason}' for reason, count in self._new.items())
    self._new.clear()
    print(f'{self._where}: {reasons}: asked again', file=sys.stderr, flush=True)
