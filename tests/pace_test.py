"""How fast is asked: limits a minute, one pause for all workers, requests that are late."""

import asyncio
import itertools
import time

import pytest
from helpers import fake_openai
from helpers.collecting import online, requests
from helpers.fake_openai import Server

from evals.replies.endpoints import Stopped, collect
from evals.replies.ledger import Ledger
from evals.replies.pace import Pace, wait_asked
from evals.replies.retries import MOST_LATE

pytestmark = pytest.mark.usefixtures('planted_keys')


class Limited(Server):
  """Lets one request through in each `every` seconds, and asks the others to come back sooner than that."""

  def __init__(self, every, **options):
    super().__init__(**options)
    self._every, self._free = every, 0.0

  async def _answer(self, number, body, headers, writer):
    is_free = time.monotonic() >= self._free
    if is_free:
      self._free = time.monotonic() + self._every
    self._fault = lambda number, body: None if is_free else '429'
    return await super()._answer(number, body, headers, writer)


def test_after_a_429_all_workers_wait_together(tmp_path):
  with Limited(every=0.2) as server:
    assert collect(Ledger(tmp_path), 'x', requests(9), online(server, concurrency=9)) == []
    assert server.num_paid == 9 and server.num_requests < 25  # 8 that were on their way; then one after the other


def test_a_minute_has_as_many_requests_and_tokens_as_one_says(tmp_path):
  async def times(pace, count):
    async def enter():
      await pace.enter(400)
      pace.leave()
      return time.monotonic()

    found = await asyncio.gather(*(enter() for _ in range(count)))
    return [b - a for a, b in itertools.pairwise(found)]

  async def both():
    pace = Pace(8, rpm=1200)
    gaps = await times(pace, 5)
    assert min(gaps) > 0.045
    pace = Pace(8, tpm=600_000)
    for _ in range(3):
      pace.replied(1000)  # a thousand tokens each: 600 requests a minute
    assert min(await times(pace, 4)) > 0.09

  asyncio.run(both())


def test_what_a_server_asks_to_wait_is_read():
  assert wait_asked({'retry-after': '7'}) == 7 and wait_asked({'retry-after-ms': '250'}) == 0.25
  assert wait_asked({'retry-after': 'Fri, 01 Jan 2100 00:00:00 GMT'}) > 1e9 and wait_asked({}) is None
  assert wait_asked({'retry-after': 'soon'}) is None


def test_who_asks_to_wait_for_an_hour_is_not_asked_again(tmp_path, monkeypatch):
  monkeypatch.setitem(fake_openai.ERRORS, '429-after', (429, 'x', 'slow down', 'Retry-After: 3600\r\n'))
  with Server(faults=['429-after']) as server:
    with pytest.raises(Stopped, match=r'asks to wait for 3,600 s'):
      collect(Ledger(tmp_path), 'x', requests(5), online(server))
    assert server.num_requests == 1


def test_a_request_that_is_too_slow_is_asked_few_times(tmp_path):
  with Server(faults=lambda number, body: 'hang') as server:
    ((_, reason),) = collect(Ledger(tmp_path), 'x', requests(1), online(server, timeout=0.1))
    assert server.num_requests == MOST_LATE == 3
  assert 'no answer, 3 times, the last within 0.4 s' in reason and '--timeout' in reason


def test_a_server_that_is_late_with_all_is_asked_for_fewer_at_a_time():
  async def limits():
    pace = Pace(8)
    for _ in range(2):
      entered = await pace.enter(1)
      pace.late(entered)
      pace.leave()
    yielded = [await pace.enter(1) for _ in range(4)]
    with pytest.raises(TimeoutError):
      await asyncio.wait_for(pace.enter(1), 0.05)
    return yielded

  assert len(asyncio.run(limits())) == 4
