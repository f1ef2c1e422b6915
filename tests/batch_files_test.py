"""Batch files: the same replies under the same keys as one by one, whatever happens to the results."""

import json

import pytest
from evals_test import CONFIG, ledger, reply, run
from helpers.batches import Vendor, asked, failure, put, result
from helpers.collecting import requests
from helpers.fake_openai import Server, text_of

from evals import students
from evals.replies import batch_files
from evals.replies.asking import ask
from evals.replies.batch_files import BatchFiles
from evals.replies.budget import Halt
from evals.replies.canary import Canary
from evals.replies.endpoints import Online, collect
from evals.replies.ledger import Ledger
from skillmix_jax.errors import InputError


class FakeRun:
  def __init__(self, path):
    self.ledger = Ledger(path)


def wave(tmp_path, asked_for, folder='batch', **options):
  """One start of a command; how many requests have no reply after it."""
  endpoint = BatchFiles(str(tmp_path / folder), 'fake-1', {}, **options)
  return ask(FakeRun(tmp_path / 'replies'), 'votes', 'votes', asked_for, endpoint)


def test_results_are_the_rows_that_a_server_would_have_given(tmp_path, monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-planted-0123456789abcdef')
  assert wave(tmp_path, requests(9)) == 9
  lines = asked(tmp_path / 'batch')
  assert {(line['method'], line['url']) for line in lines} == {('POST', '/v1/chat/completions')}
  put(tmp_path / 'batch', 'batch_1_output', [result(line, text_of) for line in reversed(lines)])
  assert wave(tmp_path, requests(9)) == 0
  with Server() as server:
    online = Online('fake-1', base_url=server.base_url)
    collect(Ledger(tmp_path / 'one_by_one'), 'x', requests(9), online)
    assert all(line['body'] in server.requests for line in lines)
  told = lambda folder: {
    row.key: (row.slot, row.model, row.params, row.reply.text, row.reply.usage)
    for row in Ledger(tmp_path / folder).rows()
  }
  assert told('replies') == told('one_by_one')
  (row, *_) = ledger(tmp_path)
  assert (row['tier'], row['time'][:10], row['id']) == ('batch', '2026-09-21', f'chatcmpl-{row["key"]}')


def test_a_request_is_written_once_and_again_after_an_error_that_passes(tmp_path):
  folder = tmp_path / 'batch'
  assert wave(tmp_path, requests(6)) == wave(tmp_path, requests(6)) == 6
  lines = asked(folder)
  assert len(lines) == 6
  errors = [failure(lines[0], None, 'batch_expired'), failure(lines[1], 429, 'rate'), failure(lines[2], 400, 'invalid')]
  put(folder, 'errors', errors)
  put(folder, 'errors_again', errors)
  put(folder, 'output', [result(lines[3], text_of), result(lines[3], text_of)])
  for _ in range(2):
    assert wave(tmp_path, requests(6)) == 5
    names = [line['custom_id'] for line in asked(folder)]
    assert sorted(names) == sorted(
      [line['custom_id'] for line in lines] + [f'{lines[i]["custom_id"]}-2' for i in (0, 1)]
    )
  put(folder, 'late', [result(line, text_of) for line in asked(folder)])  # the first tries came after all
  assert wave(tmp_path, requests(6)) == 0
  assert len(ledger(tmp_path)) == 6


def test_what_a_filter_refuses_is_a_reply_and_what_is_no_result_is_passed_over(tmp_path, capsys):
  folder = tmp_path / 'batch'
  wave(tmp_path, requests(2))
  one, two = asked(folder)
  put(folder, 'output', [failure(one, 400, 'content_filter'), {'custom_id': 'of-somebody-else', 'response': {}}])
  with (folder / 'part.jsonl').open('w') as file:
    file.write(
      '[1]\n<html>\n' + '[' * 100_000 + '\n' + json.dumps(result(two, text_of))[:-30]
    )  # a download's first half
  assert wave(tmp_path, requests(2)) == 1
  assert [row['finish_reason'] for row in ledger(tmp_path)] == ['content_filter']
  assert 'part.jsonl: 4 lines are neither requests nor results' in capsys.readouterr().err


def test_files_are_as_large_as_vendors_take_them(tmp_path, monkeypatch):
  monkeypatch.setattr(batch_files, 'MOST_REQUESTS', 4)
  wave(tmp_path, requests(10))
  sizes = sorted(path.read_bytes().count(b'\n') for path in (tmp_path / 'batch').iterdir())
  assert sizes == [2, 4, 4]
  line = max(len(line) for path in (tmp_path / 'batch').iterdir() for line in path.read_bytes().splitlines(True))
  monkeypatch.setattr(batch_files, 'MOST_BYTES', 3 * line)
  wave(tmp_path, requests(10), 'other')
  sizes = [path.stat().st_size for path in (tmp_path / 'other').iterdir()]
  assert len(sizes) == 4 and max(sizes) <= 3 * line


def test_a_batch_that_is_too_dear_or_of_no_use_writes_no_more(tmp_path):
  with pytest.raises(Halt, match=r'--max_dollars=0\.001: .*costs about'):
    wave(tmp_path, requests(6), prices=(1.0, 10.0), max_dollars=0.001)
  assert not (tmp_path / 'batch').exists()
  wave(tmp_path, requests(60))
  put(tmp_path / 'batch', 'output', [result(line, lambda body: '') for line in asked(tmp_path / 'batch')])
  endpoint = BatchFiles(str(tmp_path / 'batch'), 'fake-1', {})
  with pytest.raises(Halt, match='60 of the last 60 replies are of no use'):
    ask(FakeRun(tmp_path / 'replies'), 'votes', 'votes', requests(90), endpoint, Canary(0.2, tmp_path))
  assert len(ledger(tmp_path)) == 60 == len(asked(tmp_path / 'batch'))  # all that is paid for is taken up


def test_a_batch_has_its_own_price_and_dialect(tmp_path):
  access = students.Access(batch=str(tmp_path / 'b'))
  endpoint = students.open_hosted('gpt-6-luna', {'max_tokens': 9}, access)
  assert (endpoint.prices, endpoint.params) == ((0.05, 0.25), {'max_tokens': 9})
  endpoint.ask(requests(1), None, lambda request, reason: None)
  endpoint.write(requests(1), 'votes')
  assert asked(tmp_path / 'b')[0]['body']['max_completion_tokens'] == 9
  assert students.open_hosted('claude-haiku-5-5', {}, access).prices is None  # its batches have another format
  with pytest.raises(InputError, match='a batch has a price of its own'):
    students.open_hosted('gpt-6-luna', {'service_tier': 'flex'}, access)
  (tmp_path / 'file').touch()
  with pytest.raises(InputError, match='is a file'):
    BatchFiles(str(tmp_path / 'file'), 'm', {})


def test_a_run_from_files_has_the_texts_and_votes_of_any_other(tmp_path):
  reply.votes = {}
  path, folder = tmp_path / 'run', tmp_path / 'batch'
  vendor = Vendor(folder, reply)
  small = [*CONFIG, '--config.num_combinations=2', '--config.generations=1', f'--run={path}']
  sample = ['evals.sample', *small, '--student=openai:fake-1', f'--batch={folder}']
  grade = ['evals.grade', f'--run={path}', '--grader=openai:fake-1', f'--batch={folder}']
  for command, rounds in ((sample, 2), (grade, 1)):
    for _ in range(rounds):
      run(*command, code=1)
      vendor.run()
      vendor.hand_over()
    run(*command)
  assert len(vendor.paid) == len(set(vendor.paid)) == len(ledger(path)) == 4 * 5
