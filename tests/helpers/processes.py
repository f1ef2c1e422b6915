"""Starts the processes of one run on this machine, as `launch/local.sh` does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from skillmix_jax.metrics import read_rows

ROOT = Path(__file__).parents[2]
HEARTBEAT = 15  # seconds


def start(num: int, devices: int, *arguments: str, logs: Path) -> list[subprocess.Popen]:
  """Python with these arguments, `num` times with so many CPU devices each; process i writes to logs.i."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{probe.getsockname()[1]}'
  processes = []
  for index in range(num):
    environment = os.environ | {
      'PYTHONPATH': str(ROOT),
      'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': str(devices), 'JAX_COORDINATOR_ADDRESS': address,
      'JAX_NUM_PROCESSES': str(num), 'JAX_PROCESS_ID': str(index), 'SKILLMIX_HEARTBEAT_SECONDS': str(HEARTBEAT),
    }  # fmt: skip
    with logs.with_suffix(f'.{index}').open('wb') as log:
      processes.append(
        subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
      )
  return processes


def train(num: int, devices: int, folder: Path, data: Path, *overrides: str) -> list[subprocess.Popen]:
  """`skillmix_jax.train` on configs/tiny.py, nothing held out."""
  return start(
    num, devices, '-m', 'skillmix_jax.train', '--config=configs/tiny.py', f'--config.data.path={data}',
    f'--workdir={folder}', '--config.log_every=1', '--config.checkpoint.every=1000', '--config.held_out.rows=0',
    *overrides, logs=folder,
  )  # fmt: skip


def said(folder: Path, index: int) -> str:
  """What process `index` has written so far."""
  return folder.with_suffix(f'.{index}').read_text(errors='replace')


def wait_for_step(processes: list[subprocess.Popen], folder: Path, step: int, timeout: float = 400):
  """Waits until the run has logged this step; fails where a process ends before."""
  deadline = time.monotonic() + timeout
  while not any(row['step'] >= step for row in read_rows(folder / 'metrics.jsonl')):
    assert time.monotonic() < deadline and all(p.poll() is None for p in processes), said(folder, 0)
    time.sleep(0.05)


def codes(processes: list[subprocess.Popen], timeout: float = 400) -> list[int]:
  """Exit codes as a shell counts them: 134 where the process aborted; kills what is left when the time is over."""
  deadline = time.monotonic() + timeout
  try:
    found = [p.wait(timeout=max(0, deadline - time.monotonic())) for p in processes]
  finally:
    for process in processes:
      if process.poll() is None:
        process.send_signal(signal.SIGKILL)
  return [128 - code if code < 0 else code for code in found]


def losses(folder: Path) -> dict[int, float]:
  """Loss of every logged step."""
  return {row['step']: row['loss'] for row in read_rows(folder / 'metrics.jsonl') if 'loss' in row}
