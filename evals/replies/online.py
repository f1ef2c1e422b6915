"""A hosted model: many requests at a time to an OpenAI-compatible server, of which no paid reply is lost.

The SDK retries 429, 5xx, timeouts and cut connections. What is added here: replies with status 200 that hold no
completion are asked for again; errors that every further request would meet end the whole call, in which case nothing
new is sent, what is in flight is waited for, and the message says what to do; the key appears in none of them, nor in
a reply. An attempt that was too slow is followed by a more patient one, and a line says what is asked again.
"""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from evals.replies import completions
from evals.replies.completions import Useless
from evals.replies.ledger import Reply, Request
from evals.replies.redaction import Redaction
from evals.replies.refusals import KEY_VARIABLE, OUT_OF_MONEY, Stopped, explain
from evals.replies.retries import Patience, Retries
from skillmix_jax.errors import InputError

OnReply = Callable[[Request, Reply], None]
OnError = Callable[[Request, str], None]

URL_VARIABLE = 'OPENAI_BASE_URL'
NO_KEY = 'none'  # servers of one's own ask for no key, but the SDK wants one
USELESS_REPLIES = 3  # how often a request is asked whose reply has status 200 and no completion
USELESS_PAUSE = 1.0  # seconds before the second time, twice as long before the third
CONNECT_TIMEOUT = 10.0  # seconds


class Online:
  """A model on an OpenAI-compatible server, reached with the `openai` package."""

  def __init__(
    self,
    model: str,
    params: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    concurrency: int = 64,
    timeout: float = 120.0,
    max_retries: int = 8,
    prices: tuple[float, float] | None = None,
    dry_run: bool = False,
  ):
    """Checks what can be checked without a request.

    Args:
      params: sent with every request, and nothing else is: newer hosted models refuse a temperature. None values
        are left out.
      base_url: None: $OPENAI_BASE_URL, else OpenAI's.
      concurrency: requests in flight.
      timeout: seconds for one attempt.
      max_retries: further attempts after 429, 5xx, timeouts and cut connections; the SDK waits as Retry-After says.
      dry_run: nothing will be asked, so no key is needed.

    Raises:
      InputError: the URL cannot be one, or the key is missing.
    """
    self.model, self.prices, self.writes = model, prices, True
    self.params = {name: value for name, value in (params or {}).items() if value is not None}
    if concurrency < 1:
      raise InputError(f'concurrency={concurrency} must be at least 1')
    self.concurrency, self.timeout, self.max_retries = concurrency, timeout, max_retries
    self.base_url = base_url or os.environ.get(URL_VARIABLE) or 'https://api.openai.com/v1'
    address = urlsplit(self.base_url)
    if address.scheme not in ('http', 'https') or not address.hostname:
      raise InputError(f'base_url={self.base_url!r} is not a URL; it looks like http://localhost:8000/v1')
    self.shown_url = f'{address.scheme}://{address.netloc.rpartition("@")[2]}{address.path}'  # no password, no query
    self._hosted = address.hostname == 'openai.com' or address.hostname.endswith('.openai.com')
    self._key = os.environ.get(KEY_VARIABLE, '').strip()
    self.has_key, self.redaction = bool(self._key), Redaction(self._key)
    if not self._key.isascii():
      raise InputError(f'{KEY_VARIABLE} contains non-ASCII characters, which no key has: copy it again')
    if self._hosted and not self._key and not dry_run:
      raise InputError(
        f'{KEY_VARIABLE} is not set: export the key for {self.shown_url}, or give --base_url (or {URL_VARIABLE}) of a '
        'server that needs none'
      )

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """See Endpoint; SIGINT and SIGTERM stop it as an error does: what is in flight is waited for and handed over."""
    _Asking(self, on_reply, on_error).run(requests)

  def sent_params(self) -> dict[str, Any]:
    """Returns the params under the names that this server knows."""
    sent = dict(self.params)
    # OpenAI's newer models refuse max_tokens; vLLM before 0.6.4 and many other servers know no other name.
    if self._hosted and 'max_tokens' in sent:
      sent['max_completion_tokens'] = sent.pop('max_tokens')
    return sent

  def client(self, attempt: Callable):
    """(the SDK's client, the HTTP client in it); `attempt(request, send)` awaits send() for each attempt of the SDK."""
    import httpx2
    import openai

    class Http(openai.DefaultAsyncHttpxClient):
      async def send(self, request, **options):
        send = functools.partial(super().send, request, **options)
        return await (attempt(request, send) if request.method == 'POST' else send())

    timeout = openai.Timeout(self.timeout, connect=min(self.timeout, CONNECT_TIMEOUT))
    http = Http(
      timeout=timeout,
      limits=httpx2.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
    )  # fmt: skip
    client = openai.AsyncOpenAI(
      api_key=self._key or NO_KEY, base_url=self.base_url, timeout=timeout, max_retries=self.max_retries,
      http_client=http,
    )  # fmt: skip
    return client, http


