"""A server on loopback that speaks the chat completions of OpenAI, well or badly, and counts what it was paid for.

In a test:       with Server(reply=my_reply, latency=0.05, faults=['429', '500']) as server: ... server.base_url
As a process:    python tests/helpers/fake_openai.py --port=0 --latency=1 --paid=paid.txt --reply=my_module:my_reply
                 prints its base URL; ends with SIGTERM.

A paid request is one that got a whole completion (status 200), whether the client was still there to read it or not.
`--paid` gets a line `ID HASH` for each, HASH being that of the request's body, before the answer is sent. GET
/v1/stats tells {"in_flight", "num_paid", "num_requests", "most_in_flight"}.
"""

import argparse
import asyncio
import base64
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODEL = 'fake-1'
SERVED = 'fake-1-2026-11-01'  # the name that completions carry: a hosted model answers with a dated one

ERRORS = {  # fault: status, code, message, headers
  '429': (429, 'rate_limit_exceeded', 'Rate limit reached for requests', ''),
  '429-after': (429, 'rate_limit_exceeded', 'Rate limit reached for requests', 'Retry-After: 1\r\n'),
  '500': (500, 'server_error', 'The server had an error while processing your request', ''),
  'quota': (429, 'insufficient_quota', 'You exceeded your current quota, please check your plan and billing', ''),
  'bad': (400, 'invalid_value', "Unsupported value: 'temperature' does not support 0.2 with this model", ''),
  'moderated': (400, 'content_filter', "The prompt triggered the service's content management policy", ''),
  'flagged': (403, 'forbidden', 'Your input was flagged by moderation', ''),
  'forbidden': (403, 'unsupported_country', 'Country, region, or territory not supported', ''),
}
OTHERS = (
  'hang',
  'cut',
  'html',
  'json',
  'null',
  'empty',
  'filter',
  'error200',
  'echo',
  'repeat',
  'parts',
  'refusal',
  'odd',
  'deep',
  'infinite',
  'detail',
)

KEY = 'sk-planted-0123456789abcdefghijklmnop'
KEYS = {'OPENAI_API_KEY': KEY} | {
  f'{name}_API_KEY': f'{KEY}-{name}' for name in ('ANTHROPIC', 'GEMINI', 'MISTRAL', 'AZURE_OPENAI')
}


def text_of(body: dict) -> str:
  """The default reply: a text that differs for every request body, about as long as a student's answer."""
  digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
  return f'Answer: {digest} “said the silver river”.\nExplanation:\n1. simile: ' + ' '.join([digest] * 8)


def repeated(key: str) -> str:
  """A text that tells the key in many ways: whole, in halves, and in base64 with and without what comes before it."""
  half = len(key) // 2
  encoded = [base64.b64encode(text.encode()).decode() for text in (key, f'Bearer {key}', f'me:{key}', f':{key}\n')]
  return ' '.join([f'Answer: "{key}"', key[:half], f'({key[half:]})', *encoded, '***bold*** sk-etch 0123'])


