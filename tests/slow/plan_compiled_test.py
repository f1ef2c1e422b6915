"""plan with XLA's compilers for hardware that is not here. Needs `make plan-tools`; no apt packages."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / '.venv-plan' / 'bin' / 'python'
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason='.venv-plan is not there: make plan-tools')


def plan(tmp_path, config: str, target: str, *overrides: str) -> dict:
  """The answer to programs."""
  path = tmp_path / 'plan.json'
  command = [PYTHON, '-m', 'skillmix_jax.plan', f'--config=configs/{config}.py', f'--target={target}', f'--json={path}']
  done = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, timeout=900)
  assert done.returncode == 0, done.stderr
  assert done.stderr == '', 'the compilers say nothing around the answer'
  answer = json.loads(path.read_text())
  assert answer['method'] == 'compiled'
  guess = sum(answer['estimate_bytes_per_device'].values())
  assert guess == pytest.approx(answer['peak_bytes_per_device'], rel=0.10)
  return answer | {'gib': answer['peak_bytes_per_device'] / 2**30}


def test_13b_fits_4xh100_and_its_gradients_are_reduce_scattered(tmp_path):
  answer = plan(tmp_path, 'llama13b', '4xH100', '--config.model.attention=xla')
  assert answer['fits'] and 55 < answer['gib'] < 75 and answer['attention'] == 'xla'
  assert answer['gradients_reduce_scattered']


def test_7b_on_4xh100(tmp_path):
  answer = plan(tmp_path, 'mistral7b', '4xH100')
  assert answer['fits'] and 34 < answer['gib'] < 50


@pytest.mark.parametrize(('target', 'enough'), [('2xH100', '4xH100'), ('v5e-8', 'v5e-32')])
def test_where_13b_does_not_fit(tmp_path, target, enough):
  answer = plan(tmp_path, 'llama13b', target)
  assert not answer['fits'] and answer['change']['target'] == enough


@pytest.mark.parametrize(('target', 'most'), [('v5p-16', 60), ('v5e-32', 14)])
def test_where_13b_fits_on_tpus(tmp_path, target, most):
  answer = plan(tmp_path, 'llama13b', target)
  assert answer['fits'] and answer['gib'] < most


def test_the_change_that_is_named_was_compiled(tmp_path):
  answer = plan(tmp_path, 'mistral7b', '1xH200')
  assert not answer['fits'] and answer['change']['method'] == 'compiled'
  assert answer['change']['peak_bytes_per_device'] <= answer['budget_bytes_per_device']
