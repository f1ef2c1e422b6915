"""The commands under kill -9, and at the paper's size. Needs no apt packages; a quarter of an hour."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from evals_test import ledger, run
from helpers.collecting import num_paid
from helpers.fake_openai import start_process

IN_FLIGHT = 64


@pytest.fixture
def paid_server(tmp_path, request):
  """(base URL, file with a line for each paid request) of a server in a process of its own."""
  paid = tmp_path / 'paid.txt'
  server, base_url = start_process(f'--latency={request.param}', f'--paid={paid}', '--reply=evals_test:reply')
  yield base_url, paid
  server.terminate()
  server.wait()


@pytest.mark.parametrize('paid_server', [0.3], indirect=True)
def test_eight_kills_while_sampling_and_grading_cost_what_was_in_flight(paid_server, tmp_path):
  base_url, paid = paid_server
  path, chance = tmp_path / 'run', random.Random(0)
  sample = [
    'evals.sample', '--config=configs/eval_paper.py', '--config.ks=2,3', '--config.num_combinations=50',
    f'--run={path}', '--student=openai:fake-1',
  ]  # fmt: skip
  grade = ['evals.grade', f'--run={path}', '--grader=openai:fake-1']
  env = os.environ | {'OPENAI_BASE_URL': base_url, 'OPENAI_API_KEY': 'sk-planted-0123456789abcdef'}
  texts, lost = 3 * 2 * 50 * 3, 0
  for command, needed in ((sample, 2 * texts), (grade, 5 * texts)):
    for _ in range(4):
      process = subprocess.Popen([sys.executable, '-m', *command], env=env, stderr=subprocess.DEVNULL)
      before, left = num_paid(paid), needed + lost - num_paid(paid)
      while num_paid(paid) < before + chance.randint(1, left // 3) and process.poll() is None:
        time.sleep(0.005)
      process.send_signal(signal.SIGKILL)
      process.wait()
      time.sleep(0.8)  # the server answers what was in flight, and is paid for it
      lost_now = num_paid(paid) - len(ledger(path)) - lost
      assert 0 <= lost_now <= IN_FLIGHT
      lost += lost_now
    run(*command, url=base_url)
  assert num_paid(paid) == 5 * texts + lost
  rows = ledger(path)
  slots = {tuple(row['slot'].values()) for row in rows}
  assert len(rows) == len(slots) == len({row['id'] for row in rows}) == 5 * texts
  run('evals.report', f'--runs={path}')
  cells = json.loads((path / 'metrics.json').read_text())['cells']
  assert all((cell['n'], cell['missing']) == (50, 0) for cell in cells) and len(cells) == 6


@pytest.mark.parametrize('paid_server', [0.2], indirect=True)
def test_the_papers_training_data_takes_less_than_a_quarter_of_an_hour(paid_server, tmp_path):
  base_url, paid = paid_server
  path, began = tmp_path / 'run', time.perf_counter()
  common = [f'--run={path}', '--concurrency=100']
  for module, *flags in (
    ('evals.sample', '--config=configs/eval_generate.py', '--student=openai:fake-1'),
    ('evals.grade', '--grader=openai:fake-1'),
  ):
    env = os.environ | {'OPENAI_BASE_URL': base_url, 'OPENAI_API_KEY': 'sk-planted-0123456789abcdef'}
    subprocess.run([sys.executable, '-m', module, *common, *flags], env=env, check=True)
  run('evals.select', f'--run={path}', f'--out={tmp_path / "d.jsonl"}')
  assert num_paid(paid) == 125_000
  seconds = time.perf_counter() - began
  print(f'125,000 requests in {seconds:.0f} s')
  assert seconds < 900
