"""A proxy that nobody here wrote stands before a vendor: LiteLLM, in an environment of its own. Needs pip; minutes."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from helpers import own_environment
from helpers.collecting import requests
from helpers.fake_openai import Server, draw, text_of

from evals.replies.endpoints import Online, Stopped, collect
from evals.replies.ledger import Ledger

UPSTREAM, MASTER = 'sk-upstream-0123456789abcdefghij', 'sk-master-0123456789abcdefghijkl'


@pytest.fixture(scope='module')
def litellm(tmp_path_factory) -> Path:
  """The command, installed."""
  return own_environment.make(tmp_path_factory.mktemp('litellm'), 'litellm[proxy]') / 'litellm'


class Proxy:
  """The proxy before a vendor; a context manager, with its URL."""

  def __init__(self, command: Path, folder: Path, vendor: str):
    with socket.socket() as unused:
      unused.bind(('127.0.0.1', 0))
      self._port = unused.getsockname()[1]
    self.base_url = f'http://127.0.0.1:{self._port}/v1'
    models = [
      {'model_name': name, 'litellm_params': {'model': 'openai/fake-1', 'api_base': vendor, 'api_key': UPSTREAM} | more}
      for name, more in (('grader', {}), ('limited', {'rpm': 6}))
    ]
    settings = {
      'model_list': models, 'general_settings': {'master_key': MASTER},
      'router_settings': {'num_retries': 0, 'enable_pre_call_checks': True, 'disable_cooldowns': True},
    }  # fmt: skip
    (folder / 'proxy.json').write_text(json.dumps(settings))  # which is YAML, too
    self._command = [command, '--config', folder / 'proxy.json', '--host', '127.0.0.1', '--port', str(self._port)]
    self._log = folder / 'proxy.log'

  def __enter__(self):
    with self._log.open('w') as log:
      self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=os.environ)
    deadline = time.monotonic() + 240
    while True:
      assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()[-2000:]
      try:
        urllib.request.urlopen(f'http://127.0.0.1:{self._port}/health/liveliness', timeout=5)
        return self
      except OSError:
        time.sleep(0.5)

  def __exit__(self, *error):
    self._process.terminate()
    self._process.wait()


def test_a_proxy_loses_nothing_and_tells_nothing(litellm, tmp_path, monkeypatch, capfd):
  faults = draw({'429': 0.1, '500': 0.1, 'cut': 0.05})
  with Server(faults=faults, api_key=UPSTREAM) as vendor, Proxy(litellm, tmp_path, vendor.base_url) as proxy:
    monkeypatch.setenv('OPENAI_API_KEY', MASTER)
    online = lambda model: Online(model, base_url=proxy.base_url, concurrency=8)
    ledger = Ledger(tmp_path / 'replies')
    assert collect(ledger, 'votes', requests(60), online('grader')) == []
    assert len(ledger) == 60 == vendor.num_paid
    for row in ledger.rows():
      assert row.reply.text == text_of(vendor.requests[0]) and row.reply.usage['completion_tokens'] > 10
    with pytest.raises(Stopped, match='nobody'):
      collect(ledger, 'votes', requests(1), online('nobody'))
    paid = vendor.num_paid
    began = time.monotonic()
    assert collect(ledger, 'votes', requests(9), online('limited')) == []  # six a minute
    assert vendor.num_paid == paid + 9 and time.monotonic() - began < 180
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-wrong-0123456789abcdefghijkl')
    with pytest.raises(Stopped) as stopped:
      collect(ledger, 'votes', requests(1, 'else'), online('grader'))
  said = str(stopped.value) + ''.join(capfd.readouterr())
  said += ''.join(path.read_text() for path in (tmp_path / 'replies').rglob('*.jsonl'))
  for key in (UPSTREAM, MASTER, 'sk-wrong-0123456789abcdefghijkl'):
    assert key[:14] not in said
