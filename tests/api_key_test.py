"""The key is said nowhere: no log, no message, no file."""

import base64
import io
import logging
import traceback

import pytest
from helpers.collecting import online, requests
from helpers.fake_openai import KEY, Server

from evals.replies import sending
from evals.replies.endpoints import Stopped, collect
from evals.replies.ledger import Ledger


@pytest.fixture(autouse=True)
def short_pause(planted_keys, monkeypatch):
  monkeypatch.setattr(sending, 'USELESS_PAUSE', 0.01)


FAULTS = [
  '429',
  '500',
  'cut',
  'html',
  'json',
  'null',
  'empty',
  'error200',
  'quota',
  'bad',
  'detail',
  'forbidden',
  'echo',
  'repeat',
  '401',
]


@pytest.mark.parametrize('fault', FAULTS)
def test_the_key_is_nowhere(tmp_path, fault, caplog, capfd):
  caplog.set_level(logging.DEBUG)
  faults = lambda number, body: fault if number else None
  texts = io.StringIO()
  with Server(faults=() if fault == '401' else faults, api_key='sk-other' if fault == '401' else None) as server:
    for asked in (requests(2), requests(1, 'else')):
      try:
        failed = collect(Ledger(tmp_path), 'x', asked, online(server, max_retries=0, timeout=2))
        texts.write(str([reason for _, reason in failed]))
      except Stopped:
        traceback.print_exc(file=texts)
  said = texts.getvalue() + caplog.text + ''.join(capfd.readouterr())
  said += ''.join(path.read_text() for path in tmp_path.rglob('*') if path.is_file())
  assert server.base_url in said or 'times' in said
  for part in (KEY, KEY[:14], KEY[-6:]):
    assert part not in said


def test_a_key_that_is_repeated_in_a_reply_is_taken_out_of_it(tmp_path):
  with Server(faults=['repeat']) as server:
    assert collect(Ledger(tmp_path), 'x', requests(1), online(server)) == []
  (row,) = Ledger(tmp_path).rows()
  assert row.reply.text.endswith(' ***bold*** sk-etch 0123') and row.reply.text.startswith('Answer: "***" *** (***) ')
  assert (row.reply.id, row.reply.model, row.reply.finish_reason) == ('id ***', 'model ***', '***')
  written = ''.join(path.read_text() for path in tmp_path.rglob('*') if path.is_file())
  encoded = [base64.b64encode(b' ' * n + KEY.encode())[4:-6].decode() for n in range(3)]
  for secret in (KEY[:10], KEY[10:20], KEY[-10:], *encoded):
    assert secret not in written
