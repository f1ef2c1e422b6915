"""The ledger of a run: every reply that was paid for, on disk before anything looks into it.

`RUN/replies/<stage>-<host>-<8 hex>.jsonl`, one line for each reply; nothing else of a run costs money. A process only
ever appends to a file of its own. Rows have a key, so files of several machines may be copied together or joined with
`cat` in any order: of two rows with one key, that with the smaller (time, id) counts.
"""

import contextlib
import dataclasses
import gc
import hashlib
import json
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jiter

from evals.replies.appended_file import AppendedFile
from skillmix_jax.errors import InputError

FOLDER = 'replies'
UNREAD = 'unread'  # folder within: what came with status 200 and is no reply that we know how to read
STEPS = ('answer1', 'answer2', 'vote', 'decoy', 'first_vote')  # 'vote' and 'decoy' are about answer 2
ROW_START = b'{"key":"'  # no line has it inside: quotes in a text are escaped
_NO_ROW = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


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
  """A reply and what it answers; the prompt stays on the disk.

  Attributes:
    key, slot: see `key` and `Slot`.
    model: that was asked for.
    params: that it was asked with.
  """

  __slots__ = ('_rest', '_text', 'key', 'model', 'params', 'slot')

  def __init__(self, key: str, slot: Slot, model: str, params: dict[str, Any], text: str, rest: tuple):
    """`rest` has the other fields of Reply, in their order, but for `raw`."""
    self.key, self.slot, self.model, self.params = key, slot, model, params
    self._text = text.encode()  # one curly quote doubles the size of a str
    self._rest = rest

  @property
  def reply(self) -> Reply:
    """What came back."""
    return Reply(self._text.decode(), *self._rest)


def key(slot: Slot, model: str, params: Mapping[str, Any], messages: Sequence[Mapping[str, str]]) -> str:
  """Names a reply: 20 hex digits over the slot and everything that the endpoint is sent."""
  asked = [[slot.combination, slot.generation, slot.step, slot.vote, slot.attempt], model, dict(params), list(messages)]
  canonical = json.dumps(asked, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
  return hashlib.sha256(canonical.encode('utf-8', 'surrogatepass')).hexdigest()[:20]


class Ledger:
  """All replies of a run, by key."""

  def __init__(self, folder: Path):
    """Reads `folder`/*.jsonl; a missing folder counts as empty.

    Raises:
      InputError: a line is not a row; the message starts with FILE:LINE.
    """
    self._folder = folder
    self._rows: dict[str, Row] = {}
    was_enabled = gc.isenabled()
    gc.disable()  # a ledger makes no garbage, and the search for it takes a quarter of the time of reading
    try:
      for path in sorted(folder.glob('*.jsonl')):
        self._read(path)
    finally:
      if was_enabled:
        gc.enable()

  def __len__(self) -> int:
    return len(self._rows)

  def get(self, key: str) -> Row | None:
    """Returns the row of a key; None where the ledger has no reply to it."""
    return self._rows.get(key)

  def rows(self) -> Iterator[Row]:
    """Returns all rows, in an order that does not depend on the files."""
    for name in sorted(self._rows):
      yield self._rows[name]

  @contextlib.contextmanager
  def open_writer(self, stage: str, on_disk: bool = True, num_coming: int = 0) -> Iterator['Writer']:
    """Opens a new file to append to; on the way out everything is on the disk.

    `on_disk=False` only remembers rows: of several processes that sample together one writes. On a disk that gets full
    there is still room for `num_coming` replies; where there is none to begin with, this raises InputError.
    """
    writer = Writer(self._folder, stage, self._add, on_disk, num_coming)
    try:
      yield writer
    finally:
      writer.close()

  def _add(self, row: Row):
    there = self._rows.get(row.key)
    if there is None or (row.reply.time, row.reply.id) < (there.reply.time, there.reply.id):
      self._rows[row.key] = row

  def _read(self, path: Path):
    shared: dict[Any, Any] = {}  # equal values of many rows are held once
    with path.open('rb') as file:
      for number, line in enumerate(file, 1):
        try:
          self._add(_parse(line, shared))
        except _NO_ROW as error:
          if not line.strip():
            continue
          rows = _rows_in(line, shared)
          torn = not line.endswith(b'\n')  # by a kill, as the last line of a file: its reply is asked for again
          if not rows and not torn:
            raise InputError(
              f'{path}:{number}: not a row of a ledger ({_reason(error)}); restore the line, or delete it and its '
              'reply is asked for and paid for again'
            ) from None
          for row in rows:
            self._add(row)


def _rows_in(line: bytes, shared: dict) -> list[Row]:
  """Yields the whole rows of a line that starts with a torn one: `cat` glues it to the first row of the next file."""
  rows, starts = [], line.split(ROW_START)
  for piece in starts[1:]:
    with contextlib.suppress(*_NO_ROW):
      rows.append(_parse(ROW_START + piece, shared))
  is_torn = len(starts) > 2 if not starts[0] else ROW_START.startswith(starts[0])
  return rows if is_torn else []


def _reason(error: Exception) -> str:
  if isinstance(error, KeyError):
    return f'it lacks {error}'
  return 'not JSON' if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)


