"""One training step and one measurement, as pure functions of arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from skillmix_jax.loss import Loss, counts, scale_weights, token_losses
from skillmix_jax.mesh import spec
from skillmix_jax.models.adapters import Trained, join
from skillmix_jax.models.decoder import Decoder


class State(NamedTuple):
  """All that a training step changes; the optimizer's count says which step it is."""

  params: Trained
  opt: optax.OptState


def _losses(params: Decoder, batch: dict, loss: Loss, packed: bool):
  """Cross entropy of each target, float32 [B, T]."""
  segments = batch['segments'] if packed else None
  hidden_MD = params(batch['tokens'], batch['positions'], segments)
  return token_losses(hidden_MD, params.head, batch['targets'], loss.chunks)


def _split(batch: dict, pieces: int) -> dict:
  """Reshapes [B, ...] to [pieces, B/pieces, ...]; every device keeps its own rows, so nothing moves."""

  def split(x):
    shape = (x.shape[0] // pieces, pieces, *x.shape[1:])
    return x.reshape(shape, out_sharding=spec('batch', *[None] * x.ndim)).swapaxes(0, 1)

  return jax.tree.map(split, batch)


def train_step(
  state: State, batch: dict, frozen: Decoder | None = None, *, tx: optax.GradientTransformation, loss: Loss,
  accumulation: int, packed: bool,
) -> tuple[State, dict]:  # fmt: skip
  """Makes one update from one global batch.

  Args:
    state: weights that train, and optimizer state.
    batch: see data/mixture.py; rows split over (data, fsdp).
    frozen: what computes with them and has no gradient, see models/adapters.py.
    tx: the optimizer.
    loss: what is minimised.
    accumulation: number of pieces whose gradients are added up; the loss is divided once, by the counts of the
      whole batch, so any number gives the same update.
    packed: rows hold several segments.

  Returns:
    The new state and float32 scalars: loss, loss_dialog, loss_text (means over trained tokens; NaN where the batch
    has no such token), grad_norm (before clipping), trained_tokens.
  """
  scaled = scale_weights(loss, batch['weights'], batch['is_text'])

  def objective(params, piece):
    losses_BT = _losses(join(params, frozen), piece, loss, packed)
    per_row = (losses_BT * piece['weights']).sum(axis=1)
    text = jnp.where(piece['is_text'], per_row, 0).sum()
    return (losses_BT * piece['scaled']).sum(), (per_row.sum() - text, text)

  gradient = jax.value_and_grad(objective, has_aux=True)
  batch = batch | {'scaled': scaled}
  if accumulation == 1:
    (value, sums), grads = gradient(state.params, batch)
  else:

    def add(total, piece):
      return jax.tree.map(jnp.add, total, gradient(state.params, piece)), None

    zeros = jax.tree.map(jnp.zeros_like, ((jnp.float32(0), (jnp.float32(0),) * 2), state.params))
    ((value, sums), grads), _ = jax.lax.scan(add, zeros, _split(batch, accumulation))

  num_dialog, num_text = counts(batch['weights'], batch['is_text'])
  updates, opt = tx.update(grads, state.opt, state.params)
  metrics = {
    'loss': value,
    'loss_dialog': sums[0] / num_dialog,
    'loss_text': sums[1] / num_text,
    'grad_norm': optax.tree.norm(grads),
    'trained_tokens': num_dialog + num_text,
  }
  return State(optax.apply_updates(state.params, updates), opt), metrics


def measure(params: Decoder, batch: dict, *, loss: Loss) -> tuple[jax.Array, jax.Array]:
  """Sums the cross entropy over the trained tokens of a batch of unpacked rows, and counts these tokens."""
  return (_losses(params, batch, loss, packed=False) * batch['weights']).sum(), batch['weights'].sum()
