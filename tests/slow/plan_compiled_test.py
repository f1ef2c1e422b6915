"""plan with XLA's compilers for hardware that is not here. Needs `make plan-tools`; no apt packages."""

import pytest
from helpers.plan_tools import CUDA, TPU, need
from helpers.plan_tools import plan as run_plan


def plan(tmp_path, config: str, target: str, *overrides: str) -> dict:
  """The answer to programs, which the arithmetic must agree with."""
  need(TPU if target.startswith('v') else CUDA)
  answer, _ = run_plan(tmp_path, config, target, *overrides)
  guess = sum(answer['estimate_bytes_per_device'].values())
  assert guess == pytest.approx(answer['peak_bytes_per_device'], rel=0.10)
  return answer


def test_13b_fits_4xh100_and_its_gradients_are_reduce_scattered(tmp_path):
  answer = plan(tmp_path, 'llama13b', '4xH100', '--config.model.attention=xla')
  assert answer['fits'] and 55 < answer['gib'] < 75 and answer['attention'] == 'xla'
  assert answer['gradients_reduce_scattered']


def test_7b_on_4xh100(tmp_path):
  answer = plan(tmp_path, 'mistral7b', '4xH100')
  assert answer['fits'] and 34 < answer['gib'] < 50


def test_7b_with_adapters_fits_a_card_of_24_gb(tmp_path):
  answer = plan(tmp_path, 'mistral7b', '1xRTX4090', '--config.model.lora.rank=16', '--config.accumulation=16')
  assert answer['fits'] and 13.7 < answer['gib'] < 20


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
