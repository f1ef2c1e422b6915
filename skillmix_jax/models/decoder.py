"""One decoder for LLaMA-2 and Mistral: RMSNorm, rotary embeddings, grouped-query attention, gated MLP.

The modules are Flax NNX modules used as plain pytrees: jax.jit, jax.grad, optax and orbax take them as they are.
Blocks are stacked, their weights are [layers, ...] and one `lax.scan` runs them, so that compiling takes as long for
40 layers as for 4. The residual stream is [B*T, D]: a 2-D matmul has a gradient without a transposed copy.

Dims: B batch, T time, M = B*T, D model, F ffn, N heads, K key-value heads, H head, V vocab, L layers.

What explicit sharding asks of this file: a product that contracts a split dim names its `out_sharding`; a lookup is
`.at[...].get(out_sharding=...)`; everything else is inferred, or refused when the program is traced.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from skillmix_jax.mesh import gather, spec
from skillmix_jax.models.attention import attend
from skillmix_jax.models.config import Config

INIT_SCALE = 0.02

KEPT = {
  'full': (),
  'save_qkv': ('qkv',),
  'save_qkv_context': ('qkv', 'context'),
  'save_all_matmuls': ('qkv', 'context', 'mlp'),
}


def _policy(cfg: Config):
  """Says of each intermediate of a block whether it is kept for the backward pass, see Config.remat."""
  names = KEPT[cfg.remat]
  if cfg.attention != 'cudnn' or 'context' not in names:
    return jax.checkpoint_policies.save_only_these_names(*names)
  # The fused kernel runs again unless all that it returned is kept, also the sums of its softmax, which have no name
  # here. The context is made of what it returned and would be kept twice.
  named = jax.checkpoint_policies.save_only_these_names(*(name for name in names if name != 'context'))

  def keep(primitive, *types, **params) -> bool:
    return 'dot_product_attention_fwd' in primitive.name or named(primitive, *types, **params)

  return keep


def _matrix(rngs, *shape: int, names: tuple[str | None, ...]) -> nnx.Param:
  return nnx.Param(INIT_SCALE * jax.random.normal(rngs.params(), shape, jnp.float32, out_sharding=spec(*names)))


def _scale(dim: int) -> nnx.Param:
  return nnx.Param(jnp.ones(dim, jnp.float32, out_sharding=spec(None)))


def rms_norm(x_MD, scale_D, eps: float):
  """Divides by the root mean square over D, in float32 (Zhang and Sennrich, arXiv:1910.07467)."""
  x32 = x_MD.astype(jnp.float32)
  normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
  return (normed * scale_D).astype(x_MD.dtype)


def rotations(positions_BT, head_dim: int, theta: float):
  """Cosines and sines [B, T, 1, H/2] in float32 of the rotary embedding (Su et al., arXiv:2104.09864)."""
  frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  angles = positions_BT[:, :, None, None].astype(jnp.float32) * frequencies
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x_BTNH, cos, sin):
  """Turns the pairs (i, i + H/2): the half-split layout of Hugging Face weights."""
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x_BTNH.dtype)


class Block(nnx.Module):
  """Attention and a gated MLP, each normed before and added to the residual stream."""

  def __init__(self, cfg: Config, rngs: nnx.Rngs):
    D, F, N, K = cfg.dim, cfg.ffn_dim, cfg.num_heads * cfg.head_dim, cfg.num_kv_heads * cfg.head_dim
    self.attention_norm = _scale(D)
    self.query = _matrix(rngs, D, N, names=('embed', 'heads'))
    self.key = _matrix(rngs, D, K, names=('embed', 'heads'))
    self.value = _matrix(rngs, D, K, names=('embed', 'heads'))
    self.out = _matrix(rngs, N, D, names=('heads', 'embed'))
    self.mlp_norm = _scale(D)
    self.gate = _matrix(rngs, D, F, names=('embed', 'ffn'))
    self.up = _matrix(rngs, D, F, names=('embed', 'ffn'))
    self.down = _matrix(rngs, F, D, names=('ffn', 'embed'))

  def __call__(self, cfg: Config, x_MD, cos, sin, segments_BT, attend=attend):
    """The residual stream behind this block; `attend` is another function where decoding has a cache of keys."""
    normed = rms_norm(x_MD, self.attention_norm[...], cfg.norm_eps)
    x_MD = x_MD + self.attention(cfg, normed, cos, sin, segments_BT, attend)
    return x_MD + self.mlp(rms_norm(x_MD, self.mlp_norm[...], cfg.norm_eps))

  def attention(self, cfg: Config, x_MD, cos, sin, segments_BT, attend):
    B, T = cos.shape[:2]
    heads = spec('batch', None, 'heads', None)

    def project(weight, num_heads):
      x = checkpoint_name(x_MD @ gather(weight[...], x_MD.dtype, 'embed', 'heads'), 'qkv')
      return x.reshape(B, T, num_heads, cfg.head_dim, out_sharding=heads)

    q = project(self.query, cfg.num_heads)
    k, v = project(self.key, cfg.num_kv_heads), project(self.value, cfg.num_kv_heads)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    context = attend(q, k, v, segments_BT, window=cfg.window, implementation=cfg.attention)
    context = context.reshape(B * T, cfg.num_heads * cfg.head_dim, out_sharding=spec('batch', 'heads'))
    out = gather(self.out[...], x_MD.dtype, 'heads', 'embed')
    return jnp.matmul(context, out, out_sharding=spec('batch', None))

  def mlp(self, x_MD):
    gate, up = (gather(w[...], x_MD.dtype, 'embed', 'ffn') for w in (self.gate, self.up))
    down = gather(self.down[...], x_MD.dtype, 'ffn', 'embed')
    gated, lifted = (checkpoint_name(x_MD @ w, 'mlp') for w in (gate, up))
    return jnp.matmul(jax.nn.silu(gated) * lifted, down, out_sharding=spec('batch', None))


class Decoder(nnx.Module):
  """Token ids in, normed hidden states out; `head` turns them into logits where the loss wants them."""

  def __init__(self, cfg: Config, rngs: nnx.Rngs):
    self.cfg = cfg
    self.embed = _matrix(rngs, cfg.vocab_size, cfg.dim, names=(None, 'lookup'))
    self.blocks = jax.vmap(lambda r: Block(cfg, r))(rngs.split(cfg.num_layers))
    self.norm = _scale(cfg.dim)
    if not cfg.tie_embeddings:
      self.unembed = _matrix(rngs, cfg.dim, cfg.vocab_size, names=('embed', 'vocab'))

  def __call__(self, tokens_BT, positions_BT, segments_BT=None):
    """Hidden states [B*T, D] in the compute dtype.

    Args:
      tokens_BT: int32 ids, rows split over (data, fsdp).
      positions_BT: int32, restarting in each segment.
      segments_BT: int32, see `attend`; None where every row is one segment.
    """
    cfg = self.cfg
    cos, sin = rotations(positions_BT, cfg.head_dim, cfg.rope_theta)

    def step(x_MD, block):
      return block(cfg, x_MD, cos, sin, segments_BT), None

    step = jax.checkpoint(step, policy=_policy(cfg), prevent_cse=False)
    x_MD, _ = jax.lax.scan(step, self._embed(tokens_BT), self.blocks)
    return rms_norm(x_MD, self.norm[...], cfg.norm_eps)

  def _embed(self, tokens_BT):
    """Looks every token up in each device's slice of the model dim, then swaps: rows for slices.

    The table is never gathered, and its gradient is summed in float32 where it is stored.
    """
    tokens = jax.reshard(tokens_BT, spec('batch', None, batch='data'))
    x_BTD = self.embed[...].at[tokens].get(out_sharding=spec('batch', None, 'lookup', batch='data'))
    x_BTD = jax.reshard(x_BTD.astype(self.cfg.dtype), spec('batch', None, 'lookup', batch='data', lookup='fsdp'))
    return jax.reshard(x_BTD, spec('batch', None, None)).reshape(-1, self.cfg.dim)

  def head(self, dtype=None):
    """The output matrix [D, V] gathered over fsdp, in the compute dtype unless another is named."""
    dtype = dtype or self.cfg.dtype
    if not self.cfg.tie_embeddings:
      return gather(self.unembed[...], dtype, 'embed', 'vocab')
    # Two steps, each a collective that XLA has; in one it would gather the whole table, and the whole gradient.
    table_DV = jax.reshard(self.embed[...].astype(dtype).T, spec('embed', 'vocab'))
    return jax.reshard(table_DV, spec(None, 'vocab'))


def init(cfg: Config, seed: int) -> Decoder:
  """A decoder with random weights, each born with its sharding; the same on every mesh."""
  return jax.jit(lambda: Decoder(cfg, nnx.Rngs(params=jax.random.key(seed))))()


def abstract(cfg: Config) -> Decoder:
  """Shapes, dtypes and shardings of a decoder's weights; nothing is allocated."""
  return jax.eval_shape(lambda: Decoder(cfg, nnx.Rngs(params=jax.random.key(0))))
