"""One wave of requests on its way: a pool of workers, what is asked again, and what ends all of them.

The SDK retries 5xx and cut connections. What is added here: a 429 makes all workers pause together; what came too late
is asked again few times, each time with more patience; replies with status 200 that hold no completion are stored as
they came and asked for again, unless they were paid for; a filtered prompt is a reply, too; errors that every further
request would meet end the wave: nothing new is sent, and what is in flight is waited for.
"""

import asyncio
import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from evals.replies import completions
from evals.replies.completions import Useless
from evals.replies.ledger import UNREAD, Reply, Request
from evals.replies.pace import LONGEST_PAUSE, Pace, wait_asked
from evals.replies.refusals import OUT_OF_MONEY, Stopped, explain, refused_prompt
from evals.replies.retries import MOST_LATE, Patience, Retries

if TYPE_CHECKING:
  import openai

  from evals.replies.online import Online

OnReply = Callable[[Request, Reply], None]
OnError = Callable[[Request, str], None]

USELESS_REPLIES = 3  # how often a request is asked whose reply has status 200 and no completion
USELESS_PAUSE = 1.0  # seconds before the second time, twice as long before the third
CONNECT_TIMEOUT = 10.0  # seconds
OBJECTS_A_COLLECTION = 10_000  # that are new since the last one; Python's own is 700


