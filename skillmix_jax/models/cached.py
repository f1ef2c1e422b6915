"""The decoder one token at a time: weights laid out for it, and a cache of keys and values.

The block is the one that trains. The layers are separate arrays and an unrolled loop: slices of stacked weights would
be copied for every token. Their matrices are stored [out, in], see layouts.py. The cache is, for each layer, keys and
values [B, K, S, H]; slot s of a row holds its prompt's token s, and after the longest prompt of the batch token i of
every answer has the same slot T + i, so one slice is written for all rows.

Dims: B batch, T time, S slots, M = B*T, I in, O out, D model, N heads, K key-value heads, H head, V vocab.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from skillmix_jax.mesh import spec
from skillmix_jax.models.attention import attend, attend_cached
from skillmix_jax.models.config import Config, Weight
from skillmix_jax.models.decoder import Block, Decoder, describe
from skillmix_jax.models.layouts import Columns, Rows
from skillmix_jax.models.rope import rotations

Cache = list[tuple[jax.Array, jax.Array]]


class StoredRows(Rows):
  """Rows, and matrices that are stored [out, in]."""

  def multiply(self, x_MI, matrix_OI, dims):
    """The product."""
    return super().multiply(x_MI, matrix_OI.T, dims)


ROWS, COLUMNS = StoredRows(), Columns()


class Weights(NamedTuple):
  """A decoder as the sampler reads it; matrices [out, in] in the compute dtype, norms in float32."""

  embed: jax.Array
  blocks: tuple[Block, ...]
  norm: jax.Array
  head: jax.Array


def copy_weights(params: Decoder, cfg: Config, mesh: jax.sharding.Mesh, consume: bool) -> Weights:
  """Copies a decoder, from whatever mesh, for the sampler; with `consume` its stacked layers are freed one by one."""
  source: Any = params.embed[...].sharding

  def put(x, dims=None):
    return jax.device_put(x, jax.NamedSharding(mesh, x.sharding.spec if dims is None else dims))

  def store(weight: Weight, x):
    x = x.astype(weight.copied_as(cfg.dtype))
    return x.T if weight.kind == 'matrix' else x

  with jax.set_mesh(source.mesh):
    whole = jax.jit(store, static_argnums=0)
    split = jax.jit(lambda weight, x: [store(weight, x[i]) for i in range(cfg.num_layers)], static_argnums=0)
    table = whole(cfg.weights['embed'], params.embed[...])
    head = table if cfg.tie_embeddings else whole(cfg.weights['unembed'], params.unembed[...])
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


def _logits(cfg: Config, weights: Weights, x_DB):
  """[V, B], whole on the devices that hold the row."""
  hidden_DB = COLUMNS.norm(x_DB, weights.norm, cfg.norm_eps)
  return jax.reshard(jnp.matmul(weights.head, hidden_DB, preferred_element_type=jnp.float32), spec(None, 'batch'))


def read_prompts(cfg: Config, weights: Weights, tokens_BT, lengths_B, num_slots: int):
  """Logits of the token that follows each prompt, float32 [V, B], and the cache.

  Args:
    tokens_BT: int32, padded on the right. What padding leaves in the cache is never visible.
    lengths_B: int32, at least 1.
    num_slots: of the cache; what is not needed for T is room for new tokens.
  """
  B, T = tokens_BT.shape
  positions_BT = jnp.broadcast_to(jnp.arange(T), (B, T), out_sharding=spec('batch', None))
  cos, sin = rotations(positions_BT, cfg.head_dim, cfg.rope_theta, cfg.rope_scaling)
  cache: Cache = []

  def keep(q_BTNH, k_BTKH, v_BTKH):
    padded = lambda x: jnp.pad(x.transpose(0, 2, 1, 3), [(0, 0), (0, 0), (0, num_slots - T), (0, 0)])
    cache.append((padded(k_BTKH), padded(v_BTKH)))
    return attend(q_BTNH, k_BTKH, v_BTKH, None, window=cfg.window, implementation=cfg.attention)

  x_MD = _embed(cfg, weights, tokens_BT.reshape(-1))
  for block in weights.blocks:
    x_MD = block(cfg, x_MD, cos, sin, keep, ROWS)
  last = jax.shard_map(lambda x, n: x[jnp.arange(len(n)), n - 1], out_specs=spec('batch', None), check_vma=False)
  return _logits(cfg, weights, last(x_MD.reshape(B, T, cfg.dim), lengths_B).T), cache


def read_token(cfg: Config, weights: Weights, cache: Cache, token_B, lengths_B, index, longest: int):
  """Logits after one more token of each row, float32 [V, B], and the cache with it.

  Args:
    cache: of `read_prompts`, and of this function for the tokens before.
    token_B: int32, token number `index` of each answer.
    lengths_B: int32, of the prompts; `longest` is the T that they were padded to.
  """
  B, num_slots = len(token_B), cache[0][0].shape[2]
  slots_BS = jnp.broadcast_to(jnp.arange(num_slots), (B, num_slots), out_sharding=spec('batch', None))
  lengths_B1 = lengths_B[:, None]
  positions_BS = jnp.where(slots_BS < longest, slots_BS, slots_BS - longest + lengths_B1)
  now_B1 = lengths_B1 + index
  visible_BS = ((slots_BS < lengths_B1) | (slots_BS >= longest)) & (positions_BS <= now_B1)
  if cfg.window is not None:
    visible_BS &= now_B1 - positions_BS < cfg.window
  cos, sin = rotations(now_B1, cfg.head_dim, cfg.rope_theta, cfg.rope_scaling)
  grown: Cache = []

  def remember(q_BTNH, k_BTKH, v_BTKH):
    put = lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x.transpose(0, 2, 1, 3), longest + index, axis=2)
    old_k, old_v = cache[len(grown)]
    grown.append((put(old_k, k_BTKH), put(old_v, v_BTKH)))
    return attend_cached(q_BTNH, *grown[-1], visible_BS)

  x_DB = _embed(cfg, weights, token_B).T
  for block in weights.blocks:
    x_DB = block(cfg, x_DB, cos, sin, remember, COLUMNS)
  return _logits(cfg, weights, x_DB), grown
