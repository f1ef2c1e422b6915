"""A training step equals transformers + torch, and does not depend on how the batch is laid out."""

from functools import partial

import jax
import numpy as np
import pytest
import torch
from helpers.from_torch import named_weights, our_config, to_ours, torch_model

from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models.decoder import name_of
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State, measure, train_step

B, T = 16, 24
ADAM = Optimizer(learning_rate=1e-3, warmup_steps=4)


def make_batch(seed: int = 0, rows: int = B) -> dict[str, np.ndarray]:
  """Random tokens in which about a third is trained; the last quarter of the rows is text."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, 160, (rows, T)).astype(np.int32)
  weights = (rng.random((rows, T)) < 0.3).astype(np.float32)
  weights[:, -1] = 0
  is_text = np.arange(rows) >= rows * 3 // 4
  weights[is_text, :-1] = 1
  return {
    'tokens': tokens,
    'targets': np.roll(tokens, -1, axis=1),
    'weights': weights,
    'positions': np.tile(np.arange(T, dtype=np.int32), (rows, 1)),
    'segments': np.ones((rows, T), np.int32),
    'is_text': is_text,
  }


def torch_loss(model, batch, text_weight: float = 1.0):
  """The loss written a second time: boolean masks and means in torch."""
  logits = model(torch.from_numpy(batch['tokens']).long()).logits
  nll = torch.nn.functional.cross_entropy(
    logits.transpose(1, 2), torch.from_numpy(batch['targets']).long(), reduction='none'
  )
  trained, text = torch.from_numpy(batch['weights'] > 0), torch.from_numpy(batch['is_text'])
  return nll[~text][trained[~text]].mean() + text_weight * nll[text][trained[text]].mean()


def run(theirs, mesh_shape, batches, *, accumulation=1, loss=None, packed=False, optimizer=ADAM):
  """(weights as arrays by name, metrics of every step) after training on the batches."""
  cfg = our_config(theirs)
  mesh = make_mesh(*mesh_shape)
  with jax.set_mesh(mesh):
    tx = optimizer.transform(len(batches))
    params = to_ours(theirs, cfg)
    state = State(params, jax.jit(tx.init)(params))
    step = partial(train_step, tx=tx, loss=loss or Loss(chunks=2), accumulation=accumulation, packed=packed)
    step = jax.jit(step, donate_argnums=0)
    history = []
    for batch in batches:
      state, metrics = step(state, place_batch(mesh, batch))
      history.append({name: float(x) for name, x in metrics.items()})
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    return {name_of(path): np.asarray(x) for path, x in leaves}, history


@pytest.mark.parametrize('kind', ['llama', 'mistral'])
def test_loss_equals_transformers_and_torch(kind):
  theirs, batch = torch_model(kind), make_batch()
  _, (metrics,) = run(theirs, (1, 1, 1), [batch], loss=Loss(text_weight=0.3))
  with torch.no_grad():
    expected = torch_loss(theirs, batch, text_weight=0.3).item()
  assert abs(metrics['loss'] - expected) < 1e-5
  assert abs(metrics['loss_dialog'] + 0.3 * metrics['loss_text'] - expected) < 1e-5


def test_twenty_adam_steps_change_every_tensor_as_torch_does():
  theirs = torch_model('mistral')
  before = named_weights(theirs)
  batches = [make_batch(seed) for seed in range(20)]
  ours, history = run(theirs, (1, 4, 1), batches)

  adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
  warmup = torch.optim.lr_scheduler.LambdaLR(adam, lambda i: min(i / 4, 1.0))
  for batch, metrics in zip(batches, history):
    adam.zero_grad()
    loss = torch_loss(theirs, batch)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), float('inf'))
    assert abs(metrics['loss'] - loss.item()) < 1e-4
    np.testing.assert_allclose(metrics['grad_norm'], norm.item(), rtol=1e-4)
    adam.step()
    warmup.step()
  after = named_weights(theirs)
  assert ours.keys() == after.keys()
  for name in after:
    change, expected = ours[name] - before[name], after[name] - before[name]
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(change - expected) / np.linalg.norm(expected) < 1e-3, name


@pytest.mark.parametrize(
  ('mesh_shape', 'accumulation'), [((8, 1, 1), 1), ((2, 2, 2), 1), ((1, 1, 1), 4), ((1, 1, 1), B), ((1, 4, 1), 2)]
)
def test_the_update_does_not_depend_on_devices_or_accumulation(mesh_shape, accumulation):
  theirs, batches = torch_model('llama'), [make_batch(0), make_batch(1)]
  whole, reference = run(theirs, (1, 1, 1), batches)
  pieces, history = run(theirs, mesh_shape, batches, accumulation=accumulation)
  for ours, expected in zip(history, reference):
    np.testing.assert_allclose(list(ours.values()), list(expected.values()), rtol=1e-5)
  for name in whole:
    np.testing.assert_allclose(pieces[name], whole[name], atol=2e-6)


def test_prompt_targets_leave_the_loss_bit_identical():
  theirs, batch = torch_model('llama'), make_batch()
  changed = dict(batch, targets=np.where(batch['weights'] > 0, batch['targets'], 159 - batch['targets']))
  (_, (one,)), (_, (other,)) = (run(theirs, (1, 1, 1), [b]) for b in (batch, changed))
  assert one == other


def test_padding_rows_change_nothing():
  theirs, batch = torch_model('llama'), make_batch()
  padded = {name: np.concatenate([x, np.zeros_like(x[:8])]) for name, x in batch.items()}
  (whole, (one,)), (with_padding, (other,)) = (run(theirs, (1, 8, 1), [b]) for b in (batch, padded))
  np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-6)
  for name in whole:
    np.testing.assert_allclose(with_padding[name], whole[name], atol=1e-7)


def test_a_batch_without_text_is_the_dialog_loss_alone():
  theirs, batch = torch_model('llama'), make_batch()
  batch = {name: x[:8] for name, x in batch.items()}
  _, (metrics,) = run(theirs, (1, 1, 1), [batch])
  np.testing.assert_allclose(metrics['loss'], metrics['loss_dialog'], rtol=1e-6)
  assert np.isnan(metrics['loss_text'])


def test_measure_is_the_same_loss_without_an_update():
  theirs, batch = torch_model('llama'), make_batch()
  _, (metrics,) = run(theirs, (1, 1, 1), [batch])
  mesh = make_mesh(1, 2, 1)
  dialogs = {name: x[:12] for name, x in batch.items()}
  with jax.set_mesh(mesh):
    total, count = jax.jit(partial(measure, loss=Loss(chunks=3)))(
      to_ours(theirs, our_config(theirs)), place_batch(mesh, dialogs)
    )
  np.testing.assert_allclose(total / count, metrics['loss_dialog'], rtol=1e-5)
