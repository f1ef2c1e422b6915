"""Devices and shardings: the mesh (data, fsdp, tensor) and the one table that maps dims onto it.

`spec('embed', 'heads')` reads: this array's first dim is the model dim, its second the heads; the table says which
mesh axis splits each. The mesh is explicit (jax's sharding-in-types): every array knows its sharding, arrays are
born sharded, and nothing in this project carries a tree of shardings beside a tree of arrays.
"""

import os
import socket

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from skillmix_jax.errors import InputError

AXES = ('data', 'fsdp', 'tensor')

RULES = {
  'batch': ('data', 'fsdp'),  # rows of a batch: every device of both axes has rows of its own
  'embed': 'fsdp',  # the model dim of a weight: stored split, gathered right before use
  'heads': 'tensor',
  'ffn': 'tensor',
  'vocab': 'tensor',
  'lookup': ('fsdp', 'tensor'),  # the model dim of the embedding table: looked up where it lies, never gathered
}


def spec(*names: str | None, **overrides) -> P:
  """Partition spec of an array whose dims have these names; None is a dim that is not split."""
  return P(*((RULES | overrides).get(name) for name in names))


def gather(weight: jax.Array, dtype, *names: str | None) -> jax.Array:
  """One weight in the compute dtype, all-gathered over fsdp right before use (its gradient is reduce-scattered)."""
  return jax.reshard(weight.astype(dtype), spec(*names, embed=None))


def initialize_distributed():
  """Joins the processes of this run; must run before anything touches a device.

  A lone process becomes a cluster of one, since JAX catches SIGTERM only in an initialised cluster.
  """
  if jax.distributed.is_initialized():
    return
  try:
    jax.distributed.initialize()  # Slurm, MPI, TPU VMs
  except ValueError:
    if os.environ.get('JAX_COORDINATOR_ADDRESS') or os.environ.get('JAX_NUM_PROCESSES'):
      raise  # several processes were asked for by hand: half a setting must not become a run of one
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      port = probe.getsockname()[1]
    jax.distributed.initialize(f'127.0.0.1:{port}', num_processes=1, process_id=0)


def make_mesh(data: int, fsdp: int, tensor: int) -> jax.sharding.Mesh:
  """Mesh of the given shape; at most one number is -1: the devices that are left.

  Raises:
    InputError: the shape does not fit the devices that are there.
  """
  sizes = [data, fsdp, tensor]
  devices = jax.devices()
  text = ', '.join(f'mesh.{name}={size}' for name, size in zip(AXES, sizes))
  if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
    raise InputError(f'{text}: each must be at least 1, and one of them may be -1 (the devices that are left)')
  fixed = int(np.prod([size for size in sizes if size != -1]))
  if -1 in sizes:
    if len(devices) % fixed:
      raise InputError(f'{text}: {len(devices)} devices are not divisible by {fixed}')
    sizes[sizes.index(-1)] = len(devices) // fixed
  count = int(np.prod(sizes))
  if count > len(devices) or (count < len(devices) and jax.process_count() > 1):
    raise InputError(f'{text} needs {count} devices, but there are {len(devices)}')
  return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Explicit,) * 3, devices=devices[:count])


def place_batch(mesh: jax.sharding.Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  """Puts a global batch (the same on every process) on the mesh, its rows split over (data, fsdp)."""

  def place(rows: np.ndarray) -> jax.Array:
    sharding = NamedSharding(mesh, spec('batch', *[None] * (rows.ndim - 1)))
    return jax.make_array_from_callback(rows.shape, sharding, rows.__getitem__)

  return {name: place(rows) for name, rows in batch.items()}
