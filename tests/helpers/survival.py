"""Starts, watches and kills real training processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from skillmix_jax.metrics import read_rows

TIMED = ('tokens_per_second', 'trained_tokens_per_second', 'mfu')


def start(folder: Path, data: Path, *overrides: str) -> subprocess.Popen:
  """`python -m skillmix_jax.train` on configs/tiny.py with 2 CPU devices, in a process group of its own."""
  command = [
    sys.executable, '-m', 'skillmix_jax.train', '--config=configs/tiny.py', f'--config.data.path={data}',
    f'--workdir={folder}', '--config.log_every=1', '--config.steps=300', '--config.checkpoint.every=25',
    '--config.held_out.every=100', *overrides,
  ]  # fmt: skip
  environment = os.environ | {'JAX_NUM_CPU_DEVICES': '2', 'JAX_PLATFORMS': 'cpu'}
  root = Path(__file__).parents[2]
  return subprocess.Popen(
    command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
  )  # fmt: skip


def wait_for(process: subprocess.Popen, ready, timeout: float = 120):
  """Waits until `ready()` or the end of the process."""
  deadline = time.monotonic() + timeout
  while not ready() and process.poll() is None:
    assert time.monotonic() < deadline, 'the process did not get there'
    time.sleep(0.002)


def reached(folder: Path, step: int):
  """A condition: the run has logged this step."""
  return lambda: any(row['step'] >= step for row in read_rows(folder / 'metrics.jsonl'))


def is_saving(folder: Path):
  """A condition: a checkpoint is half written."""
  return lambda: any((folder / 'checkpoints').glob('*orbax-checkpoint-tmp*'))


def end(process: subprocess.Popen, number: signal.Signals) -> tuple[int, str]:
  """Sends a signal to the whole group; returns exit code and stderr."""
  if process.poll() is None:
    os.killpg(process.pid, number)
  _, said = process.communicate(timeout=120)
  return process.returncode, said


def numbers(folder: Path) -> dict[tuple[int, str], float]:
  """Every logged number but the timings, by (step, name)."""
  rows = read_rows(folder / 'metrics.jsonl')
  return {(row['step'], name): x for row in rows for name, x in row.items() if name not in TIMED}


def finish(folder: Path, data: Path) -> dict[tuple[int, str], float]:
  """Runs to the end."""
  _, said = (process := start(folder, data)).communicate(timeout=300)
  assert process.returncode == 0, said
  return numbers(folder)
