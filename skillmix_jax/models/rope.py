"""The rotary embedding (Su et al., arXiv:2104.09864), and how a model stretches it to longer rows.

Dims: B batch, T time, N heads, H head.
"""

import math

import jax.numpy as jnp

from skillmix_jax.models.config import RopeScaling


def _stretched(scaling: RopeScaling, frequencies_H):
  """Returns the lower frequencies of a stretched model."""
  turns = scaling.original * frequencies_H / (2 * math.pi)
  kept = (turns - scaling.low) / (scaling.high - scaling.low)
  return frequencies_H * jnp.clip(1 / scaling.factor + (1 - 1 / scaling.factor) * kept, 1 / scaling.factor, 1)


def rotations(positions_BT, head_dim: int, theta: float, scaling: RopeScaling | None = None):
  """Cosines and sines [B, T, 1, H/2] in float32."""
  frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  if scaling is not None:
    frequencies = _stretched(scaling, frequencies)
  angles = positions_BT[:, :, None, None].astype(jnp.float32) * frequencies
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x_BTNH, cos, sin):
  """Turns the pairs (i, i + H/2): the half-split layout of Hugging Face weights."""
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x_BTNH.dtype)