def _parse(line: bytes, shared: dict) -> Row:
  """Raises one of _NO_ROW for a line that is not a row. Written for speed: a run may have 125,000 of them."""
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
  return Row(raw['key'], place, intern(raw['model']), params, raw['reply'], rest)


def _load(line: bytes) -> Any:
  try:
    return jiter.from_json(line, cache_mode='keys')
  except ValueError:  # half a surrogate pair, of which the standard library makes a text; or else it says what is wrong
    return json.loads(line.decode())


def billed(usage: Mapping[str, Any]) -> dict[str, int]:
  """Tokens in and out; what a vendor bills besides the answer (thoughts) is in the total alone at some of them."""
  prompt, completion = int(usage['prompt_tokens']), int(usage['completion_tokens'])
  thoughts = int(usage.get('total_tokens', 0)) - prompt - completion
  return {'prompt_tokens': prompt, 'completion_tokens': completion + max(0, thoughts)}


class Writer:
  """Appends rows to a file of its own, which is made with the first one."""

  def __init__(self, folder: Path, stage: str, on_row, on_disk: bool, num_coming: int):
    host = ''.join(c if c.isalnum() else '-' for c in socket.gethostname())[:40]
    path = folder / f'{stage}-{host}-{secrets.token_hex(4)}.jsonl'
    self._file = AppendedFile(path, num_coming) if on_disk else None
    self._unread = AppendedFile(folder / UNREAD / path.name, 0) if on_disk else None
    self._on_row = on_row

  def append(self, request: Request, key: str, model: str, params: Mapping[str, Any], reply: Reply):
    """Writes the row in one write before it returns.

    Raises:
      InputError: the disk is full or fails. The row may be in the file all the same: then there was room kept for it.
    """
    row = {
      'key': key,
      'slot': dataclasses.asdict(request.slot),
      'model': model,
      'model_returned': reply.model,
      'params': dict(params),
      'prompt': request.messages[-1]['content'],
      'reply': reply.text,
      'finish_reason': reply.finish_reason,
      'usage': reply.usage,
      'id': reply.id,
      'time': reply.time,
      'seconds': round(reply.seconds, 3),
    }
    row |= {name: value for name in ('tier', 'url', 'raw') if (value := getattr(reply, name))}
    full = self._file.append(_line(row)) if self._file is not None else None
    usage = billed(reply.usage)
    rest = (reply.finish_reason, reply.model, usage, reply.id, reply.seconds, reply.time, reply.tier, reply.url)
    self._on_row(Row(key, request.slot, model, dict(params), reply.text, rest))
    if full is not None:
      raise full

  def append_unread(self, request: Request, key: str, body: str):
    """Keeps a response that is no reply, in a file that no ledger reads; raises InputError as `append` does."""
    if self._unread is not None:
      self._unread.append(_line({'key': key, 'slot': dataclasses.asdict(request.slot), 'body': body}))

  def close(self):
    """Ends with everything on the disk; raises InputError where that fails."""
    for file in (self._file, self._unread):
      if file is not None:
        file.close()


def _line(row: dict[str, Any]) -> bytes:
  """One line of JSON; half a surrogate pair in a prompt must not be able to stop a reply."""
  return (json.dumps(row, ensure_ascii=False, separators=(',', ':')) + '\n').encode('utf-8', 'replace')
