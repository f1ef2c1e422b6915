"""What XLA makes of the training step, read in the programs that it compiles for GPUs. Needs `make plan-tools CUDNN=1`.

`make slow CUDNN=1` fails where a compiler is missing; without it these tests are skipped.
"""

import pytest
from helpers.plan_tools import CUDA, CUDNN, need, plan


@pytest.fixture
def show(capsys):
  """Prints what plan says of a program, also where pytest keeps the output of tests."""

  def show(said: str):
    first = said.splitlines()[0]
    lines = [line for line in said.splitlines() if line.startswith(('gradients:', 'products', 'sent while'))]
    with capsys.disabled():
      print('\n' + '\n  '.join([first, *lines]))

  return show


@pytest.mark.parametrize('config', ['tiny', 'minimix'])
def test_float32_compiles_for_one_gpu(tmp_path, config):
  need(CUDA)
  answer, _ = plan(tmp_path, config, '1xH100')
  assert answer['fits'] and answer['attention'] == 'xla'


def test_13b_on_4xh100_computes_nothing_twice_and_hides_what_it_sends(tmp_path, show):
  need(CUDA, CUDNN)
  answer, said = plan(tmp_path, 'llama13b', '4xH100')
  show(said)
  program = answer['program']
  assert answer['fits'] and answer['attention'] == 'cudnn'
  assert program['rematerialised_products'] == 0
  assert answer['gradients_reduce_scattered'] and not answer['gradients_all_reduced']
  hidden = {where: program['hidden_bytes'][where] / size for where, size in program['sent_bytes'].items()}
  assert hidden['forward'] > 0.85 and hidden['backward'] > 0.7
  assert program['fused_forwards_in_backward'] == 1  # full rematerialisation: the other tests can tell


@pytest.mark.parametrize(('target', 'fits'), [('4xH100', False), ('8xH100', True)])
def test_the_fused_forward_pass_is_not_repeated_where_its_output_is_kept(tmp_path, show, target, fits):
  need(CUDA, CUDNN)
  answer, said = plan(tmp_path, 'llama13b', target, '--config.model.remat=save_qkv_context')
  show(said)
  assert answer['fits'] == fits
  assert answer['program']['fused_forwards_in_backward'] == 0
