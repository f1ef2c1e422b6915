"""The learning rate is the paper's, step by step, and Adam is torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer


def test_the_papers_schedule_by_hand():
  rates = Optimizer().learning_rates(4000)
  by_hand = {0: 0.0, 1: 2e-5 / 64, 16: 5e-6, 32: 1e-5, 63: 2e-5 * 63 / 64, 64: 2e-5, 65: 2e-5, 3999: 2e-5}
  for step, rate in by_hand.items():
    np.testing.assert_allclose(rates(step), rate, rtol=1e-6)


@pytest.mark.parametrize(
  ('schedule', 'steps', 'warmup'), [('constant', 100, 64), ('linear', 100, 20), ('linear', 9, 0)]
)
def test_every_step_equals_transformers_schedule(schedule, steps, warmup):
  dummy = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
  theirs = (
    transformers.get_constant_schedule_with_warmup(dummy, warmup) if schedule == 'constant'
    else transformers.get_linear_schedule_with_warmup(dummy, warmup, steps)
  )  # fmt: skip
  ours = Optimizer(learning_rate=3e-4, schedule=schedule, warmup_steps=warmup).learning_rates(steps)
  for step in range(steps):
    np.testing.assert_allclose(ours(step), theirs.get_last_lr()[0], rtol=1e-5, atol=1e-10)
    dummy.step()
    theirs.step()


def test_a_run_may_end_within_the_warmup():
  rates = Optimizer(schedule='linear').learning_rates(10)
  np.testing.assert_allclose(rates(9), 2e-5 * 9 / 64, rtol=1e-6)


def test_clipping_scales_the_gradient_to_the_norm():
  tx = Optimizer(learning_rate=1.0, warmup_steps=0, clip=0.5).transform(1)
  grads = {'w': jnp.array([3.0, 4.0])}
  state = tx.update(grads, tx.init(grads), grads)[1]
  moment = next(x for x in jax.tree.leaves(state) if x.shape == (2,))
  np.testing.assert_allclose(moment, 0.1 * np.array([0.3, 0.4]), rtol=1e-5)


def test_muon_moves_block_matrices_by_orthogonal_steps_on_any_mesh():
  cfg = Config('llama', 32, 16, 16, 2, 4, 2, 4, 24, dtype='float32')
  moved = []
  for shape in ((1, 1, 1), (1, 4, 2)):
    with jax.set_mesh(make_mesh(*shape)):
      model = decoder.init(cfg, 0)
      tx = Optimizer(name='muon', learning_rate=1.0, warmup_steps=0).transform(2)
      state = jax.jit(tx.init)(model)
      grads = jax.tree.map(lambda w: w + 0.5, model)
      updates, new_state = jax.jit(tx.update)(grads, state, model)
      for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(new_state), strict=True):
        assert old.sharding.is_equivalent_to(new.sharding, old.ndim)
      moved.append(np.asarray(updates.blocks.gate[...]))
  np.testing.assert_allclose(moved[0], moved[1], atol=1e-4)
  singular = np.linalg.svd(moved[0], compute_uv=False)
  assert singular.max() / singular.min() < 3  # Newton-Schulz drives all singular values towards one value


@pytest.mark.parametrize(
  ('settings', 'said'),
  [
    ({'name': 'sgd'}, 'optimizer.name'), ({'schedule': 'cosine'}, 'optimizer.schedule'), ({'b2': 1.0}, 'b2=1.0'),
    ({'learning_rate': 0.0}, 'learning_rate=0.0'), ({'warmup_steps': -1}, 'warmup_steps=-1'), ({'clip': 0.0}, 'clip'),
    ({'mu_dtype': 'float16'}, 'mu_dtype'), ({'learning_rate': float('nan')}, 'learning_rate=nan'),
  ],
)  # fmt: skip
def test_impossible_optimizers_are_named(settings, said):
  with pytest.raises(InputError, match=said):
    Optimizer(**settings)
