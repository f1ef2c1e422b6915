"""A hosted model asked by files, as vendors' upload pages and vllm run-batch take them: OpenAI-format batch JSONL.

FOLDER/requests-*.jsonl are written here. Results are put beside them by whoever runs the batch, under any name ending
in .jsonl: whole or in part, in any order, several times, error files too. A line's custom_id is the key of the reply in
the ledger, from the second try on followed by its number: 2b16c0d6d89a03d53163-2. Nothing here is ever deleted.
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.replies import completions, parameters
from evals.replies.budget import Budget
from evals.replies.completions import Useless
from evals.replies.estimate import estimate
from evals.replies.ledger import Reply, Request, key
from evals.replies.progress import Prices, money
from evals.replies.refusals import FILTER_STATUSES, is_filter
from evals.replies.sending import OnError, OnReply
from skillmix_jax.errors import InputError

MOST_REQUESTS, MOST_BYTES = 50_000, 200 * 2**20 - 2**20  # in a file: OpenAI's limits, with room to spare
TIER = 'batch'
WAITING = 'waits for its result'
_ID = re.compile(r'([0-9a-f]{20})(?:-(\d{1,9}))?')
_PASSES = (408, 409, 429)  # statuses that say nothing about the request


class BatchFiles:
  """An endpoint whose replies come in files; what it has no reply to, `write` puts into new ones."""

  def __init__(
    self, folder: str, model: str, params: Mapping[str, Any], *, is_openai: bool = False,
    max_dollars: float | None = None, prices: Prices | None = None,
  ):  # fmt: skip
    """Looks at nothing yet.

    Args:
      is_openai: whether the model is OpenAI's, which refuses `max_tokens`.

    Raises:
      InputError: the folder is a file.
    """
    self._folder = Path(folder)
    if self._folder.exists() and not self._folder.is_dir():
      raise InputError(f'--batch={folder} is a file: name a folder')
    self.model, self.prices, self.writes, self.concurrency = model, prices, True, 1
    self.params, _ = parameters.split(params)
    self._sent = dict(self.params)
    if is_openai and 'max_tokens' in self._sent:
      self._sent['max_completion_tokens'] = self._sent.pop('max_tokens')
    self.budget = None if max_dollars is None else Budget(max_dollars, prices)
    self._tries: dict[str, int] = {}  # of a key, in request files
    self._over: dict[str, int] = {}  # the last try that ended with an error
    self._refused: dict[str, str] = {}  # why a request would fare no better another time

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """Takes up the results that are there; the others are errors, WAITING or what their result says. See Endpoint."""
    wanted = {self._key(request): request for request in requests}
    refused: dict[str, str] = {}
    self._tries, self._over = {}, {}
    for name, number, row in self._lines():
      if 'body' in row and 'response' not in row:
        self._tries[name] = max(number, self._tries.get(name, 0))
        continue
      request = wanted.get(name)
      reason, is_final = self._take(row, request, on_reply) if request else ('', False)
      if request and not reason:
        del wanted[name]
      elif reason:
        self._over[name] = max(number, self._over.get(name, 0))
        refused |= {name: reason} if is_final else {}
    for name, request in wanted.items():
      on_error(request, refused.get(name, WAITING))
    self._refused = refused

  def write(self, requests: Sequence[Request], stage: str) -> int:
    """Puts those that no file asks for yet into new ones; returns how many wait for a result.

    Raises:
      Halt: they would cost too much.
    """
    keys = {self._key(request): request for request in requests}
    waiting = {name for name in keys if self._tries.get(name, 0) > self._over.get(name, 0)}
    new = {name: request for name, request in keys.items() if name not in waiting and name not in self._refused}
    cost = estimate([keys[name] for name in (*new, *waiting)]).cost(self.prices)
    if new and self.budget:
      self.budget.check(cost or 0.0)
    for path, number, size in self._write_files(new, stage):
      print(f'{path}: {number:,} requests, {size / 1e6:,.1f} MB', file=sys.stderr)
    if total := len(waiting) + len(new):
      print(
        f'{total:,} requests wait for their results ({money(cost)}): run {self._folder}/requests-*.jsonl as batches, '
        f'put the results into {self._folder} and give this command again',
        file=sys.stderr,
      )
    return total

  def _key(self, request: Request) -> str:
    return key(request.slot, self.model, self.params, request.messages)

  def _lines(self) -> Iterator[tuple[str, int, dict]]:
    """Yields (key, number of the try, the line) of all requests and results; says where lines are neither."""
    for path in sorted(self._folder.glob('*.jsonl')):
      num_odd = 0
      with path.open('rb') as file:
        for line in file:
          try:
            row = json.loads(line)
            match = _ID.fullmatch(row['custom_id'])
            if match:  # else of somebody else's requests
              yield match[1], int(match[2] or 1), row
          except (ValueError, TypeError, KeyError, RecursionError):
            num_odd += bool(line.strip())
      if num_odd:
        print(f'{path}: {num_odd} lines are neither requests nor results: passed over', file=sys.stderr)

  def _take(self, row: dict, request: Request, on_reply: OnReply) -> tuple[str, bool]:
    """Hands a result over; else returns why it cannot, and whether the same request would fare no better."""
    response = row.get('response')
    response = response if isinstance(response, dict) else {}
    body, status = response.get('body'), response.get('status_code')
    error = row.get('error') or (body.get('error') if isinstance(body, dict) else None)
    if status == 200 and not error:
      try:
        on_reply(request, self._read(body))
      except Useless as useless:
        return f'its result is {useless}'[:400], True
      return '', False
    said = json.dumps(error or body, ensure_ascii=False)[:300]
    if status in FILTER_STATUSES and is_filter(said):
      on_reply(request, Reply('', 'content_filter', '', completions.count(None), '', 0.0, completions.now(), raw=said))
      return '', False
    is_final = isinstance(status, int) and 400 <= status < 500 and status not in _PASSES
    return f'its result is an error ({status}): {said}', is_final

  def _read(self, body: Any) -> Reply:
    """Reads the reply in a result, at the time when it was made: so it is the same row whoever takes it up."""
    created = body.get('created') if isinstance(body, dict) else None
    content = json.dumps(body).encode()
    time = completions.at(created) if isinstance(created, int) else ''
    return completions.read(content, self.model, 0.0, str, tier=TIER, time=time)

  def _write_files(self, new: Mapping[str, Request], stage: str) -> Iterator[tuple[Path, int, int]]:
    """Writes files of at most MOST_REQUESTS and MOST_BYTES; (path, requests, bytes) of each."""
    lines: list[bytes] = []
    size = 0
    for name, request in new.items():
      line = self._line(name, request)
      if lines and (len(lines) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
        yield self._write_file(lines, stage), len(lines), size
        lines, size = [], 0
      lines.append(line)
      size += len(line)
    if lines:
      yield self._write_file(lines, stage), len(lines), size

  def _line(self, name: str, request: Request) -> bytes:
    number = self._tries.get(name, 0) + 1
    body = {'model': self.model, 'messages': request.messages, **self._sent}
    row = {'custom_id': name if number == 1 else f'{name}-{number}', 'method': 'POST', 'url': '/v1/chat/completions'}
    text = json.dumps(row | {'body': body}, ensure_ascii=False) + '\n'
    return text.encode('utf-8', 'replace')

  def _write_file(self, lines: Sequence[bytes], stage: str) -> Path:
    """Writes a whole file or nothing: half of one would be uploaded, and written again."""
    path = self._folder / f'requests-{stage}-{secrets.token_hex(4)}.jsonl'
    self._folder.mkdir(parents=True, exist_ok=True)
    partial = self._folder / 'requests.partial'
    with partial.open('wb') as file:
      file.writelines(lines)
      file.flush()
      os.fsync(file.fileno())
    os.replace(partial, path)
    return path
