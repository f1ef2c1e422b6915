"""The decoder one token at a time: weights laid out for it, and a cache of keys and values.

The layers are separate arrays and an unrolled loop: slices of stacked weights would be copied for every token. Their
matrices lie as [out, in] and multiply columns, one a row of the batch: a product then reads the weights as they lie,
which on a CPU takes half the time. The cache is, for each layer, keys and values [B, K, S, H]; slot s of a row holds
its prompt's token s, and behind the longest prompt of the batch token i of every answer stands in the same slot T + i,
so one slice is written for all rows.

Dims: B batch, T time, S slots, M = B*T, D model, F ffn, N heads, K key-value heads, G = N / K, H head,
V vocab.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from skillmix_jax.mesh import spec
from skillmix_jax.models.attention import attend
from skillmix_jax.models.config import Config
from skillmix_jax.models.decoder import Block, Decoder, rms_norm, rotate, rotations

Cache = list[tuple[jax.Array, jax.Array]]


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

  with jax.set_mesh(source.mesh):
    cast = jax.jit(lambda x: x.astype(cfg.dtype))
    split = jax.jit(lambda x: [x[i] if x.ndim == 2 else x[i].astype(cfg.dtype).T for i in range(cfg.num_layers)])
    table = cast(params.embed[...])
    head = table if cfg.tie_embeddings else jax.jit(jnp.transpose)(cast(params.unembed[...]))
    leaves, structure = jax.tree.flatten(params.blocks)
    layers = []
    for x in leaves:
      layers.append([put(layer) for layer in split(x)])
      if consume:
        x.delete()
  blocks = tuple(jax.tree.unflatten(structure, layer) for layer in zip(*layers))
  return Weights(put(table, spec(None, None)), blocks, put(params.norm[...]), put(head, spec('vocab', None)))


def _embed(cfg: Config, weights: Weights, tokens_M):
  return weights.embed.at[tokens_M].get(out_sharding=spec('batch', None)).astype(cfg.dtype)


def _norm(x_DB, scale_D, eps: float):
  return rms_norm(x_DB.T, scale_D, eps).T


def _logits(cfg: Config, weights: Weights, x_DB):
  """[V, B], whole on the devices that hold the row."""
  hidden_DB = _norm(x_DB, weights.norm, cfg.norm_eps)
  return jax.reshard(jnp.matmul(weights.head, hidden_DB, preferred_element_type=jnp.float32), spec(None, 'batch'))


def _grow(cfg: Config, block: Block, x_DB, cos, sin, attend):
  """`Block` for one token a row, on columns."""
  heads = spec('batch', None, 'heads', None)

  def project(weight, num_heads):
    x = (weight[...] @ normed_DB).reshape(num_heads, cfg.head_dim, -1, out_sharding=spec('heads', None, 'batch'))
    return jax.reshard(x.transpose(2, 0, 1)[:, None], heads)

  normed_DB = _norm(x_DB, block.attention_norm[...], cfg.norm_eps)
  q = rotate(project(block.query, cfg.num_heads), cos, sin)
  k = rotate(project(block.key, cfg.num_kv_heads), cos, sin)
  context = attend(q, k, project(block.value, cfg.num_kv_heads))
  context = context.reshape(-1, cfg.num_heads * cfg.head_dim, out_sharding=spec('batch', 'heads'))
  x_DB = x_DB + jnp.matmul(block.out[...], context.T, out_sharding=spec(None, 'batch'))
  normed_DB = _norm(x_DB, block.mlp_norm[...], cfg.norm_eps)
  gated_FB = jax.nn.silu(block.gate[...] @ normed_DB) * (block.up[...] @ normed_DB)
  return x_DB + jnp.matmul(block.down[...], gated_FB, out_sharding=spec(None, 'batch'))


def _attend_cached(q_BTNH, k_BKSH, v_BKSH, visible_BS):
  """Attention of one token a row to the visible slots of its cache; the heads of a group share keys and values."""

  def local(q_BTNH, k_BKSH, v_BKSH, visible_BS):
    B, T, N, H = q_BTNH.shape
    K = k_BKSH.shape[1]
    q_BKGH = (q_BTNH * H**-0.5).reshape(B, K, N // K, H)
    logits = jnp.einsum('bkgh,bksh->bkgs', q_BKGH, k_BKSH, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(visible_BS[:, None, None], logits, -jnp.inf)).astype(v_BKSH.dtype)
    return jnp.einsum('bkgs,bksh->bkgh', weights, v_BKSH).reshape(B, T, N, H)

  mapped = jax.shard_map(local, out_specs=spec('batch', None, 'heads', None), check_vma=False)
  return mapped(q_BTNH, k_BKSH, v_BKSH, visible_BS)


def read_prompts(cfg: Config, weights: Weights, tokens_BT, lengths_B, num_slots: int):
  """Logits of the token that follows each prompt, float32 [V, B], and the cache.

  Args:
    tokens_BT: int32, padded on the right. What padding leaves in the cache is never visible.
    lengths_B: int32, at least 1.
    num_slots: of the cache; what is not needed for T is room for new tokens.
  """
  B, T = tokens_BT.shape
  positions_BT = jnp.broadcast_to(jnp.arange(T), (B, T), out_sharding=spec('batch', None))
  cos, sin = rotations(positions_BT, cfg.head_dim, cfg.rope_theta)
  cache: Cache = []

  def keep(q, k_BTKH, v_BTKH, segments_BT, **options):
    padded = lambda x: jnp.pad(x.transpose(0, 2, 1, 3), [(0, 0), (0, 0), (0, num_slots - T), (0, 0)])
    cache.append((padded(k_BTKH), padded(v_BTKH)))
    return attend(q, k_BTKH, v_BTKH, segments_BT, **options)

  x_MD = _embed(cfg, weights, tokens_BT.reshape(-1))
  for block in weights.blocks:
    block = jax.tree.map(jnp.transpose, block)  # norms stay as they are
    x_MD = block(cfg, x_MD, cos, sin, None, keep)
  last = jax.shard_map(lambda x, n: x[jnp.arange(len(n)), n - 1], out_specs=spec('batch', None), check_vma=False)
  return _logits(cfg, weights, last(x_MD.reshape(B, T, cfg.dim), lengths_B).T), cache


def read_token(cfg: Config, weights: Weights, cache: Cache, token_B, lengths_B, index, longest: int):
  """Logits behind one more token of each row, float32 [V, B], and the cache with it.

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
  cos, sin = rotations(now_B1, cfg.head_dim, cfg.rope_theta)
  grown: Cache = []

  def remember(q, k_BTKH, v_BTKH):
    put = lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x.transpose(0, 2, 1, 3), longest + index, axis=2)
    old_k, old_v = cache[len(grown)]
    grown.append((put(old_k, k_BTKH), put(old_v, v_BTKH)))
    return _attend_cached(q, *grown[-1], visible_BS)

  x_DB = _embed(cfg, weights, token_B).T
  for block in weights.blocks:
    x_DB = _grow(cfg, block, x_DB, cos, sin, remember)
  return _logits(cfg, weights, x_DB), grown
