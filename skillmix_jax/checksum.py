"""Checksums of arrays: computed where the arrays are, the same on every mesh and for every sharding.

Every element counts with a hash of its bits and of its place in the whole array, and the hashes of an array are added
modulo 2^32. A sum has no order, so it does not matter which device holds which part; the place in the hash notices
parts that were exchanged. One changed element is always noticed; of other damages one in 2^32 is not.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Sums = dict[str, dict[str, int]]  # array -> dtype -> sum

_BITS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def checksums(tree: Any, rounded: bool = False) -> Sums:
  """The sum of every array of a tree, by its name and dtype.

  `rounded`: float32 arrays get the sum of their bfloat16 rounding as well, in which samplers read weights.
  """
  sums = jax.device_get(_sums(tree, rounded))
  names = [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in jax.tree.leaves_with_path(tree)]
  return {name: {dtype: int(x) for dtype, x in row.items()} for name, row in zip(names, sums)}


def differing(ours: Sums, saved: Sums) -> list[str]:
  """Arrays whose numbers are not those that were saved, each compared in the dtype that it has now."""
  return [name for name, sums in ours.items() if any(saved.get(name, {}).get(dtype) != x for dtype, x in sums.items())]


@jax.jit
def all_finite(tree: Any) -> jax.Array:
  """Says whether every number of a tree is finite."""
  return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


@partial(jax.jit, static_argnums=1)
def _sums(tree: Any, rounded: bool) -> list[dict[str, jax.Array]]:
  rows = []
  for x in jax.tree.leaves(tree):
    bits = jax.lax.bitcast_convert_type(x, _BITS[x.dtype.itemsize]).astype(jnp.uint32)
    rows.append({str(x.dtype): _sum(bits)})
    if rounded and x.dtype == jnp.float32:  # ties to even, in integers: no device flushes anything to zero then
      rows[-1]['bfloat16'] = _sum((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16)
  return rows


def _sum(bits: jax.Array) -> jax.Array:
  sharding = jax.typeof(bits).sharding
  place = jnp.zeros_like(bits)
  for dim in range(bits.ndim):
    stride = np.uint32(math.prod(bits.shape[dim + 1 :]) % 2**32)
    place += stride * jax.lax.broadcasted_iota(jnp.uint32, bits.shape, dim, out_sharding=sharding)
  x = bits ^ (place * np.uint32(0x9E3779B9))
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)  # one-to-one, and no sum of its results can be taken apart
  return (x ^ (x >> 15)).sum(dtype=jnp.uint32)
