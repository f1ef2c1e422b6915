"""Whatever a server does, paid replies are stored and what went wrong is said."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from helpers.collecting import IN_FLIGHT, ROOT, online, requests
from helpers.fake_openai import KEY, SERVED, Server, text_of

from evals.replies import retries, sending
from evals.replies.endpoints import Exact, Online, Stopped, collect
from evals.replies.ledger import Ledger, Request, Slot
from skillmix_jax.errors import InputError


@pytest.fixture(autouse=True)
def short_pause(planted_keys, monkeypatch):
  monkeypatch.setattr(sending, 'USELESS_PAUSE', 0.01)


def test_replies_are_stored_with_all_that_came_with_them(tmp_path):
  seen = []
  with Server(served=SERVED, latency=0.03) as server:
    ledger, asked = Ledger(tmp_path), requests(60)
    endpoint = online(server, params={'temperature': None, 'top_p': 0.9}, concurrency=8)
    assert collect(ledger, 'grade', asked, endpoint, lambda request, reply: seen.append((request, reply))) == []
    assert server.num_paid == len(ledger) == len(seen) == 60
    assert 1 < server.most_in_flight <= 8
    assert all(
      body == {'model': 'fake-1', 'messages': list(asked[0].messages), 'top_p': 0.9} for body in server.requests
    )
    assert collect(Ledger(tmp_path), 'grade', asked, endpoint) == []
    assert server.num_requests == 60  # nothing is asked twice
    row = next(ledger.rows())
    assert (row.model, row.reply.model, row.params) == ('fake-1', SERVED, {'top_p': 0.9})
    assert row.reply.text == text_of(server.requests[0]) and row.reply.finish_reason == 'stop'
    assert row.reply.usage['completion_tokens'] > 10 and row.reply.id.startswith('chatcmpl-')


def test_votes_are_votes(tmp_path):
  replies = iter(range(1000))
  with Server(reply=lambda body: f'grading {next(replies)}') as server:
    ledger = Ledger(tmp_path)
    collect(ledger, 'grade', requests(30), online(server, concurrency=8))  # all prompts are the same
  texts = {row.slot: row.reply.text for row in ledger.rows()}
  assert len(set(texts.values())) == len(texts) == 30


def test_nothing_is_sent_that_is_not_configured(tmp_path):
  with Server() as server:
    collect(Ledger(tmp_path), 'x', requests(1), online(server))
    collect(Ledger(tmp_path), 'x', requests(1), online(server, params={'max_tokens': 9, 'top_k': 3}))
  assert set(server.requests[0]) == {'model', 'messages'}
  assert {name: server.requests[1][name] for name in ('max_tokens', 'top_k')} == {'max_tokens': 9, 'top_k': 3}
  openai = Online('gpt', params={'max_tokens': 9})
  assert openai.sent_params() == {'max_completion_tokens': 9} and openai.params == {'max_tokens': 9}


@pytest.mark.parametrize(
  'fault', ['429', '429-after', '500', 'cut', 'hang', 'html', 'json', 'null', 'empty', 'error200']
)
def test_what_passes_is_asked_again(tmp_path, fault):
  with Server(faults=[fault]) as server:
    ledger = Ledger(tmp_path)
    began = time.monotonic()
    assert collect(ledger, 'x', requests(2), online(server, timeout=1)) == []
    assert time.monotonic() - began > (1 if fault in ('429-after', 'hang') else 0)
    assert (len(ledger), server.num_paid, server.num_requests) == (2, 2, 3)


def test_a_filtered_reply_is_an_empty_text_with_its_reason(tmp_path):
  with Server(faults=['filter']) as server:
    ledger = Ledger(tmp_path)
    assert collect(ledger, 'x', requests(1), online(server)) == []
  assert [(row.reply.text, row.reply.finish_reason) for row in ledger.rows()] == [('', 'content_filter')]


@pytest.mark.parametrize(
  ('fault', 'said'),
  [
    ('429', r'still too many requests after 1 attempts \(Rate limit reached.*lower --concurrency'),
    ('500', r'refuses the request \(500\): The server had an error'),
    ('cut', r'the connection failed 1 times'),
    ('hang', r'no answer, 1 times, the last within 0\.5 s: if it is slow, raise --timeout or lower --concurrency'),
    ('html', r'3 times a reply with status 200 and no completion: <html>'),
    ('null', r'3 times a reply with status 200 and no completion: .*"choices": null'),
    ('bad', r"refuses the request \(400\): Unsupported value: 'temperature'"),
    ('detail', r"refuses the request \(400\): Server is pinned to 'other'"),
  ],
)
def test_what_does_not_pass_is_listed_and_asked_next_time(tmp_path, fault, said):
  asked, seen = requests(3), []
  with Server(faults=lambda number, body: fault if number in bad else None) as server:
    bad = {1, 2, 3} if fault in ('html', 'null') else {1}
    endpoint = online(server, timeout=0.5, max_retries=0)
    failed = collect(Ledger(tmp_path), 'x', asked, endpoint, lambda request, reply: seen.append(reply is None))
    assert [request for request, _ in failed] == [asked[1]] and seen == [False, True, False]
    assert re.search(said, failed[0][1]), failed[0][1]
    assert collect(Ledger(tmp_path), 'x', asked, endpoint) == []
    assert server.num_paid == 3


FATAL = {
  'quota': r'out of money \(You exceeded your current quota.*top it up and run the same command again',
  'forbidden': r'refuses the key in OPENAI_API_KEY \(403\) and says: Country',
  'bad': r"refuses the request \(400\): Unsupported value: 'temperature'",
}


@pytest.mark.parametrize('fault', FATAL)
def test_what_no_request_would_survive_stops_all(tmp_path, fault):
  with Server(faults=lambda number, body: fault, latency=0.02) as server:
    began = time.monotonic()
    with pytest.raises(Stopped, match=FATAL[fault]):
      collect(Ledger(tmp_path), 'x', requests(1000), online(server, concurrency=8))
    assert time.monotonic() - began < 5
    assert server.num_requests <= 8


def test_when_the_money_ends_what_is_in_flight_is_stored(tmp_path):
  latencies = iter([0.1] * 10 + [1.0] * 9 + [0.0] * 100)
  fault = lambda number, body: 'quota' if number == 19 else None
  with Server(faults=fault, latency=lambda: next(latencies)) as server:
    with pytest.raises(Stopped, match='out of money'):
      collect(Ledger(tmp_path), 'x', requests(100), online(server, concurrency=10))
    assert (len(Ledger(tmp_path)), server.num_paid, server.num_requests) == (19, 19, 20)


def test_a_server_that_is_gone_ends_it(tmp_path):
  with Server(faults=lambda number, body: '500' if number > 4 else None) as server:
    with pytest.raises(Stopped, match=r'8 requests in a row failed, the last one: .*500'):
      collect(Ledger(tmp_path), 'x', requests(100), online(server, max_retries=0))
    assert len(Ledger(tmp_path)) == 5


def test_wrong_names_addresses_and_missing_keys_are_said(tmp_path, monkeypatch):
  with Server(models=['fake-2'], api_key='sk-other') as server:
    with pytest.raises(Stopped, match=r'refuses the key in OPENAI_API_KEY \(401\)'):
      collect(Ledger(tmp_path), 'x', requests(1), online(server))
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-other')
    with pytest.raises(Stopped, match=r"does not find model 'fake-1' \(The model `fake-1` does not exist"):
      collect(Ledger(tmp_path), 'x', requests(1), online(server))
    monkeypatch.delenv('OPENAI_API_KEY')
    with pytest.raises(Stopped, match=r'wants a key \(401\): set OPENAI_API_KEY'):
      collect(Ledger(tmp_path), 'x', requests(1), online(server))
  with socket.socket() as unused:
    unused.bind(('127.0.0.1', 0))
    url = f'http://user:{KEY}@127.0.0.1:{unused.getsockname()[1]}/v1'
    with pytest.raises(Stopped, match=r'http://127\.0\.0\.1:\d+/v1 cannot be reached') as caught:
      collect(Ledger(tmp_path), 'x', requests(1), Online('m', base_url=url))
    assert KEY not in str(caught.value)
  with pytest.raises(InputError, match=r'OPENAI_API_KEY is not set: .*https://api\.openai\.com/v1'):
    Online('gpt')
  monkeypatch.setenv('OPENAI_BASE_URL', 'http://localhost:8000/v1')
  assert Online('gpt').base_url == 'http://localhost:8000/v1'
  for url in ('localhost:8000/v1', 'ftp://x', 'http://'):
    with pytest.raises(InputError, match='is not a URL'):
      Online('m', base_url=url)
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-…')
  with pytest.raises(InputError, match='OPENAI_API_KEY contains non-ASCII characters'):
    Online('gpt')
  with pytest.raises(InputError, match='concurrency=0'):
    Online('m', base_url='http://localhost', concurrency=0)


def test_what_is_asked_again_is_said(tmp_path, capfd, monkeypatch):
  monkeypatch.setattr(retries, 'TOGETHER', 0.05)
  monkeypatch.setattr(retries, 'EVERY', 0.05)
  with Server(faults=['429', '500', 'cut', 'html', 'hang']) as server:
    assert collect(Ledger(tmp_path), 'x', requests(5), online(server, concurrency=5, timeout=0.5)) == []
    said = capfd.readouterr().err
    assert server.num_requests == 10
  for reason in (
    '1 x status 429', '1 x status 500', '1 x a failed connection (RemoteProtocolError)',
    '1 x status 200 without a completion', '1 x no answer within 0.5 s (if the server is slow, lower --concurrency)',
  ):  # fmt: skip
    assert reason in said
  assert said.count('asked again') == said.count('\n') == said.count(server.base_url) <= 5


def test_a_server_that_is_slower_than_the_timeout_gets_more_time_instead_of_more_requests(tmp_path):
  with Server(latency=0.7) as server:
    assert collect(Ledger(tmp_path), 'x', requests(4), online(server, concurrency=4, timeout=0.5)) == []
    assert server.num_requests == 8


def test_a_full_disk_stops_and_is_said(tmp_path):
  class Full(Exception):
    pass

  def refuse(request, reply):
    raise Full

  with Server(latency=0.05) as server:
    with pytest.raises(Full):
      online(server, concurrency=4).ask(requests(100), refuse, lambda request, reason: None)
    assert server.num_requests <= 8


DRIVER = """
import signal, sys
from helpers import collecting
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
try:
  collecting.main()
