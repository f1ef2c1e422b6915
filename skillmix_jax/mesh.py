"""Devices and shardings: the mesh (data, fsdp, tensor) and the one table that maps dims onto it.

`spec('embed', 'heads')` reads: this array's first dim is the model dim, its second the heads; the table says which
mesh axis splits each. The mesh is explicit (jax's sharding-in-types): every array knows its sharding, arrays are
born sharded, and nothing in this project carries a tree of shardings beside a tree of arrays.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from skillmix_jax import memory, slurm
from skillmix_jax.errors import InputError

AXES = ('data', 'fsdp', 'tensor')

BY_HAND = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
HEARTBEAT_SECONDS = 60  # JAX's own default is 100

RULES = {
  'batch': ('data', 'fsdp'),  # rows of a batch: every device of both axes has rows of its own
  'embed': 'fsdp',  # the model dim of a weight: stored split, gathered right before use
  'heads': 'tensor',
  'ffn': 'tensor',
  'vocab': 'tensor',
  'lookup': ('fsdp', 'tensor'),  # the model dim of the embedding table: looked up on its device, never gathered
}


def spec(*names: str | None, **overrides) -> P:
  """Partition spec of an array whose dims have these names; None is a dim that is not split."""
  return P(*((RULES | overrides).get(name) for name in names))


def gather(weight: jax.Array, dtype, *names: str | None) -> jax.Array:
  """All-gathers a weight over fsdp in the compute dtype, right before its use; its gradient is reduce-scattered."""
  return jax.reshard(weight.astype(dtype), spec(*names, embed=None))


def merge_rows(x: jax.Array) -> jax.Array:
  """[B, T, ...] as [B*T, ...], split over devices as rows are. A plain reshape of a single row would forget that."""
  B, T, *rest = x.shape
  return jnp.reshape(x, (B * T, *rest), out_sharding=spec('batch', *(None for _ in rest)))


def split_rows(x: jax.Array, rows: int) -> jax.Array:
  """The way back of `merge_rows`."""
  M, *rest = x.shape
  return jnp.reshape(x, (rows, M // rows, *rest), out_sharding=spec('batch', None, *(None for _ in rest)))


def initialize_distributed():
  """Joins the processes of this run; must run before anything touches a device.

  By hand, on any machines: JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES, JAX_PROCESS_ID. Slurm,
  MPI and TPU VMs are recognised. A lone process becomes a cluster of one, since JAX catches SIGTERM only in an
  initialised cluster.

  Raises:
    InputError: not all of the three are set, or they make no sense; or both names of GPUs' memory fraction are; or
      Slurm started only some of the processes.
  """
  memory.claim()
  if jax.distributed.is_initialized():
    return
  limits: dict[str, Any] = {
    'heartbeat_timeout_seconds': heartbeat_seconds(),
    'shutdown_timeout_seconds': heartbeat_seconds(),
  }
  given = {name: os.environ[name] for name in BY_HAND if os.environ.get(name)}
  if given:
    address, num, index = (given.get(name, '') for name in BY_HAND)
    if not (address and num.isdecimal() and index.isdecimal() and int(index) < int(num)):
      settings = ' '.join(f'{name}={value}' for name, value in given.items())
      raise InputError(f'{settings}: set all of {", ".join(BY_HAND)}; the last counts from 0')
    jax.distributed.initialize(address, int(num), int(index), cluster_detection_method='deactivate', **limits)
  else:
    slurm.check_processes(os.environ)
    _find_cluster(limits)
    if jax.process_index() == 0 and (unused := slurm.unused(os.environ)):
      print(f'warning: {unused}', file=sys.stderr, flush=True)
  if jax.process_count() > 1:  # JAX names a lost process by its number
    print(f'process {jax.process_index()} of {jax.process_count()} is on {socket.gethostname()}', file=sys.stderr)


def _find_cluster(limits: dict[str, Any]):
  try:
    jax.distributed.initialize(**limits)
  except ValueError:
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      port = probe.getsockname()[1]
    jax.distributed.initialize(f'127.0.0.1:{port}', num_processes=1, process_id=0, **limits)


def heartbeat_seconds() -> int:
  """Returns how long a process may be silent before it counts as lost and all others end."""
  return int(os.environ.get('SKILLMIX_HEARTBEAT_SECONDS', HEARTBEAT_SECONDS))


@contextlib.contextmanager
def explain_lost_process():
  """Says in one line what an error of the network between processes means; JAX then names the process and aborts."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() > 1:
      print(
        f'error: {str(error).splitlines()[0]}\nerror: probably another process of this run is lost: within '
        f'{heartbeat_seconds()} s JAX says below which one ("unhealthy") and ends this one too (exit code 134); then '
        'run the same command again',
        file=sys.stderr, flush=True,
      )  # fmt: skip
    raise


def mesh_sizes(data: int, fsdp: int, tensor: int, num_devices: int) -> tuple[int, int, int]:
  """Returns the shape of the mesh; at most one number is -1: the devices that are left.

  Raises:
    InputError: the shape does not fit so many devices.
  """
  sizes = [data, fsdp, tensor]
  text = ', '.join(f'mesh.{name}={size}' for name, size in zip(AXES, sizes))
  if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
    raise InputError(f'{text}: each must be at least 1, and one of them may be -1 (the devices that are left)')
  fixed = int(np.prod([size for size in sizes if size != -1]))
  if -1 in sizes:
    if num_devices % fixed:
      raise InputError(f'{text}: {num_devices} devices are not divisible by {fixed}')
    sizes[sizes.index(-1)] = num_devices // fixed
  if np.prod(sizes) > num_devices:
    raise InputError(f'{text} needs {np.prod(sizes)} devices, but there are {num_devices}')
  return sizes[0], sizes[1], sizes[2]


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
  """Makes a mesh of the given shape, see `mesh_sizes`.

  `devices`: those of `plan`, which need not exist; None: all that there are.

  Raises:
    InputError: the shape does not fit the devices, or leaves out some where several processes have them.
  """
  devices = jax.devices() if devices is None else devices
  sizes = mesh_sizes(data, fsdp, tensor, len(devices))
  count = int(np.prod(sizes))
  if count < len(devices) and jax.process_count() > 1:
    raise InputError(
      f'mesh.data={data}, mesh.fsdp={fsdp}, mesh.tensor={tensor} needs {count} devices, but the '
      f'{jax.process_count()} processes have {len(devices)}: every one of them must be used'
    )
  return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Explicit,) * 3, devices=devices[:count])


def on_mesh(tree, mesh: jax.sharding.Mesh):
  """Abstract arrays of `tree` with shardings on the mesh; a scalar has none of its own and is replicated."""

  def place(x):
    sharding = jax.typeof(x).sharding if x.sharding is None else x.sharding
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, sharding.spec))

  return jax.tree.map(place, tree)


def on_every_process(value: bool) -> bool:
  """Says whether something is true on all processes; each of them must ask."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.array(value)).all())


def on_main_process(value: bool) -> bool:
  """Returns what process 0 says; each process must ask."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


def place_batch(mesh: jax.sharding.Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  """Puts a global batch (the same on every process) on the mesh, its rows split over (data, fsdp)."""

  def place(rows: np.ndarray) -> jax.Array:
    sharding = NamedSharding(mesh, spec('batch', *[None] * (rows.ndim - 1)))
    return jax.make_array_from_callback(rows.shape, sharding, rows.__getitem__)

  return {name: place(rows) for name, rows in batch.items()}
