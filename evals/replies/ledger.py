"""The ledger of a run: every reply that was paid for, on disk before anything looks into it.

`RUN/replies/<stage>-<host>-<8 hex>.jsonl`, one line for each reply; nothing else of a run costs money. A process only
ever appends to a file of its own. Rows have a key, so files of several machines may be copied together or joined with
`cat` in any order: of two rows with one key, that with the smaller (time, id) counts.
"""

import contextlib
import dataclasses
import gc
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.replies.appended_file import AppendedFile
from evals.replies.rows import NO_ROW, Reply, Request, Row, Slot, billed, key, parse, rows_in, why_not
from evals.replies.stored_line import StoredFile, StoredLine
from skillmix_jax.errors import InputError

__all__ = ['Ledger', 'Reply', 'Request', 'Row', 'Slot', 'Writer', 'billed', 'key']

FOLDER = 'replies'
UNREAD = 'unread'  # folder within: what came with status 200 and is no reply that we know how to read
READ_AT_ONCE = 2**16  # bytes


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
    if there is None or row.order < there.order:
      self._rows[row.key] = row

  def _read(self, path: Path):
    shared: dict[Any, Any] = {}  # equal values of many rows are held once
    start = 0
    with path.open('rb', buffering=READ_AT_ONCE) as file:
      place = StoredFile(str(path))
      for number, line in enumerate(file, 1):
        stored = StoredLine(place, start, len(line))
        start += len(line)
        try:
          self._add(parse(line, shared, stored))
        except NO_ROW as error:
          if not line.strip():
            continue
          rows = rows_in(line, shared)
          torn = not line.endswith(b'\n')  # by a kill, as the last line of a file: its reply is asked for again
          if not rows and not torn:
            raise InputError(
              f'{path}:{number}: not a row of a ledger ({why_not(error)}); restore the line, or delete it and its '
              'reply is asked for and paid for again'
            ) from None
          for row in rows:
            self._add(row)


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
    self._on_row(Row(key, request.slot, model, dict(params), reply.text.encode(), rest))
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