class Sending:
  """One call of Online.ask."""

  def __init__(self, online: 'Online', on_reply: OnReply, on_error: OnError):
    """Starts nothing yet."""
    self._online, self._on_reply, self._on_error = online, on_reply, on_error
    self._workers: set[asyncio.Task] = set()
    self._sending: set[asyncio.Task | None] = set()  # those whose reply may be paid for already
    self._patience: dict[asyncio.Task | None, Patience] = {}
    self._sizes: dict[asyncio.Task | None, int] = {}  # characters of the request that each worker asks
    self._retries = Retries(online.shown_url)
    self._stopped = False
    self._failure: BaseException | None = None
    self._signal: int | None = None
    self._num_answered = self._num_failed_since = 0

  def run(self, requests: Sequence[Request]):
    """Returns when all is done; raises what stopped it."""
    with _handlers_kept(), _rare_collections():
      asyncio.run(self._run(requests))
    if self._signal is not None:
      signal.raise_signal(self._signal)
      raise Stopped(f'ended by {signal.Signals(self._signal).name}; the same command again goes on')
    if self._failure is not None:
      raise self._failure

  async def _run(self, requests: Sequence[Request]):
    self._loop = asyncio.get_running_loop()
    self._pace = Pace(self._online.concurrency, self._online.rpm, self._online.tpm)
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._loop.add_signal_handler(number, self._interrupt, number)
    if await self._reachable():
      queue = iter(requests)
      num_workers = min(self._online.concurrency, len(requests))
      self._workers = {self._loop.create_task(self._work(queue)) for _ in range(num_workers)}
      await asyncio.gather(*self._workers, return_exceptions=True)
      self._retries.say()

  async def _reachable(self) -> bool:
    """Whether anything listens: the SDK would try for half a minute before it says no."""
    import httpx2

    client, http = self._online.client(self._attempt)
    async with client:
      for attempt in range(3):
        await asyncio.sleep(attempt)
        try:
          await http.get(self._online.shown_url, timeout=CONNECT_TIMEOUT)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
          reason = str(error) or type(error).__name__
        except httpx2.HTTPError:
          return True
        else:
          return True
    self._stop(Stopped(f'{self._online.shown_url} cannot be reached ({reason}): is the URL right, is the server up?'))
    return False

  async def _work(self, queue: Iterator[Request]):
    client, _ = self._online.client(self._attempt)
    async with client:
      for request in queue:
        if self._stopped:
          return
        try:
          reply = await self._answer(client, request)
          self._num_answered, self._num_failed_since = self._num_answered + 1, 0
          self._on_reply(request, reply)
        except asyncio.CancelledError:
          return
        except Exception as error:
          self._failed(request, error)

  async def _answer(self, client: 'openai.AsyncOpenAI', request: Request) -> Reply:
    import httpx2
    import openai

    online, began, task = self._online, time.perf_counter(), asyncio.current_task()
    body, size = online.body(request), sum(len(message['content']) for message in request.messages)
    self._patience[task], self._sizes[task] = Patience(online.timeout), size
    for attempt in range(USELESS_REPLIES):
      await asyncio.sleep(attempt * USELESS_PAUSE)
      usage = None
      try:
        # chat.completions.create would check each message by its type, and read HTML with status 200 as a text.
        response = await client.post('/chat/completions', cast_to=httpx2.Response, body=body)
        seconds = time.perf_counter() - began
        reply = completions.read(
          response.content, online.model, seconds, online.redaction.hide, tier=online.tier, url=online.shown_url
        )
        usage = reply.usage
        return reply
      except Useless as error:
        usage, useless = error.usage, error
        useless.times = attempt + 1
        self._on_reply(request, Reply('', UNREAD, '', {}, '', 0.0, '', raw=error.body))
        self._patience[task].reason = 'status 200 without a completion'
        if (error.usage or {}).get('completion_tokens'):
          break  # a shape that we do not know, and not a failure: the next one would be paid for as well
      except openai.APIStatusError as error:
        refusal = refused_prompt(error, time.perf_counter() - began, online.shown_url, online.redaction.hide)
        if refusal is not None:
          return refusal
        raise
      finally:
        self._sending.discard(task)
        self._settle(task, usage, size)
    raise useless

  def _settle(self, task: asyncio.Task | None, usage: dict | None, size: int):
    usage = usage or None
    if usage:
      self._pace.replied(usage['prompt_tokens'] + usage['completion_tokens'])
    if self._online.budget:
      self._online.budget.settle(task, usage, size)

  async def _attempt(self, request, send: Callable):
    """One attempt of the SDK, which decides whether there is another one; those after a 429 are all in here."""
    import httpx2
    import openai

    task = asyncio.current_task()
    patience = self._patience[task]
    while True:
      if patience.reason:
        self._retries.add(patience.reason)
      entered = await self._enter(task)
      request.extensions['timeout'] = request.extensions['timeout'] | {'read': patience.seconds}
      self._sending.add(task)
      try:
        response = await send()
      except httpx2.ReadTimeout:
        self._sending.discard(task)
        self._pace.late(entered)
        patience.lose()
        if self._online.budget:
          self._online.budget.lose(task)
        if patience.num_late >= MOST_LATE:
          raise openai.APITimeoutError(request) from None  # the SDK would go on
        raise
      except httpx2.RequestError as error:
        self._sending.discard(task)
        patience.reason = f'a failed connection ({type(error).__name__})'
        raise
      finally:
        self._pace.leave()
      if response.status_code < 400:
        self._pace.accepted()
        return response
      self._sending.discard(task)
      patience.reason = f'status {response.status_code}'
      is_over = self._stopped or any(code in response.text for code in OUT_OF_MONEY)
      if response.status_code == 429 and not is_over and self._may_wait(patience, entered, response.headers):
        continue
      if is_over or response.status_code == 429:
        response.headers['x-should-retry'] = 'false'  # the SDK would try an empty account eight times more
      return response

  async def _enter(self, task: asyncio.Task | None) -> float:
    """Waits until this request may be sent; returns when that was."""
    if self._stopped:
      raise asyncio.CancelledError
    if self._online.budget:
      await self._online.budget.hold(task, self._sizes[task])
    entered = await self._pace.enter(self._sizes[task])
    if self._stopped:
      self._pace.leave()
      raise asyncio.CancelledError
    return entered

  def _may_wait(self, patience: Patience, entered: float, headers) -> bool:
    """After a 429: whether the request is sent once more, when all workers have waited."""
    seconds = wait_asked(headers)
    if seconds is not None and seconds > LONGEST_PAUSE:
      self._stop(Stopped(f'{self._online.shown_url} asks to wait for {seconds:,.0f} s: run the same command then'))
      return False
    patience.num_refused += 1
    self._pace.refused(entered, seconds)
    return patience.num_refused <= self._online.max_retries

  def _failed(self, request: Request, error: Exception):
    if self._stopped:
      return  # what stopped it is said already
    online = self._online
    reason, fatal = explain(
      error, address=online.address, model=online.model, redaction=online.redaction, attempts=online.max_retries + 1,
      patience=self._patience[asyncio.current_task()], has_answered=self._num_answered > 0,
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
def _rare_collections() -> Iterator[None]:
  """Python looks for circles of garbage less often: requests leave hardly any, and to look costs a tenth."""
  before = gc.get_threshold()
  gc.set_threshold(OBJECTS_A_COLLECTION, *before[1:])
  try:
    yield
  finally:
    gc.set_threshold(*before)


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
