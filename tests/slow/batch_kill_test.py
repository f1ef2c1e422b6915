"""Batch files under kill -9: no result is lost, and nothing is asked twice. Needs no apt packages; five minutes."""

import os
import random
import signal
import subprocess
import sys
import time

from evals_test import ledger, run
from evals_test import reply as answer
from helpers.batches import Vendor

KILLS = 50


def test_fifty_kills_and_a_careless_vendor_cost_nothing(tmp_path):
  """Results come late, split, twice and as errors."""
  answer.votes = {}
  path, folder, chance = tmp_path / 'run', tmp_path / 'batch', random.Random(0)
  vendor = Vendor(folder, answer)
  sample = [
    'evals.sample', '--config=configs/eval_paper.py', '--config.ks=2', '--config.num_combinations=40',
    f'--run={path}', '--student=openai:fake-1', f'--batch={folder}',
  ]  # fmt: skip
  grade = ['evals.grade', f'--run={path}', '--grader=openai:fake-1', f'--batch={folder}']
  texts = 3 * 40 * 3
  stages = ((sample, 2 * texts), (grade, 5 * texts))
  kills = 0
  for command, needed in stages:
    longest = 3.0
    for _ in range(KILLS // 2):
      process = subprocess.Popen([sys.executable, '-m', *command], env=os.environ, stderr=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)  # fmt: skip
      began = time.monotonic()
      until = chance.uniform(0.2, longest)
      while process.poll() is None and time.monotonic() - began < until:
        time.sleep(0.005)
      if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        kills += 1
      else:
        longest = max(0.5, time.monotonic() - began)  # later kills come before it can end
      process.wait()
      vendor.run(errors=0.05)
      vendor.hand_over(share=chance.choice([0.1, 0.3]), twice=0.3)
    for _ in range(30):
      if finished(command):
        break
      vendor.run(errors=0.05)
      vendor.hand_over(twice=0.3)
    assert len(ledger(path)) == needed
  assert kills > KILLS // 3
  assert len(vendor.paid) == 5 * texts == len({name.partition('-')[0] for name in vendor.paid})
  assert len({row['key'] for row in ledger(path)}) == 5 * texts
  run('evals.report', f'--runs={path}')


def finished(command) -> bool:
  done = subprocess.run([sys.executable, '-m', *command], env=os.environ, capture_output=True, text=True)
  assert done.returncode in (0, 1) and 'Traceback' not in done.stderr, done.stderr
  return done.returncode == 0
