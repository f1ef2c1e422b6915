"""The fused TPU kernel: what the default tests leave out, and programs by the TPU compiler (make plan-tools)."""

import pytest
from helpers.plan_tools import TPU, need, plan
from splash_test import compare_with_xla, interpreted  # noqa: F401


@pytest.mark.parametrize(
  ('num_heads', 'num_kv_heads', 'segmented', 'window'),
  [(2, 2, False, None), (4, 2, True, None), (4, 2, False, 150), (2, 1, False, 1), (2, 2, True, 129)],
)
def test_splash_equals_xla(interpreted, num_heads, num_kv_heads, segmented, window):  # noqa: F811
  compare_with_xla(num_heads, num_kv_heads, segmented=segmented, window=window, mesh_shape=(1, 1, 1))


@pytest.mark.parametrize(
  ('config', 'target', 'overrides'),
  [
    ('mistral7b', 'v5e-16', ()),  # grouped queries
    ('llama13b', 'v5p-16', ()),
    ('mistral7b', 'v5e-16', ('--config.data.packing=True', '--config.model.window=512')),
    ('llama13b', 'v5p-16', ('--config.mesh.tensor=2', '--config.model.remat=save_qkv_context')),
  ],
)
def test_two_layers_compile_with_splash_and_take_less_than_with_xla(tmp_path, config, target, overrides):
  need(TPU)
  overrides = ('--config.model.init_from=', '--config.model.num_layers=2', *overrides)
  splash, _ = plan(tmp_path, config, target, *overrides)
  xla, _ = plan(tmp_path, config, target, *overrides, '--config.model.attention=xla')
  print(f'{config} {target} {overrides}: splash {splash["gib"]:.2f} GiB per device, xla {xla["gib"]:.2f}')
  assert splash['fits'] and splash['attention'] == 'splash' and xla['attention'] == 'xla'
  assert splash['peak_bytes_per_device'] < xla['peak_bytes_per_device']


@pytest.mark.parametrize(('config', 'target', 'most'), [('mistral7b', 'v5e-16', 10.5), ('llama13b', 'v5p-16', 34.7)])
def test_the_real_sizes_fit_with_splash(tmp_path, config, target, most):
  need(TPU)
  answer, _ = plan(tmp_path, config, target)
  print(f'{config} {target}: {answer["gib"]:.2f} GiB per device in {answer["compile_seconds"]:.0f} s')
  assert answer['fits'] and answer['attention'] == 'splash' and answer['gib'] < most
  assert sum(answer['estimate_bytes_per_device'].values()) == pytest.approx(answer['peak_bytes_per_device'], rel=0.10)
