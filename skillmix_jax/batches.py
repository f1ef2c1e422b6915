"""Which prompts share a batch, how many, and on what mesh: what an answer may depend on besides its own prompt.

Sums of bfloat16 numbers come out differently for arrays of other shapes. So the shapes that a prompt meets are its own:
it is padded to the bucket of its own length, a batch holds prompts of one bucket, and a batch, and the piece of it that
is read at a time, always has the same number of rows, filled up with rows that mean nothing.
"""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models.config import Config

CHUNK = 16  # tokens a call: the host looks for ended rows, and waits for the device, once a chunk
SMALLEST_BUCKET = 32
PIECES = 8  # of a batch, as prompts are read: so many rows are free, at most, while a whole piece of them is waited for
READ_TOKENS = 2048  # of a device at a time, or a longer prompt: the memory for reading is limited
MOST_ROWS = 128  # of one device, by default
CPU_ROWS = 32  # where the memory is not known
REPLICATE_BELOW = 0.6  # of a device's free memory: weights that take less are held whole
USABLE = 0.9  # of what weights and reading leave: the rest is for the compilers' own buffers, and holes

Prompt = tuple[str, Sequence[int]]


def bucket(length: int) -> int:
  """Returns the length that prompts of this length are padded to: 32, 48, 64, 96, 128, ... so that shapes are few."""
  size = SMALLEST_BUCKET
  while size < length:
    size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
  return size


def buckets(prompts: Sequence[Prompt]) -> Iterator[tuple[int, Sequence[Prompt]]]:
  """Yields (padded length, its prompts), the longest first, so that what does not fit fails at once."""
  longest_first = sorted(prompts, key=lambda prompt: -len(prompt[1]))
  for length, group in itertools.groupby(longest_first, key=lambda prompt: bucket(len(prompt[1]))):
    yield length, list(group)


def piece_of(num_rows: int, length: int) -> int:
  """Returns how many prompts of this length a device with so many rows reads at a time."""
  return max(1, min(num_rows // PIECES, READ_TOKENS // length))


def free_bytes() -> int | None:
  """Returns the free memory of a device, the same number on every process; None where the device does not say (CPU)."""
  stats = jax.local_devices()[0].memory_stats()
  if not stats or 'bytes_limit' not in stats:
    return None
  return int(multihost_utils.broadcast_one_to_all(np.int64(stats['bytes_limit'] - stats['bytes_in_use'])))


def weight_bytes(cfg: Config) -> int:
  """Counts the bytes of the copy of the weights that is sampled from."""
  return cfg.num_params * jnp.dtype(cfg.dtype).itemsize


def cache_bytes(cfg: Config, num_slots: int) -> int:
  """Counts the bytes of the keys and values of one row."""
  return 2 * cfg.num_layers * cfg.num_kv_heads * cfg.head_dim * num_slots * jnp.dtype(cfg.dtype).itemsize


def reading_bytes(cfg: Config, length: int) -> int:
  """Counts the bytes at most, besides weights and cache, that a device takes to read prompts of this length.

  A layer's activations, and keys and values of all layers: XLA writes them to the cache when all are computed.
  """
  heads = (cfg.num_heads + 2 * cfg.num_kv_heads) * cfg.head_dim
  numbers = 4 * cfg.dim + 2 * heads + 3 * cfg.ffn_dim
  tokens = max(READ_TOKENS, length)
  return tokens * numbers * jnp.dtype(cfg.dtype).itemsize + cache_bytes(cfg, tokens)


def choosing_bytes(cfg: Config) -> int:
  """Counts the bytes that choosing a token takes for a row: logits, noise and what top-p keeps, in float32."""
  return 4 * 4 * cfg.vocab_size


def decode_mesh(cfg: Config, free: int | None) -> jax.sharding.Mesh:
  """Makes a mesh (data, 1, tensor) of all devices; tensor is 1 where a copy of the weights fits, else as small as
  possible.

  Raises:
    InputError: the weights do not fit into `free` bytes of each device.
  """
  tensor = 1
  while free is not None and weight_bytes(cfg) / tensor > REPLICATE_BELOW * free:
    tensor *= 2
    if jax.device_count() % tensor or cfg.num_kv_heads % tensor or cfg.ffn_dim % tensor or cfg.vocab_size % tensor:
      raise InputError(
        f'{weight_bytes(cfg) / 2**30:.1f} GiB of weights do not fit on {jax.device_count()} devices with '
        f'{free / 2**30:.1f} GiB free each: use more devices, or --dtype=bfloat16'
      )
  return make_mesh(-1, 1, tensor)


def fitting_batch_size(
  cfg: Config, mesh: jax.sharding.Mesh, free: int | None, longest: int, num: int, max_new_tokens: int
) -> int:
  """Returns how many prompts are answered at a time: as many as fit, and not more than there are.

  Free memory is never quite the same twice: whoever wants the same answers once more asks once and keeps the number.

  Args:
    cfg, mesh: of the sampler.
    free: bytes of each device before the weights are copied there; None: not known.
    longest: tokens of the longest prompt.
    num: of prompts.
    max_new_tokens: of an answer.
  """
  data, tensor = mesh.shape['data'], mesh.shape['tensor']
  num_rows = CPU_ROWS
  if free is not None:
    length = bucket(longest)
    row_bytes = cache_bytes(cfg, length + max_new_tokens + CHUNK) // tensor + choosing_bytes(cfg)
    left = free - weight_bytes(cfg) // tensor - reading_bytes(cfg, length)
    num_rows = data * max(1, min(MOST_ROWS, int(USABLE * left) // row_bytes))
  return rows_on(mesh, min(num_rows, num))


def rows_on(mesh: jax.sharding.Mesh, batch_size: int) -> int:
  """Rounds up to rows of a batch that every device on 'data' gets equally many of."""
  data = mesh.shape['data']
  return -(-batch_size // data) * data
