"""The fused TPU kernel: what the default tests leave out, and programs by the TPU compiler (make plan-tools)."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from splash_test import compare_with_xla, interpreted  # noqa: F401

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / '.venv-plan' / 'bin' / 'python'


@pytest.fixture
def compiler():
  """Skips where the tools are missing, and fails where they were promised (CUDNN=1)."""
  if not PYTHON.exists():
    assert os.environ.get('CUDNN') != '1', f'{PYTHON} is not there'
    pytest.skip('.venv-plan is not there: make plan-tools')


@pytest.mark.parametrize(
  ('num_heads', 'num_kv_heads', 'segmented', 'window'),
  [(2, 2, False, None), (4, 2, True, None), (4, 2, False, 150), (2, 1, False, 1), (2, 2, True, 129)],
)
def test_splash_equals_xla(interpreted, num_heads, num_kv_heads, segmented, window):  # noqa: F811
  compare_with_xla(num_heads, num_kv_heads, segmented=segmented, window=window, mesh_shape=(1, 1, 1))


def plan(tmp_path, config: str, target: str, *overrides: str) -> dict:
  """The answer to programs."""
  path = tmp_path / 'plan.json'
  command = [PYTHON, '-m', 'skillmix_jax.plan', f'--config=configs/{config}.py', f'--target={target}', f'--json={path}']
  done = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, timeout=1800)
  assert done.returncode == 0, done.stderr
  answer = json.loads(path.read_text())
  assert answer['method'] == 'compiled'
  return answer | {'gib': answer['peak_bytes_per_device'] / 2**30}


@pytest.mark.parametrize(
  ('config', 'target', 'overrides'),
  [
    ('mistral7b', 'v5e-16', ()),  # grouped queries
    ('llama13b', 'v5p-16', ()),
    ('mistral7b', 'v5e-16', ('--config.data.packing=True', '--config.model.window=512')),
    ('llama13b', 'v5p-16', ('--config.mesh.tensor=2', '--config.model.remat=save_qkv_context')),
  ],
)
def test_two_layers_compile_with_splash_and_take_less_than_with_xla(compiler, tmp_path, config, target, overrides):
  overrides = ('--config.model.init_from=', '--config.model.num_layers=2', *overrides)
  splash = plan(tmp_path, config, target, *overrides)
  xla = plan(tmp_path, config, target, *overrides, '--config.model.attention=xla')
  print(f'{config} {target} {overrides}: splash {splash["gib"]:.2f} GiB per device, xla {xla["gib"]:.2f}')
  assert splash['fits'] and splash['attention'] == 'splash' and xla['attention'] == 'xla'
  assert splash['peak_bytes_per_device'] < xla['peak_bytes_per_device']


@pytest.mark.parametrize(('config', 'target', 'most'), [('mistral7b', 'v5e-16', 10.5), ('llama13b', 'v5p-16', 34.7)])
def test_the_real_sizes_fit_with_splash(compiler, tmp_path, config, target, most):
  answer = plan(tmp_path, config, target)
  print(f'{config} {target}: {answer["gib"]:.2f} GiB per device in {answer["compile_seconds"]:.0f} s')
  assert answer['fits'] and answer['attention'] == 'splash' and answer['gib'] < most
  assert sum(answer['estimate_bytes_per_device'].values()) == pytest.approx(answer['peak_bytes_per_device'], rel=0.10)
