"""Cross entropy of masked tokens, and the two terms that the training loss adds up.

Dims: B batch, T time, M = B*T, D model, V vocab.
"""

import dataclasses

import jax
import jax.numpy as jnp

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import spec


@dataclasses.dataclass(frozen=True)
class Loss:
  """What is minimised.

  Attributes:
    kind: 'two_term' is S_dialog/N_dialog + text_weight * S_text/N_text, 'per_token' is (S_dialog + S_text) /
      (N_dialog + N_text); S sums the cross entropy over the N trained tokens of the whole global batch. Two terms
      with a weight follow the paper's "similarly to the loss design of RLHF" (appendix C.2); the weight 1.0 is ours.
    text_weight: the weight of the second term.
    chunks: pieces of a row whose logits exist at one time; must divide the row length.
  """

  kind: str = 'two_term'
  text_weight: float = 1.0
  chunks: int = 8

  def __post_init__(self):
    if self.kind not in ('two_term', 'per_token'):
      raise InputError(f'loss.kind={self.kind!r} is not one of two_term, per_token')
    if not self.text_weight >= 0:
      raise InputError(f'loss.text_weight={self.text_weight} must not be negative')
    if self.kind == 'per_token' and self.text_weight != 1.0:
      raise InputError(f'loss.text_weight={self.text_weight} has no meaning with loss.kind=per_token: leave it at 1.0')
    if self.chunks < 1:
      raise InputError(f'loss.chunks={self.chunks} must be at least 1')

  def check_length(self, length: int):
    """Raises InputError where rows of `length` tokens cannot be cut into the chunks."""
    if length % self.chunks:
      raise InputError(f'loss.chunks={self.chunks} must divide the row length of the data, {length}')


def counts(weights_BT, is_text_B):
  """Numbers of trained tokens (dialogs, text) in a batch, float32."""
  per_row = weights_BT.sum(axis=1)
  text = jnp.where(is_text_B, per_row, 0).sum()
  return per_row.sum() - text, text


def scale_weights(loss: Loss, weights_BT, is_text_B):
  """Per-token factors [B, T] that turn a plain sum of cross entropies into the loss of the whole batch.

  They are made of the counts of the whole global batch, so the sum may be taken in any pieces: devices and
  accumulation steps add up, and nothing is averaged twice.
  """
  dialog, text = counts(weights_BT, is_text_B)
  if loss.kind == 'per_token':
    return weights_BT / jnp.maximum(dialog + text, 1)
  factor_B = jnp.where(is_text_B, loss.text_weight / jnp.maximum(text, 1), 1 / jnp.maximum(dialog, 1))
  return weights_BT * factor_B[:, None]


def token_losses(hidden_MD, head_DV, targets_BT, chunks: int):
  """Cross entropy of every token, float32 [B, T]; logits exist for one chunk of every row at a time.

  With one chunk the logits are kept for the backward pass; with more they are computed again, which saves
  memory where vocabulary and batch are large and costs one more product with the head.
  """
  B, T = targets_BT.shape
  D = hidden_MD.shape[1]
  if chunks == 1:
    return _cross_entropy(hidden_MD, head_DV, targets_BT.reshape(-1)).reshape(B, T)
  hidden_BTD = hidden_MD.reshape(B, T, D)
  split = lambda x: x.reshape(B, chunks, T // chunks, *x.shape[2:]).swapaxes(0, 1)

  @jax.checkpoint
  def chunk(_, xs):
    hidden, targets = xs
    return None, _cross_entropy(hidden.reshape(-1, D), head_DV, targets.reshape(-1)).reshape(targets.shape)

  _, losses = jax.lax.scan(chunk, None, (split(hidden_BTD), split(targets_BT)))
  return losses.swapaxes(0, 1).reshape(B, T)


def _cross_entropy(hidden_MD, head_DV, targets_M):
  logits_MV = jnp.matmul(hidden_MD, head_DV, preferred_element_type=jnp.float32, out_sharding=spec('batch', 'vocab'))
  # Picks by comparison, not by index: the vocabulary may be split over devices.
  ids = jax.lax.broadcasted_iota(jnp.int32, logits_MV.shape, 1, out_sharding=spec('batch', 'vocab'))
  at_target = jnp.where(ids == targets_M[:, None], logits_MV, 0).sum(axis=1)
  return jax.nn.logsumexp(logits_MV, axis=1) - at_target
