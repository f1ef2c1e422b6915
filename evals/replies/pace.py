"""How fast a server is asked: one pause for all, requests and tokens a minute, fewer at a time where it is slow."""

import asyncio
import email.utils
import time
from collections.abc import Mapping

MOST_SPACING = 10.0  # seconds between two requests that only ask whether a limit is over
FIRST_PAUSE = 0.5  # seconds after a 429 that names no time
LONGEST_PAUSE = 600.0  # seconds; who asks to wait longer gets no request any more
CATCH_UP = 0.9  # what each accepted request leaves of the spacing
CHARACTERS_A_TOKEN = 4.0
USUAL_REPLY = 400  # tokens, before the first reply has told


class Pace:
  """Lets workers through one after the other; to be used inside of a running event loop.

  After a 429 nobody is let through until the time that the server names; then they come one at a time, at first so far
  apart that they find out how long the limit lasts, and closer with every request that is accepted. Where replies
  come too late, fewer are let through together.
  """

  def __init__(self, concurrency: int, rpm: float | None = None, tpm: float | None = None):
    """Requests and tokens a minute; None: no limit of our own."""
    self._rpm, self._tpm = rpm, tpm
    self._gate, self._freed = asyncio.Lock(), asyncio.Event()
    self._limit = self._most = float(concurrency)
    self._next = self._resume = self._spacing = 0.0
    self._refused_at = self._slowed_at = -1.0
    self._late = 0.0
    self._num_replies = self._num_tokens = 0
    self.in_flight = 0

  async def enter(self, num_characters: int) -> float:
    """Waits for one's turn; returns the time, which `refused` and `late` want back. Ends with `leave`."""
    async with self._gate:
      while self.in_flight >= max(1, int(self._limit)):
        self._freed.clear()
        await self._freed.wait()
      while (wait := max(self._next, self._resume) - _now()) > 0:
        await asyncio.sleep(wait)
      self._next = _now() + max(self._spacing, self._our_spacing(num_characters))
      self.in_flight += 1
      return _now()

  def leave(self):
    """A request is answered, or given up."""
    self.in_flight -= 1
    self._freed.set()

  def accepted(self):
    """The server took a request."""
    self._spacing = self._spacing * CATCH_UP if self._spacing > 0.01 else 0.0
    self._late *= 0.9
    self._limit = min(self._most, self._limit + 1 / self._limit)

  def replied(self, num_tokens: int):
    """A reply came; tokens in and out."""
    self._num_replies += 1
    self._num_tokens += num_tokens

  def refused(self, entered: float, seconds: float | None):
    """A 429, with what the server asks to wait; those that were on their way with it tell nothing new."""
    if entered > self._refused_at:
      self._spacing = min(MOST_SPACING, max(2 * self._spacing, seconds or FIRST_PAUSE))
      self._refused_at = _now()
    self._resume = max(self._resume, _now() + (self._spacing if seconds is None else seconds))

  def late(self, entered: float):
    """No reply in time; several of them together mean that the server has too much to do."""
    if entered <= self._slowed_at:
      return
    self._late += 1
    if self._late >= max(2.0, self._limit / 4):
      self._limit, self._late, self._slowed_at = max(1.0, self._limit // 2), 0.0, _now()

  def _our_spacing(self, num_characters: int) -> float:
    seconds = 60 / self._rpm if self._rpm else 0.0
    if self._tpm:
      mean = self._num_tokens / self._num_replies if self._num_replies else 0.0
      seconds = max(seconds, 60 / self._tpm * (mean or num_characters / CHARACTERS_A_TOKEN + USUAL_REPLY))
    return seconds


def wait_asked(headers: Mapping[str, str]) -> float | None:
  """Returns the seconds that a server asks to wait, by Retry-After-Ms or Retry-After (seconds or a date), or None."""
  for name, unit in (('retry-after-ms', 1e-3), ('retry-after', 1.0)):
    try:
      seconds = float(headers.get(name, '')) * unit
    except ValueError:
      continue
    if seconds >= 0:
      return seconds
  date = email.utils.parsedate_to_datetime(text) if _is_date(text := headers.get('retry-after', '')) else None
  return max(0.0, date.timestamp() - time.time()) if date else None


def _is_date(text: str) -> bool:
  return email.utils.parsedate(text) is not None


def _now() -> float:
  return time.monotonic()