def usage_of(body: dict, text: str) -> dict[str, int]:
  """Tokens, at four characters each."""
  prompt = sum(len(message['content']) // 4 + 4 for message in body['messages'])
  return {
    'prompt_tokens': prompt, 'completion_tokens': len(text) // 4 + 1, 'total_tokens': prompt + len(text) // 4 + 1
  }  # fmt: skip


def draw(shares: dict[str, float], seed: int = 0) -> Callable[[int, dict], str | None]:
  """Faults at random: {'429': .05, 'hang': .01} makes 5 % and 1 % of the requests fail like that."""
  rng = random.Random(seed)

  def fault(number: int, body: dict) -> str | None:
    at = rng.random()
    for name, share in shares.items():
      at -= share
      if at < 0:
        return name
    return None

  return fault


class Server:
  """The server in a thread of its own; a context manager.

  Attributes:
    base_url: what OPENAI_BASE_URL would be.
    requests: bodies of all chat requests so far, refused ones included.
    num_paid: whole completions so far.
    targets: paths and queries that were asked for.
    in_flight: chat requests that are being answered; most_in_flight: the most at a time.
  """

  def __init__(
    self,
    reply: Callable[[dict], str] = text_of,
    *,
    latency: float | Callable[[], float] = 0.0,
    faults: Sequence[str | None] | Callable[[int, dict], str | None] = (),
    paid: Path | None = None,
    models: Sequence[str] | None = None,
    api_key: str | None = None,
    served: str | None = None,
    port: int = 0,
  ):
    """Starts nothing yet.

    Args:
      reply: the text for a request body.
      latency: seconds until an answer.
      faults: of the first requests, in order (None: no fault); or a function of number (from 0) and body.
      paid: a file that gets a line for each paid request.
      models: names that are known (others: 404); None: all.
      api_key: the one that is right (others: 401); None: all.
      served: model name in the completions; None: the one asked for.
      port: 0 finds a free one.
    """
    self._reply, self._latency, self._served = reply, latency, served
    self._fault = faults if callable(faults) else lambda n, body: faults[n] if n < len(faults) else None
    self._models, self._api_key, self._port = models, api_key, port
    self._paid = None if paid is None else os.open(paid, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    self.requests: list[dict] = []
    self.targets: list[str] = []
    self.keep_requests = True
    self.num_requests = self.num_paid = self.in_flight = self.most_in_flight = 0
    self.base_url = ''

  def __enter__(self):
    ready = threading.Event()
    self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready.set)), daemon=True)
    self._thread.start()
    assert ready.wait(20)
    return self

  def __exit__(self, *error):
    self._loop.call_soon_threadsafe(self._stop.set)
    self._thread.join(20)

  async def serve(self, on_ready: Callable[[], Any]):
    """Serves until the context manager ends."""
    self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
    server = await asyncio.start_server(self._connection, '127.0.0.1', self._port, backlog=2048)
    self.base_url = f'http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1'
    on_ready()
    await self._stop.wait()
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
      task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

  async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    try:
      while True:
        head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1')
        first, *lines = head.split('\r\n')
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(':') for line in lines)}
        content = await reader.readexactly(int(headers.get('content-length', 0)))
        method, target, _ = first.split(' ')
        self.targets.append(target)
        path = target.partition('?')[0]
        if method == 'POST' and path.endswith('/chat/completions'):
          keep = await self._chat(json.loads(content), headers, writer)
        elif path.endswith('/stats'):
          names = ('in_flight', 'num_paid', 'num_requests', 'most_in_flight')
          keep = _send(writer, 200, json.dumps({name: getattr(self, name) for name in names}))
        else:
          keep = _send(writer, 404, json.dumps({'error': {'message': f'{path} is not here', 'code': 'not_found'}}))
        if not keep:
          return
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
      pass  # the client has gone
    finally:
      writer.close()

  async def _chat(self, body: dict, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
    """Answers one request; returns whether the connection lives on."""
    number = self.num_requests
    self.num_requests += 1
    if self.keep_requests:
      self.requests.append(body)
    self.in_flight += 1
    self.most_in_flight = max(self.most_in_flight, self.in_flight)
    try:
      if seconds := self._latency() if callable(self._latency) else self._latency:
        await asyncio.sleep(seconds)
      return await self._answer(number, body, headers, writer)
    finally:
      self.in_flight -= 1

  async def _answer(self, number: int, body: dict, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
    key = headers.get('authorization', '').removeprefix('Bearer ')
    if self._api_key is not None and key != self._api_key:
      # As the hosted API does, with half of the key; and, as a careless proxy would, with the whole of it.
      shown = f'{key[:8]}{"*" * 20}{key[-4:]}. You sent {key}'
      return _send_error(writer, 401, 'invalid_api_key', f'Incorrect API key provided: {shown}.')
    if self._models is not None and body['model'] not in self._models:
      message = f'The model `{body["model"]}` does not exist or you do not have access to it.'
      return _send_error(writer, 404, 'model_not_found', message)
    fault = self._fault(number, body)
    if fault in ERRORS:
      return _send_error(writer, *ERRORS[fault])
    if fault == 'hang':
      await self._stop.wait()
      return False
    if fault == 'html':
      return _send(writer, 200, f'<html><body>Please sign in, {key}</body></html>', 'text/html')
    if fault == 'json':
      return _send(writer, 200, '{"id": "chatcmpl-1", "choices": [')
    if fault == 'error200':
      return _send(writer, 200, json.dumps({'error': {'message': f'upstream is down for {key}', 'code': 502}}))
    if fault == 'echo':
      return _send_error(writer, 400, 'bad_header', f'wrong header: Authorization: Bearer {key}')
    if fault == 'detail':  # as servers made with FastAPI do
      return _send(writer, 400, json.dumps({'detail': f"Server is pinned to 'other', and you sent {key}"}))
    completion = self._completion(body)
    if fault == 'null':
      completion['choices'] = None
    elif fault == 'empty':
      completion['choices'] = []
    elif fault == 'cut':
      text = json.dumps(completion).encode()
      writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n' % len(text))
      writer.write(text[: len(text) // 2])
      await writer.drain()
      return False
    else:
      if fault == 'filter':
        completion['choices'][0] |= {'finish_reason': 'content_filter', 'message': {'content': None}}
      elif fault == 'repeat':  # a proxy that shows the headers it was sent, in every text of a completion
        completion |= {'id': f'id {key}', 'model': f'model {key}'}
        completion['choices'][0] |= {'finish_reason': key, 'message': {'content': repeated(key)}}
      elif fault == 'parts':  # as models do that think aloud
        thoughts = {'type': 'thinking', 'thinking': [{'type': 'text', 'text': 'hm'}]}
        text = {'type': 'text', 'text': completion['choices'][0]['message']['content']}
        completion['choices'][0]['message']['content'] = [thoughts, text]
      elif fault == 'refusal':
        completion['choices'][0]['message'] = {'content': None, 'refusal': 'I cannot help with that.'}
      elif fault == 'odd':  # another protocol's reply
        completion['output'] = completion.pop('choices')
      elif fault == 'infinite':
        completion['usage'] = {
          'prompt_tokens': float('inf'),
          'completion_tokens': 7,
          'more': {'a': float('nan'), 'b': 3},
        }
      else:
        assert fault in (None, 'deep'), f'{fault!r} is none of {", ".join((*ERRORS, *OTHERS))}'
      self.num_paid += 1
      if self._paid is not None:
        digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()[:16]
        os.write(self._paid, f'{completion["id"]} {digest}\n'.encode())
    text = json.dumps(completion)
    if fault == 'deep':
      text = text.replace('"usage"', f'"deep": {"[" * 100_000}{"]" * 100_000}, "usage"')
    return _send(writer, 200, text)

  def _completion(self, body: dict) -> dict[str, Any]:
    text = self._reply(body)
    return {
      'id': f'chatcmpl-{random.getrandbits(64):016x}',
      'object': 'chat.completion',
      'created': 1_790_000_000,
      'model': self._served or body['model'],
      'choices': [
        {'index': 0, 'message': {'role': 'assistant', 'content': text, 'refusal': None}, 'finish_reason': 'stop'}
      ],
      'usage': usage_of(body, text),
    }


def _send(writer: asyncio.StreamWriter, status: int, text: str, kind: str = 'application/json', more: str = '') -> bool:
  content = text.encode()
  head = f'HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n'
  writer.write(head.encode() + content)
  return True


def _send_error(writer: asyncio.StreamWriter, status: int, code: str, message: str, more: str = '') -> bool:
  error = {'error': {'message': message, 'type': code, 'param': None, 'code': code}}
  return _send(writer, status, json.dumps(error), more=more)


def start_process(*arguments: str) -> tuple[subprocess.Popen, str]:
  """Starts `python tests/helpers/fake_openai.py ARGUMENTS`; (process, base URL). The caller terminates it."""

  command = [sys.executable, str(Path(__file__)), *arguments]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  return process, process.stdout.readline().strip()


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--port', type=int, default=0)
  parser.add_argument('--latency', type=float, default=0.0)
  parser.add_argument('--faults', type=json.loads, default={}, help='JSON: shares of faults')
  parser.add_argument('--reply', default=None, help='MODULE:FUNCTION from tests/ or the repository')
  parser.add_argument('--paid', type=Path, default=None)
  parser.add_argument('--served', default=None)
  options = parser.parse_args()
  reply = text_of
  if options.reply:
    sys.path[:0] = [str(parent) for parent in Path(__file__).parents[1:3]]
    module, _, name = options.reply.partition(':')
    reply = getattr(importlib.import_module(module), name)
  server = Server(
    reply, latency=options.latency, faults=draw(options.faults), paid=options.paid, served=options.served,
    port=options.port,
  )  # fmt: skip
  server.keep_requests = False
  asyncio.run(server.serve(lambda: print(server.base_url, flush=True)))


if __name__ == '__main__':
  main()
