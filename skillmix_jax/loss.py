"""Cross entropy of masked tokens, and the two terms that the training loss adds up.

Dims: B batch, T time, M = B*T, D model, V vocab.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import merge_rows, spec, split_rows

LOGITS_BYTES = 10**9  # of a device at one time, where no number of chunks is given


@dataclasses.dataclass(frozen=True)
class Loss:
  """What is minimised.

  Attributes:
    kind: 'two_term' is S_dialog/N_dialog + text_weight * S_text/N_text, 'per_token' is (S_dialog + S_text) /
      (N_dialog + N_text); S sums the cross entropy over the N trained tokens of the whole global batch. Two terms
      with a weight follow the paper's "similarly to the loss design of RLHF" (appendix C.2); the weight 1.0 is ours.
    text_weight: the weight of the second term.
    chunks: pieces of a row, of which one has logits at a time; must divide the row length. None: see fitting_chunks.
  """

  kind: str = 'two_term'
  text_weight: float = 1.0
  chunks: int | None = None

  def __post_init__(self):
    if self.kind not in ('two_term', 'per_token'):
      raise InputError(f'loss.kind={self.kind!r} is not one of two_term, per_token')
    if not self.text_weight >= 0:
      raise InputError(f'loss.text_weight={self.text_weight} must not be negative')
    if self.kind == 'per_token' and self.text_weight != 1.0:
      raise InputError(f'loss.text_weight={self.text_weight} has no meaning with loss.kind=per_token: leave it at 1.0')
    if self.chunks is not None and self.chunks < 1:
      raise InputError(f'loss.chunks={self.chunks} must be at least 1')

  def check_length(self, length: int):
    """Raises InputError where rows of `length` tokens cannot be cut into the chunks."""
    if self.chunks is not None and length % self.chunks:
      raise InputError(f'loss.chunks={self.chunks} must divide the row length of the data, {length}')


def fitting_chunks(rows: int, length: int, vocab_size: int) -> int:
  """Counts the pieces that rows are cut into so that their logits, in float32, take less than 1 GB at a time.

  Args:
    rows, vocab_size: what of them one device has.
    length: tokens of a row, which the pieces divide.
  """
  logits = 4 * rows * length * vocab_size
  divisors = (pieces for pieces in range(1, length + 1) if length % pieces == 0)
  return next((pieces for pieces in divisors if logits < pieces * LOGITS_BYTES), length)


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


def token_losses(hidden_MD, head: Callable, targets_BT, chunks: int | None):
  """Cross entropy of every token, float32 [B, T]; logits exist for one chunk of every row at a time.

  With one chunk the logits are kept for the backward pass; with more they are computed again, which saves
  memory where vocabulary and batch are large and costs one more product with the head.

  Args:
    hidden_MD: in the compute dtype.
    head: gives the output matrix [D, V] in a dtype, whole on every device but for a split vocabulary.
    targets_BT: int32 ids.
    chunks: pieces of a row; None: see fitting_chunks.
  """
  B, T = targets_BT.shape
  # Two views of the same weights: one is multiplied, the gradients of all chunks are added up in the other.
  head_DV, head32_DV = jax.lax.stop_gradient(head(hidden_MD.dtype)), head(jnp.float32)
  if chunks is None:
    sizes = jax.sharding.get_abstract_mesh().shape
    chunks = fitting_chunks(B // (sizes['data'] * sizes['fsdp']), T, head_DV.shape[1] // sizes['tensor'])

  def losses(hidden_MD, targets_M):
    return _cross_entropy(_logits(hidden_MD, head_DV, head32_DV), targets_M)

  if chunks == 1:
    return split_rows(losses(hidden_MD, merge_rows(targets_BT)), B)
  hidden_BTD = split_rows(hidden_MD, B)
  split = lambda x: x.reshape(B, chunks, T // chunks, *x.shape[2:]).swapaxes(0, 1)

  @partial(jax.checkpoint, prevent_cse=False)  # nothing to prevent in a loop, and `head32_DV` is then never made
  def chunk(_, xs):
    hidden, targets = xs
    return None, split_rows(losses(merge_rows(hidden), merge_rows(targets)), B)

  _, losses_CBT = jax.lax.scan(chunk, None, (split(hidden_BTD), split(targets_BT)))
  return losses_CBT.swapaxes(0, 1).reshape(B, T)


def _cross_entropy(logits_MV, targets_M):
  # Picks by comparison, not by index: the vocabulary may be split over devices.
  ids = jax.lax.broadcasted_iota(jnp.int32, logits_MV.shape, 1, out_sharding=spec('batch', 'vocab'))
  at_target = jnp.where(ids == targets_M[:, None], logits_MV, 0).sum(axis=1)
  return jax.nn.logsumexp(logits_MV, axis=1) - at_target


@jax.custom_vjp
def _logits(hidden_MD, head_DV, head32_DV):
  """Logits in float32, of a product in the compute dtype; the head's gradient goes to `head32_DV`, which is not read.

  The gradients are products in the compute dtype as well: JAX's own would multiply the float32 cotangent of the
  logits, at a fraction of a GPU's speed, and round the head's gradient to bfloat16 after each chunk.
  """
  return jnp.matmul(hidden_MD, head_DV, preferred_element_type=jnp.float32, out_sharding=spec('batch', 'vocab'))


def _logits_forward(hidden_MD, head_DV, head32_DV):
  return _logits(hidden_MD, head_DV, head32_DV), (hidden_MD, head_DV)


def _logits_backward(saved, ct_MV):
  hidden_MD, head_DV = saved
  ct_MV = ct_MV.astype(hidden_MD.dtype)
  like = lambda x: jax.typeof(x).sharding.spec
  ct_hidden_MD = jnp.matmul(ct_MV, head_DV.T, out_sharding=like(hidden_MD))
  ct_head_DV = jnp.matmul(hidden_MD.T, ct_MV, preferred_element_type=jnp.float32, out_sharding=like(head_DV))
  return ct_hidden_MD, None, ct_head_DV


_logits.defvjp(_logits_forward, _logits_backward)
