"""Two processes find each other; tests/slow/processes_test.py trains in four."""

import os
import subprocess
import sys

import pytest
from helpers.processes import ROOT, codes, said, start


def test_two_processes_see_each_other(tmp_path):
  logs = tmp_path / 'doctor'
  arguments = ('--processes=2', '--devices=4', f'--workdir={tmp_path}')
  processes = start(2, 2, '-m', 'skillmix_jax.doctor', *arguments, logs=logs)
  assert codes(processes) == [0, 0], said(logs, 0)
  for index in (0, 1):
    assert f'process {index} of 2 is on' in said(logs, index)
    assert '4 x cpu, 2 of them here' in said(logs, index)


@pytest.mark.parametrize('given', [{'JAX_NUM_PROCESSES': '2'}, {'JAX_PROCESS_ID': '2'}, {'JAX_PROCESS_ID': 'one'}])
def test_half_a_setting_must_not_become_a_run_of_one(given):
  whole = {'JAX_COORDINATOR_ADDRESS': '127.0.0.1:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'}
  variables = given if 'JAX_NUM_PROCESSES' in given else whole | given
  command = [sys.executable, '-m', 'skillmix_jax.doctor']
  done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith('error: JAX_') and done.stderr.count('\n') == 1, done.stderr
