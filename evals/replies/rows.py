"""A reply and what it answers, and how a line of a ledger becomes both."""

import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jiter

from evals.replies.stored_line import StoredLine

STEPS = ('answer1', 'answer2', 'vote', 'decoy', 'first_vote')  # 'vote' and 'decoy' are about answer 2
ROW_START = b'{"key":"'  # no line has it inside: quotes in a text are escaped
NO_ROW = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
  """What a reply is for. Two slots never share a reply, so votes are votes.

  Attributes:
    combination: its id.
    generation: from 1.
    step: one of STEPS.
    vote: from 1 where the step is a vote or a first_vote, else 0.
    attempt: of a reply that could not be read, from 0.
  """

  combination: str
  generation: int
  step: str
  vote: int = 0
  attempt: int = 0

  def __str__(self) -> str:
    """Returns a text that no other slot has: 'held_out-k3-0007/g2/vote1/attempt1'."""
    attempt = f'/attempt{self.attempt}' if self.attempt else ''
    return f'{self.combination}/g{self.generation}/{self.step}{self.vote or ""}{attempt}'


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
  """A dialog that waits for its next answer; `context` is for a grader that is a function and not part of the key."""

  slot: Slot
  messages: tuple[dict[str, str], ...]
  context: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
  """What came back.

  Attributes:
    text: empty where the endpoint returned none (a content filter); finish_reason says why.
    finish_reason: as the endpoint calls it; 'length' where the text was cut.
    model: as the endpoint names itself.
    usage: 'prompt_tokens', 'completion_tokens', and what else the endpoint counted.
    id: of the endpoint.
    seconds: from asking to the reply.
    time: when it came, UTC, '2026-11-21T00:18:34.123456Z'.
    tier: 'batch' or a service tier whose price is not the usual one; '': the usual one.
    url: of the server; '': not known.
    raw: the response where the fields above do not tell all of it; only on disk.
  """

  text: str
  finish_reason: str
  model: str
  usage: dict[str, int]
  id: str
  seconds: float
  time: str
  tier: str = ''
  url: str = ''
  raw: str = ''


class Row:
  """A reply and what it answers. The prompt stays on the disk, and so does the text of a reply that is read from there.

  Attributes:
    key, slot: see `key` and `Slot`.
    model: that was asked for.
    params: that it was asked with.
  """

  __slots__ = ('_rest', '_text', 'key', 'model', 'params', 'slot')

  def __init__(
    self, key: str, slot: Slot, model: str, params: dict[str, Any], text: bytes | StoredLine, rest: tuple
  ):  # fmt: skip
    """`text` is UTF-8, or the line that has it; `rest` has the other fields of Reply, in their order, but for `raw`."""
    self.key, self.slot, self.model, self.params = key, slot, model, params
    self._text, self._rest = text, rest

  @property
  def envelope(self) -> Reply:
    """What came back, with an empty text: needs no look at the disk."""
    return Reply('', *self._rest)

  @property
  def reply(self) -> Reply:
    """What came back; raises InputError where its file was changed after it was read."""
    return Reply(self._read_text(), *self._rest)

  @property
  def order(self) -> tuple[str, str]:
    """(time, id): of two rows with one key that with the smaller one counts."""
    return self._rest[5], self._rest[3]

  def _read_text(self) -> str:
    if isinstance(self._text, bytes):
      return self._text.decode()
    with contextlib.suppress(*NO_ROW):
      raw = _load(self._text.read())
      if (raw['key'], raw['time'], raw['id']) == (self.key, *self.order) and type(raw['reply']) is str:
        return raw['reply']
    raise self._text.changed()


def key(slot: Slot, model: str, params: Mapping[str, Any], messages: Sequence[Mapping[str, str]]) -> str:
  """Names a reply: 20 hex digits over the slot and everything that the endpoint is sent."""
  asked = [[slot.combination, slot.generation, slot.step, slot.vote, slot.attempt], model, dict(params), list(messages)]
  canonical = json.dumps(asked, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
  return hashlib.sha256(canonical.encode('utf-8', 'surrogatepass')).hexdigest()[:20]


def billed(usage: Mapping[str, Any]) -> dict[str, int]:
  """Tokens in and out; what a vendor bills besides the answer (thoughts) is in the total alone at some of them."""
  prompt, completion = int(usage['prompt_tokens']), int(usage['completion_tokens'])
  thoughts = int(usage.get('total_tokens', 0)) - prompt - completion
  return {'prompt_tokens': prompt, 'completion_tokens': completion + max(0, thoughts)}


def parse(line: bytes, shared: dict[Any, Any], stored: StoredLine | None = None) -> Row:
  """Reads a line; written for speed, since a run may have 125,000 of them.

  Args:
    shared: values that rows have in common are held once, in here.
    stored: where the text can be read again; None: the row holds it.

  Raises:
    One of NO_ROW: it is not a row.
  """
  raw = _load(line)
  slot, params, intern = raw['slot'], raw['params'], sys.intern
  step, generation, vote, attempt = slot['step'], slot['generation'], slot['vote'], slot['attempt']
  if step not in STEPS or not type(generation) is type(vote) is type(attempt) is int:
    raise ValueError(f'slot {slot} is not one of ours')
  usage = billed(raw['usage'])
  usage = shared.setdefault((usage['prompt_tokens'], usage['completion_tokens']), usage)
  rest = (
    intern(raw['finish_reason']), intern(raw['model_returned']), usage, raw['id'], float(raw['seconds']), raw['time'],
    intern(raw.get('tier', '')), intern(raw.get('url', '')),
  )  # fmt: skip
  for name in ('key', 'reply', 'id', 'time'):
    if type(raw[name]) is not str:
      raise TypeError(f'{name!r} must be a text')
  if not isinstance(params, dict):
    raise TypeError("'params' must be an object")
  params = shared.setdefault(json.dumps(params) if params else '', params)
  place = Slot(intern(slot['combination']), generation, intern(step), vote, attempt)
  text, model = raw['reply'], intern(raw['model'])
  if stored is None or not text.isascii():
    encoded = text.encode()  # raises where there is half a surrogate pair in it
  return Row(raw['key'], place, model, params, encoded if stored is None else stored, rest)


def rows_in(line: bytes, shared: dict[Any, Any]) -> list[Row]:
  """Returns the whole rows of a line that starts with a torn one: `cat` glues it to the first row of the next file."""
  rows, starts = [], line.split(ROW_START)
  for piece in starts[1:]:
    with contextlib.suppress(*NO_ROW):
      rows.append(parse(ROW_START + piece, shared))
  is_torn = len(starts) > 2 if not starts[0] else ROW_START.startswith(starts[0])
  return rows if is_torn else []


def why_not(error: Exception) -> str:
  """Says in words why a line is not a row."""
  if isinstance(error, KeyError):
    return f'it lacks {error}'
  return 'not JSON' if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)


def _load(line: bytes) -> Any:
  try:
    return jiter.from_json(line, cache_mode='keys')
  except ValueError:  # half a surrogate pair, of which the standard library makes a text; or else it says what is wrong
    return json.loads(line.decode())
