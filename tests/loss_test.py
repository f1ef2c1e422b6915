"""Masked cross entropy, its chunks, and the two terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.jaxprs import equations
from jax.sharding import NamedSharding

from skillmix_jax.errors import InputError
from skillmix_jax.loss import Loss, fitting_chunks, scale_weights, token_losses
from skillmix_jax.mesh import make_mesh, spec

B, T, D, V = 4, 12, 16, 40


def arrays():
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(B * T, D)).astype(np.float32)
  head = rng.normal(size=(D, V)).astype(np.float32)
  targets = rng.integers(0, V, (B, T)).astype(np.int32)
  weights = (rng.random((B, T)) < 0.5).astype(np.float32)
  return hidden, head, targets, weights, np.array([False, False, True, True])


@pytest.mark.parametrize('chunks', [1, 3, 12])
def test_losses_and_gradients_equal_torch(chunks):
  hidden, head, targets, weights, _ = arrays()
  with jax.set_mesh(make_mesh(1, 1, 1)):
    of = lambda hidden, head: token_losses(hidden, head.astype, targets, chunks)
    total = lambda hidden, head: (of(hidden, head) * weights).sum()
    losses = jax.jit(of)(hidden, head)
    grads = jax.jit(jax.grad(total, argnums=(0, 1)))(hidden, head)
  inputs = [torch.tensor(x, requires_grad=True) for x in (hidden, head)]
  logits = inputs[0] @ inputs[1]
  expected = torch.nn.functional.cross_entropy(logits, torch.tensor(targets).long().reshape(-1), reduction='none')
  np.testing.assert_allclose(losses.reshape(-1), expected.detach(), atol=1e-5)
  (expected * torch.tensor(weights).reshape(-1)).sum().backward()
  for ours, theirs in zip(grads, inputs):
    np.testing.assert_allclose(ours, theirs.grad, atol=1e-5)


@pytest.mark.parametrize('chunks', [1, 8, 32])
def test_the_heads_gradient_in_bfloat16_loses_nothing_to_its_chunks(chunks):
  rng = np.random.default_rng(0)
  hidden = jnp.asarray(rng.normal(size=(8 * 256, D)), jnp.bfloat16)
  head = np.asarray(jnp.asarray(rng.normal(size=(D, V)) * 0.1, jnp.bfloat16), np.float32)
  targets = rng.integers(0, V, (8, 256)).astype(np.int32)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced = jax.jit(jax.grad(lambda head: token_losses(hidden, head.astype, targets, chunks).sum())).trace(head)
    ours = np.asarray(traced.lower().compile()(head), np.float64)
  exact = torch.tensor(head, dtype=torch.float64, requires_grad=True)
  logits = torch.tensor(np.asarray(hidden, np.float64)) @ exact
  torch.nn.functional.cross_entropy(logits, torch.tensor(targets).long().reshape(-1), reduction='sum').backward()
  expected = exact.grad.numpy()
  assert np.linalg.norm(ours - expected) / np.linalg.norm(expected) < 0.0012  # one rounding of the logits' cotangent
  products = [eqn for eqn in equations(traced.jaxpr.jaxpr) if eqn.primitive.name == 'dot_general']
  assert {x.aval.dtype.name for eqn in products for x in eqn.invars} == {'bfloat16'}


def test_two_terms_are_means_over_their_own_tokens():
  _, _, _, weights, is_text = arrays()
  scaled = scale_weights(Loss(text_weight=0.5), weights, is_text)
  np.testing.assert_allclose(scaled[:2].sum(), 1, rtol=1e-6)
  np.testing.assert_allclose(scaled[2:].sum(), 0.5, rtol=1e-6)
  assert len(np.unique(np.asarray(scaled[:2]))) == 2  # 0 and 1/N


def test_per_token_weighs_every_trained_token_alike():
  _, _, _, weights, is_text = arrays()
  scaled = scale_weights(Loss(kind='per_token'), weights, is_text)
  np.testing.assert_allclose(scaled, weights / weights.sum(), rtol=1e-6)


@pytest.mark.parametrize(
  ('settings', 'said'),
  [
    ({'kind': 'mean'}, 'loss.kind'), ({'text_weight': -1.0}, 'text_weight'), ({'chunks': 0}, 'chunks'),
    ({'kind': 'per_token', 'text_weight': 0.1}, 'no meaning'), ({'text_weight': float('nan')}, 'text_weight'),
  ],
)  # fmt: skip
def test_impossible_losses_are_named(settings, said):
  with pytest.raises(InputError, match=said):
    Loss(**settings)


def test_chunks_that_do_not_divide_a_row_are_refused():
  with pytest.raises(InputError, match='must divide the row length of the data, 100'):
    Loss(chunks=8).check_length(100)


@pytest.mark.parametrize(
  ('rows', 'length', 'vocab_size', 'pieces'),
  [(80, 1024, 152_064, 64), (20, 1024, 32_000, 4), (10, 1024, 32_000, 2), (1, 1024, 32_000, 1), (80, 192, 152_064, 12)],
)
def test_rows_are_cut_into_the_fewest_pieces_with_logits_below_1_gb(rows, length, vocab_size, pieces):
  assert fitting_chunks(rows, length, vocab_size) == pieces
  logits = lambda pieces: 4 * rows * length // pieces * vocab_size
  divisors = [n for n in range(1, length + 1) if length % n == 0]
  assert next(n for n in divisors if logits(n) < 1e9) == pieces


def test_a_batch_too_wide_for_any_pieces_is_cut_into_single_tokens():
  assert fitting_chunks(4096, 12, 152_064) == 12


@pytest.mark.parametrize('mesh_shape', [(1, 1, 1), (2, 2, 2)])
def test_the_logits_of_a_device_stay_below_1_gb_with_152k_tokens(mesh_shape):
  mesh, vocab = make_mesh(*mesh_shape), 152_064
  like = lambda shape, dtype, *names: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec(*names)))
  hidden, head = like((80 * 1024, D), 'bfloat16', 'batch', None), like((D, vocab), 'float32', None, 'vocab')
  targets = like((80, 1024), 'int32', 'batch', None)
  with jax.set_mesh(mesh):
    total = lambda hidden, head, targets: token_losses(hidden, head.astype, targets, None).sum()
    traced = jax.jit(jax.grad(total, argnums=(0, 1))).trace(hidden, head, targets)
  sizes = [
    4 * np.prod(x.aval.sharding.shard_shape(x.aval.shape))
    for eqn in equations(traced.jaxpr.jaxpr) for x in eqn.outvars
    if x.aval.shape[-1:] == (vocab,) and D not in x.aval.shape
  ]  # fmt: skip
  assert 5e8 < max(sizes) < 1e9
