"""One number for an array, wherever its parts are; and every damage changes it."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from skillmix_jax.checksum import all_finite, checksums, differing
from skillmix_jax.mesh import make_mesh


def by_hand(x: np.ndarray) -> int:
  """The definition in Python's own integers, one element after the other."""
  total = 0
  for place, bits in enumerate(np.ravel(x).view(f'u{x.dtype.itemsize}').tolist()):
    h = bits ^ (place * 0x9E3779B9 % 2**32)
    h = (h ^ (h >> 16)) * 0x85EBCA6B % 2**32
    total += h ^ (h >> 15)
  return total % 2**32


@pytest.fixture(scope='module')
def arrays() -> dict[str, np.ndarray]:
  """Random bits: denormal and infinite numbers are among them."""
  noise = np.random.default_rng(0)
  whole = noise.integers(0, 2**32, (4, 16, 24), dtype=np.uint32).view(np.float32)
  return {
    'whole': whole,
    'half': noise.integers(0, 2**16, (8, 16), dtype=np.uint16).view(ml_dtypes.bfloat16),
    'count': np.array(7, np.int32),
  }


def test_sums_are_the_same_on_every_mesh_and_as_defined(arrays):
  expected = {name: {str(x.dtype): by_hand(x)} for name, x in arrays.items()}
  for sizes, spec in (((1, 1, 1), P()), ((1, 8, 1), P(None, 'fsdp')), ((2, 2, 2), P('data', ('fsdp', 'tensor')))):
    mesh = make_mesh(*sizes)
    with jax.set_mesh(mesh):
      place = lambda x: jax.device_put(x, NamedSharding(mesh, P(*spec[: x.ndim]) if x.shape else P()))  # noqa: B023
      assert checksums(jax.tree.map(place, arrays)) == expected


def test_the_rounded_sum_is_that_of_the_rounded_array(arrays):
  whole = np.where(np.isnan(arrays['whole']), np.float32(1e-40), arrays['whole'])
  sums = checksums({'x': jnp.asarray(whole)}, rounded=True)['x']
  assert sums == {'float32': by_hand(whole), 'bfloat16': by_hand(whole.astype(ml_dtypes.bfloat16))}


def test_what_is_changed_or_exchanged_differs(arrays):
  saved = checksums(arrays)
  noise = np.random.default_rng(1)
  for _ in range(100):
    x = arrays['whole'].copy()
    bits, place = x.reshape(-1).view(np.uint32), noise.integers(0, x.size - 16)
    kind = noise.integers(3)
    if kind == 0:
      bits[place] ^= 1 << int(noise.integers(32))
    elif kind == 1:
      bits[place : place + 4] = noise.integers(0, 2**32, 4)
    else:
      bits[[place, place + 9]] = bits[[place + 9, place]]
    assert differing(checksums(arrays | {'whole': x}), saved) == ['whole']
  assert differing(checksums(arrays), saved) == []


def test_parts_of_round_numbers_that_were_exchanged_differ():
  x = np.repeat(np.array([1.0, 2.0, -1.0, 0.0], np.float32), 2**14)
  y = np.roll(x, 2**15)
  assert differing(checksums({'x': y}), checksums({'x': x})) == ['x']


def test_all_finite(arrays):
  assert all_finite({'a': np.zeros(3), 'n': np.int32(1)})
  assert not all_finite({'a': np.zeros(3), 'b': np.array([0, np.inf])})
