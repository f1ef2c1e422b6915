"""How the residual stream is laid out, and so how weights act on it: the block is the same for either.

`Rows`, [M, D], trains and reads prompts: a matrix [in, out] has a gradient without a transposed copy. `Columns`,
[D, B], grows every row of a batch by a token: a matrix that is stored [out, in] is read as it is stored, which on a CPU
takes half the time of the same product on rows.

Dims: B batch, T time, M = B*T, I in, O out, D model, N heads, H head.
"""

import jax
import jax.numpy as jnp

from skillmix_jax.mesh import gather, spec


def rms_norm(x_MD, scale_D, eps: float):
  """Divides by the root mean square over D, in float32 (Zhang and Sennrich, arXiv:1910.07467)."""
  x32 = x_MD.astype(jnp.float32)
  normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
  return (normed * scale_D).astype(x_MD.dtype)


class Rows:
  """The stream [M, D]."""

  def norm(self, x_MD, scale_D, eps: float):
    """See `rms_norm`."""
    return rms_norm(x_MD, scale_D, eps)

  def multiply(self, x_MI, matrix_IO, dims: tuple[str | None, ...]):
    """x times a matrix whose dims have these names; it is gathered over fsdp, in the dtype of x."""
    matrix_IO = gather(matrix_IO, x_MI.dtype, *dims)
    return jnp.matmul(x_MI, matrix_IO, out_sharding=spec('batch', dims[1], embed=None))

  def add(self, x_MN, bias_N):
    """The sum, in the dtype of x."""
    return x_MN + bias_N.astype(x_MN.dtype)

  def to_heads(self, x_MN, batch: int, num_heads: int):
    """[B, T, N, H], split over rows and heads."""
    shape = batch, x_MN.shape[0] // batch, num_heads, x_MN.shape[1] // num_heads
    return x_MN.reshape(shape, out_sharding=spec('batch', None, 'heads', None))

  def from_heads(self, x_BTNH):
    """The heads side by side."""
    B, T, N, H = x_BTNH.shape
    return x_BTNH.reshape(B * T, N * H, out_sharding=spec('batch', 'heads'))


class Columns:
  """The stream [D, B] of one token a row; matrices are stored [out, in], on a mesh without fsdp."""

  def norm(self, x_DB, scale_D, eps: float):
    """See `rms_norm`."""
    x32 = x_DB.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=0) + eps)
    return (normed * scale_D[:, None]).astype(x_DB.dtype)

  def multiply(self, x_IB, matrix_OI, dims: tuple[str | None, ...]):
    """The product; `dims` are the names of [in, out], as in `Rows`."""
    return jnp.matmul(matrix_OI, x_IB, out_sharding=spec(dims[1], 'batch', embed=None))

  def add(self, x_NB, bias_N):
    """The sum, in the dtype of x."""
    return x_NB + bias_N.astype(x_NB.dtype)[:, None]

  def to_heads(self, x_NB, batch: int, num_heads: int):
    """[B, 1, N, H], split over rows and heads."""
    x_NHB = x_NB.reshape(num_heads, -1, batch, out_sharding=spec('heads', None, 'batch'))
    return jax.reshard(x_NHB.transpose(2, 0, 1)[:, None], spec('batch', None, 'heads', None))

  def from_heads(self, x_BTNH):
    """The heads on top of each other."""
    B, _, N, H = x_BTNH.shape
    return x_BTNH.reshape(B, N * H, out_sharding=spec('batch', 'heads')).T
