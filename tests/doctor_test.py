"""doctor: one verdict a line, and an exit code that scripts can act on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skillmix_jax import traps


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
  """Runs the command with two CPU devices."""
  command = [sys.executable, '-m', 'skillmix_jax.doctor', *arguments]
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2'} | variables
  return subprocess.run(command, cwd=Path(__file__).parent.parent, env=environment, capture_output=True, text=True)


def test_a_sound_machine(tmp_path):
  done = doctor('--devices=2', '--processes=1', f'--workdir={tmp_path}')
  assert done.returncode == 0, done.stderr
  lines = [line for line in done.stdout.splitlines() if line.startswith('process')]
  assert all(line.startswith('process 0  ok') for line in lines)
  for part in ('2 x cpu', '1 processes', 'jax 0', 'GB free', 'GB/s', 'cores', 'all-reduce over 2 devices counts 2'):
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
  assert done.returncode == 2 and done.stderr == 'error: --workdir=/nowhere is not a folder\n'


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path):
  well, said = traps.write_speed(tmp_path / 'gone')
  assert not well and said == f'nothing can be saved in {tmp_path}/gone: No such file or directory'


def test_traps_of_the_machine_are_verdicts_too(tmp_path):
  fractions = {'XLA_CLIENT_MEM_FRACTION': '.9', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '.8'}
  done = doctor('--billions=1e6', f'--workdir={tmp_path}', **fractions)
  assert done.returncode == 1
  both, disk = [line for line in done.stdout.splitlines() if 'WRONG' in line]
  assert 'are both set' in both and both.endswith('unset XLA_PYTHON_CLIENT_MEM_FRACTION')
  assert '36000000 GB at 1e+06 billion weights' in disk


NEW, OLD = 'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'
CUDA12 = {'jax-cuda12-plugin': '0.10.2', 'nvidia-cublas-cu12': '12.9.3', 'nvidia-cudnn-cu12': '9.28.0'}
CUDA13 = {'jax-cuda13-plugin': '0.10.2', 'nvidia-cudnn-cu13': '9.28.0', 'nvidia-cuda-runtime': '13.0.1'}


@pytest.mark.parametrize(
  ('verdict', 'well', 'said'),
  [
    (traps.memory_fraction({}), True, 'the commands take 0.95'),
    (traps.memory_fraction({OLD: '.8'}), True, f'{OLD}=.8 of each'),
    (traps.memory_fraction({NEW: '.9', OLD: '.8'}), False, f'unset {OLD}'),
    (traps.memory_fraction({NEW: '.9', OLD: ''}), True, f'{NEW}=.9 of each'),
    (traps.cores(8, 64, under_slurm=True), True, '8 of 64 cores'),
    (traps.cores(1, 64, under_slurm=True), False, 'SRUN_CPUS_PER_TASK'),
    (traps.cores(1, 64, under_slurm=False), False, 'taskset'),
    (traps.cores(1, 1, under_slurm=False), True, '1 of 1 cores'),
    (traps.cuda_versions({'jax': '0.10.2'}), True, 'not installed'),
    (traps.cuda_versions(CUDA12), True, 'CUDA 12'),
    (traps.cuda_versions(CUDA13), True, 'CUDA 13'),
    (traps.cuda_versions(CUDA12 | {'nvidia-nccl-cu13': '2.28'}), False, 'CUDA 13: nvidia-nccl-cu13'),
    (traps.cuda_versions(CUDA12 | {'nvidia-cuda-runtime': '13.0.1'}), False, 'packages for 2 CUDAs'),
    (traps.cudnn(CUDA12, in_system=False), True, 'nvidia-cudnn-cu12 9.28.0'),
    (traps.cudnn({}, in_system=True), True, 'of the system'),
    (traps.cudnn({'nvidia-cublas-cu12': '12.9.3'}, in_system=False), False, 'model.attention=xla'),
    (traps.disk(400 * 10**9, Path('runs'), 13, keep=1), True, 'take 312 GB'),  # twice the 156 GB of 13B weights
    (traps.disk(400 * 10**9, Path('runs'), 13, keep=2), False, 'take 468 GB'),
    (traps.disk(240 * 10**9, Path('runs'), None, keep=1), True, '10.00 billion weights'),
  ],
)
def test_a_trap_is_seen_and_nothing_else(verdict, well, said):
  assert verdict[0] == well and said in verdict[1] and '\n' not in verdict[1]
