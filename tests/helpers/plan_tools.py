"""`plan` with XLA's compilers for hardware that is not here: `make plan-tools`, with CUDNN=1 also for cuDNN."""

import functools
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / '.venv-plan' / 'bin' / 'python'
CUDA, TPU, CUDNN = 'jax_plugins.xla_cuda12', 'libtpu', 'nvidia.cudnn'


@functools.cache
def _installed(module: str) -> bool:
  return PYTHON.exists() and subprocess.run([PYTHON, '-c', f'import {module}'], capture_output=True).returncode == 0


def need(*modules: str):
  """Skips the test where a compiler is missing, or fails it where the environment says CUDNN=1: all are there."""
  missing = [module for module in modules if not _installed(module)]
  if missing:
    said = f'.venv-plan has no {", ".join(missing)}: make plan-tools CUDNN=1'
    pytest.fail(said) if os.environ.get('CUDNN') else pytest.skip(said)


def plan(folder: Path, config: str, target: str, *overrides: str) -> tuple[dict, str]:
  """The answer to programs, with the peak as 'gib', and the one to people."""
  path = folder / 'plan.json'
  command = [PYTHON, '-m', 'skillmix_jax.plan', f'--config=configs/{config}.py', f'--target={target}', f'--json={path}']
  done = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, timeout=900)
  assert done.returncode == 0, done.stderr
  assert not done.stderr, done.stderr  # the compilers say nothing around the answer
  answer = json.loads(path.read_text())
  assert answer['method'] == 'compiled'
  return answer | {'gib': answer['peak_bytes_per_device'] / 2**30}, done.stdout
