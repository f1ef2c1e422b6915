"""The rotary embedding (Su et al., arXiv:2104.09864), and how a model stretches it to longer rows.

Dims: B batch, T time, N heads, H head.
"""

import dataclasses
import math

import jax.numpy as jnp

from skillmix_jax.errors import InputError

KINDS = ('llama3',)


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """Rotary frequencies made lower, for longer rows than the model was first trained on.

  Attributes:
    kind: 'llama3' divides by `factor` the frequencies that turn fewer than `low` times in `original` tokens, leaves
      those that turn more than `high` times, and goes linearly from one to the other in between.
    factor: how much longer rows became.
    low, high: turns.
    original: longest row before.
  """

  kind: str
  factor: float
  low: float
  high: float
  original: int

  def __post_init__(self):
    if self.kind not in KINDS:
      raise InputError(f'model.rope_scaling.kind={self.kind!r} is not one of {", ".join(KINDS)}')
    if not (self.factor >= 1 and 0 < self.low < self.high and self.original >= 1):
      raise InputError(
        f'model.rope_scaling: factor={self.factor} and original={self.original} must be at least 1, '
        f'low={self.low} above 0 and high={self.high} above low'
      )

  def scale(self, frequencies_H):
    """The frequencies in place of these."""
    turns = self.original * frequencies_H / (2 * math.pi)
    kept = (turns - self.low) / (self.high - self.low)
    return frequencies_H * jnp.clip(1 / self.factor + (1 - 1 / self.factor) * kept, 1 / self.factor, 1)


def rotations(positions_BT, head_dim: int, theta: float, scaling: RopeScaling | None = None):
  """Cosines and sines [B, T, 1, H/2] in float32."""
  frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  if scaling is not None:
    frequencies = scaling.scale(frequencies)
  angles = positions_BT[:, :, None, None].astype(jnp.float32) * frequencies
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x_BTNH, cos, sin):
  """Turns the pairs (i, i + H/2): the half-split layout of Hugging Face weights."""
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x_BTNH.dtype)
