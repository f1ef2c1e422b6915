"""The decoder one token at a time: weights laid out for it, and a cache of keys and values.

The block is the one that trains. The layers are separate arrays and an unrolled loop: slices of stacked weights would
be copied for every token. The cache is, for each layer, keys and values [B, K, S, H]; slot s of a row holds token s of
its prompt and answer, so each row is written at its own slot, on the device that has it.

Dims: B batch, R rows that are read, T time, S slots, M = R*T, D model, N heads, K key-value heads, H head,
V vocab.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from skillmix_jax.mesh import spec
from skillmix_jax.models.attention import attend, attend_cached
from skillmix_jax.models.config import Config, Weight
from skillmix_jax.models.decoder import Block, Decoder, describe, rms_norm
from skillmix_jax.models.rope import rotations

Cache = list[tuple[jax.Array, jax.Array]]
CACHE = spec('batch', 'heads', None, None)


class Weights(NamedTuple):
  """A decoder as the sampler reads it: matrices in the compute dtype, norms in float32; embed and head [V, D]."""

  embed: jax.Array
  blocks: tuple[Block, ...]
  norm: jax.Array
  head: jax.Array


def copy_weights(params: Decoder, cfg: Config, mesh: jax.sharding.Mesh, consume: bool) -> Weights:
  """Copies a decoder, from whatever mesh, for the sampler; with `consume` its stacked layers are freed one by one."""
  source: Any = params.embed[...].sharding

  def put(x, dims=None):
    return jax.device_put(x, jax.NamedSharding(mesh, x.sharding.spec if dims is None else dims))

  def split(weight: Weight, stack):
    return [x.astype(weight.copied_as(cfg.dtype)) for x in stack]

  with jax.set_mesh(source.mesh):
    split = jax.jit(split, static_argnums=0)
    table = jax.jit(lambda x: x.astype(cfg.dtype))(params.embed[...])
    head = table if cfg.tie_embeddings else jax.jit(lambda x: x.astype(cfg.dtype).T)(params.unembed[...])
    leaves, structure = jax.tree.flatten(params.blocks)
    layers = []
    for weight, x in zip(jax.tree.leaves(describe(params).blocks), leaves):
      layers.append([put(layer) for layer in split(weight, x)])
      if consume:
        x.delete()
  blocks = tuple(jax.tree.unflatten(structure, layer) for layer in zip(*layers))
  return Weights(put(table, spec(None, None)), blocks, put(params.norm[...]), put(head, spec('vocab', None)))


def _embed(cfg: Config, weights: Weights, tokens_M):
  return weights.embed.at[tokens_M].get(out_sharding=spec('batch', None)).astype(cfg.dtype)


def _logits(cfg: Config, weights: Weights, x_BD):
  """[V, B], whole on the devices that hold the row: a CPU reads the head faster times columns than rows times it."""
  hidden_DB = rms_norm(x_BD, weights.norm, cfg.norm_eps).T
  return jax.reshard(jnp.matmul(weights.head, hidden_DB, preferred_element_type=jnp.float32), spec(None, 'batch'))


def empty_cache(cfg: Config, mesh: jax.sharding.Mesh, num_rows: int, num_slots: int) -> Cache:
  """A cache without tokens."""
  sharding = jax.NamedSharding(mesh, CACHE)
  new = lambda: jnp.zeros((num_rows, cfg.num_kv_heads, num_slots, cfg.head_dim), cfg.dtype, device=sharding)
  return [(new(), new()) for _ in range(cfg.num_layers)]


def _put_rows(old_BKSH, new_RTKH, rows_R):
  """The cache with whole rows replaced: nothing is left of what a row had before."""

  def local(old_BKSH, new_RTKH, rows_R):
    new_RKTH = new_RTKH.transpose(0, 2, 1, 3)
    room = old_BKSH.shape[2] - new_RKTH.shape[2]
    whole_RKSH = jnp.pad(new_RKTH, [(0, 0), (0, 0), (0, room), (0, 0)])
    return old_BKSH.at[rows_R].set(whole_RKSH, mode='drop', unique_indices=True)

  return jax.shard_map(local, out_specs=CACHE, check_vma=False)(old_BKSH, new_RTKH, rows_R)


def _put_token(old_BKSH, new_BTKH, slot_B):
  """The cache with one token more in each row."""

  def local(old_BKSH, new_BTKH, slot_B):
    return old_BKSH.at[jnp.arange(len(slot_B)), :, slot_B].set(new_BTKH[:, 0], unique_indices=True)

  return jax.shard_map(local, out_specs=CACHE, check_vma=False)(old_BKSH, new_BTKH, slot_B)


def read_prompts(cfg: Config, weights: Weights, cache: Cache, tokens_RT, lengths_R, rows_R):
  """Logits of the token that follows each prompt, float32 [V, R], and the cache with the prompts.

  Args:
    tokens_RT: int32, padded on the right. What padding leaves in the cache is never visible.
    lengths_R: int32, at least 1.
    rows_R: int32, which of its device's rows in the cache a prompt gets, no row twice; past the last: none.
  """
  R, T = tokens_RT.shape
  positions_RT = jnp.broadcast_to(jnp.arange(T), (R, T), out_sharding=spec('batch', None))
  cos, sin = rotations(positions_RT, cfg.head_dim, cfg.rope_theta, cfg.rope_scaling)
  filled: Cache = []

  def keep(q_RTNH, k_RTKH, v_RTKH):
    old_k, old_v = cache[len(filled)]
    filled.append((_put_rows(old_k, k_RTKH, rows_R), _put_rows(old_v, v_RTKH, rows_R)))
    return attend(q_RTNH, k_RTKH, v_RTKH, None, window=cfg.window, implementation=cfg.attention)

  x_MD = _embed(cfg, weights, tokens_RT.reshape(-1))
  for block in weights.blocks:
    x_MD = block(cfg, x_MD, cos, sin, keep)
  last = jax.shard_map(lambda x, n: x[jnp.arange(len(n)), n - 1], out_specs=spec('batch', None), check_vma=False)
  return _logits(cfg, weights, last(x_MD.reshape(R, T, cfg.dim), lengths_R)), filled


def read_token(cfg: Config, weights: Weights, cache: Cache, token_B, now_B):
  """Logits after one more token of each row, float32 [V, B], and the cache with it.

  Args:
    cache: with all tokens before.
    token_B: int32.
    now_B: int32, the position of the token in its row, and its slot.
  """
  B, num_slots = len(token_B), cache[0][0].shape[2]
  slots_BS = jnp.broadcast_to(jnp.arange(num_slots), (B, num_slots), out_sharding=spec('batch', None))
  now_B1 = now_B[:, None]
  visible_BS = slots_BS <= now_B1
  if cfg.window is not None:
    visible_BS &= now_B1 - slots_BS < cfg.window
  cos, sin = rotations(now_B1, cfg.head_dim, cfg.rope_theta, cfg.rope_scaling)
  grown: Cache = []

  def remember(q_BTNH, k_BTKH, v_BTKH):
    old_k, old_v = cache[len(grown)]
    grown.append((_put_token(old_k, k_BTKH, now_B), _put_token(old_v, v_BTKH, now_B)))
    return attend_cached(q_BTNH, *grown[-1], visible_BS)

  x_BD = _embed(cfg, weights, token_B)
  for block in weights.blocks:
    x_BD = block(cfg, x_BD, cos, sin, remember)
  return _logits(cfg, weights, x_BD), grown
