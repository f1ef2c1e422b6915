"""doctor: one verdict a line, and an exit code that scripts can act on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def doctor(*arguments: str) -> subprocess.CompletedProcess:
  """Runs the command with two CPU devices."""
  command = [sys.executable, '-m', 'skillmix_jax.doctor', *arguments]
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2'}
  return subprocess.run(command, cwd=Path(__file__).parent.parent, env=environment, capture_output=True, text=True)


def test_a_sound_machine(tmp_path):
  done = doctor('--devices=2', '--processes=1', f'--workdir={tmp_path}')
  assert done.returncode == 0, done.stderr
  lines = [line for line in done.stdout.splitlines() if line.startswith('process')]
  assert all(line.startswith('process 0  ok') for line in lines)
  for part in ('2 x cpu', '1 processes', 'jax 0', 'GB free', 'GB/s', 'all-reduce over 2 devices counts 2'):
    assert any(part in line for line in lines), part
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('argument', 'said'), [('--devices=8', '2 x cpu'), ('--processes=4', '1 processes')])
def test_what_is_not_as_expected_is_wrong(argument, said, tmp_path):
  done = doctor(argument, f'--workdir={tmp_path}')
  assert done.returncode == 1
  (line,) = [line for line in done.stdout.splitlines() if 'WRONG' in line]
  assert said in line and f'expected {argument[-1]}' in line


def test_a_folder_that_is_not_there():
  done = doctor('--workdir=/nowhere')
  assert done.returncode == 2 and done.stderr == 'error: --workdir=/nowhere is no folder\n'