except KeyboardInterrupt:
  sys.exit(130)
"""


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_waits_for_what_is_paid(tmp_path, number, code):
  with Server(latency=1.0) as server:
    environment = os.environ | {'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
    command = [sys.executable, '-c', DRIVER, str(tmp_path / 'replies'), server.base_url, '1000']
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
      while server.num_requests < IN_FLIGHT + 20:
        assert process.poll() is None
        time.sleep(0.01)
      process.send_signal(number)
      _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert len(Ledger(tmp_path / 'replies')) == server.num_paid == server.num_requests < 1000
    assert 'stopping: waiting for' in said and 'Traceback' not in said


def test_it_works_beside_the_main_thread_and_handlers_stay(tmp_path):
  before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  with Server() as server:
    ask = lambda: collect(Ledger(tmp_path), 'x', requests(3), online(server))
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert server.num_paid == len(Ledger(tmp_path)) == 3
    collect(Ledger(tmp_path), 'x', requests(6), online(server))
  assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_an_exact_grader_is_a_function(tmp_path):
  def grade(skills, topic, text, criteria):
    return f'{skills} {topic} {text} {criteria}'

  context = {'skills': ('a', 'b'), 'topic': 't', 'text': 'x', 'criteria': ['c']}
  asked = [Request(Slot('c', 1, 'vote', 1), ({'role': 'user', 'content': 'p'},), context)]
  ledger = Ledger(tmp_path)
  assert collect(ledger, 'grade', asked, Exact(grade)) == []
  (row,) = ledger.rows()
  assert (row.model, row.reply.text) == ('exact', "('a', 'b') t x ['c']")