class _Asking:
  """One call of Online.ask: a pool of workers, and why it stops if it does."""

  def __init__(self, online: Online, on_reply: OnReply, on_error: OnError):
    self._online, self._on_reply, self._on_error = online, on_reply, on_error
    self._client, self._http = online.client(self._attempt)
    self._workers: set[asyncio.Task] = set()
    self._sending: set[asyncio.Task | None] = set()  # those whose reply may be paid for already
    self._patience: dict[asyncio.Task | None, Patience] = {}
    self._retries = Retries(online.shown_url)
    self._stopped = False
    self._failure: BaseException | None = None
    self._signal: int | None = None
    self._num_answered = self._num_failed_since = 0

  def run(self, requests: Sequence[Request]):
    """Returns when all is done; raises what stopped it."""
    with _handlers_kept():
      asyncio.run(self._run(requests))
    if self._signal is not None:
      signal.raise_signal(self._signal)
      raise Stopped(f'ended by {signal.Signals(self._signal).name}; the same command again goes on')
    if self._failure is not None:
      raise self._failure

  async def _run(self, requests: Sequence[Request]):
    self._loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._loop.add_signal_handler(number, self._interrupt, number)
    async with self._client:
      if await self._reachable():
        queue = iter(requests)
        num_workers = min(self._online.concurrency, len(requests))
        self._workers = {self._loop.create_task(self._work(queue)) for _ in range(num_workers)}
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._retries.say()

  async def _reachable(self) -> bool:
    """Says whether anything listens; the SDK would try for half a minute before it says no."""
    import httpx2

    for attempt in range(3):
      await asyncio.sleep(attempt)
      try:
        await self._http.get(self._online.shown_url, timeout=CONNECT_TIMEOUT)
      except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        reason = str(error) or type(error).__name__
      except httpx2.HTTPError:
        return True
      else:
        return True
    self._stop(Stopped(f'{self._online.shown_url} cannot be reached ({reason}): is the URL right, is the server up?'))
    return False

  async def _work(self, queue: Iterator[Request]):
    for request in queue:
      if self._stopped:
        return
      try:
        reply = await self._answer(request)
        self._num_answered, self._num_failed_since = self._num_answered + 1, 0
        self._on_reply(request, reply)
      except asyncio.CancelledError:
        return
      except Exception as error:
        self._failed(request, error)

  async def _answer(self, request: Request) -> Reply:
    import httpx2

    online, began, task = self._online, time.perf_counter(), asyncio.current_task()
    body = {'model': online.model, 'messages': request.messages, **online.sent_params()}
    self._patience[task] = Patience(online.timeout)
    for attempt in range(USELESS_REPLIES):
      await asyncio.sleep(attempt * USELESS_PAUSE)
      try:
        # chat.completions.create would check each message by its type, and read HTML with status 200 as a text.
        response = await self._client.post('/chat/completions', cast_to=httpx2.Response, body=body)
        return completions.read(response.content, online.model, time.perf_counter() - began, online.redaction.hide)
      except Useless as error:
        reason = str(error)
        self._patience[task].reason = 'status 200 without a completion'
      finally:
        self._sending.discard(task)
    raise Useless(f'{USELESS_REPLIES} times {reason}')

  async def _attempt(self, request, send: Callable):
    """One attempt of the SDK, which decides whether there is another one."""
    import httpx2

    if self._stopped:
      raise asyncio.CancelledError
    task = asyncio.current_task()
    patience = self._patience[task]
    if patience.reason:
      self._retries.add(patience.reason)
    request.extensions['timeout'] = request.extensions['timeout'] | {'read': patience.seconds}
    self._sending.add(task)
    try:
      response = await send()
    except httpx2.ReadTimeout:
      self._sending.discard(task)
      patience.lose()
      raise
    except httpx2.RequestError as error:
      self._sending.discard(task)
      patience.reason = f'a failed connection ({type(error).__name__})'
      raise
    if response.status_code >= 400:
      self._sending.discard(task)
      patience.reason = f'status {response.status_code}'
      if self._stopped or any(code in response.text for code in OUT_OF_MONEY):
        response.headers['x-should-retry'] = 'false'  # the SDK would try an empty account eight times more
    return response

  def _failed(self, request: Request, error: Exception):
    if self._stopped:
      return  # what stopped it is said already
    online = self._online
    reason, fatal = explain(
      error, url=online.shown_url, model=online.model, has_key=online.has_key, redaction=online.redaction,
      attempts=online.max_retries + 1, waited=self._patience[asyncio.current_task()].waited,
      has_answered=self._num_answered > 0,
    )  # fmt: skip
    if fatal is not None:
      self._stop(fatal)
      return
    self._num_failed_since += 1
    self._on_error(request, reason)
    if self._num_failed_since >= max(8, self._online.concurrency):
      self._stop(Stopped(f'{self._num_failed_since} requests in a row failed, the last one: {reason}'))

  def _stop(self, failure: BaseException | None):
    """No new attempt begins; waits for what is being sent, as long as one attempt may take."""
    if self._stopped:
      return
    self._stopped, self._failure = True, failure
    here = asyncio.current_task()
    for task in self._workers - self._sending - {here}:
      task.cancel()
    longest = max((self._patience[task].seconds for task in self._sending), default=0.0)
    self._loop.call_later(longest, self._abandon)

  def _abandon(self):
    for task in self._workers:
      task.cancel()

  def _interrupt(self, number: int):
    if self._signal is not None:
      self._abandon()
      return
    self._signal = number
    self._stop(None)
    if self._sending:
      print(f'stopping: waiting for {len(self._sending)} replies (again: at once)', file=sys.stderr, flush=True)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
  """asyncio resets the signals that it handled; this puts back what was there."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler or signal.SIG_DFL)
