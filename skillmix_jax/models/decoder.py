"""One decoder for all families: RMSNorm, rotary embeddings, grouped-query attention, gated MLP.

The modules are Flax NNX modules used as plain pytrees: jax.jit, jax.grad, optax and orbax take them as they are.
Blocks are stacked, their weights are [layers, ...] and one `lax.scan` runs them, so that compiling takes as long for
40 layers as for 4. Which weights there are, and how they are split, is written in `Config.weights`. The residual stream
is [M, D], so that the gradient of a matrix [in, out] needs no transposed copy.

Dims: B batch, T time, M = B*T, I in, O out, D model, F ffn, N heads, K key-value heads, H head, V vocab, L layers.

What explicit sharding asks of this file: a product that contracts a split dim names its `out_sharding`; a lookup is
`.at[...].get(out_sharding=...)`; everything else is inferred, or refused when the program is traced.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from skillmix_jax.mesh import gather, merge_rows, spec
from skillmix_jax.models.attention import attend
from skillmix_jax.models.config import Config, Weight
from skillmix_jax.models.rope import rotate, rotations

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


def _start(weight: Weight, rngs: nnx.Rngs) -> nnx.Param:
  """Random, or ones for a norm and zeros for a bias; float32, born with its sharding."""
  dims = spec(*weight.dims)
  if weight.kind in ('norm', 'bias'):
    return nnx.Param(jnp.full(weight.shape, float(weight.kind == 'norm'), jnp.float32, out_sharding=dims))
  return nnx.Param(INIT_SCALE * jax.random.normal(rngs.params(), weight.shape, jnp.float32, out_sharding=dims))


def rms_norm(x_MD, scale_D, eps: float):
  """Divides by the root mean square over D, in float32 (Zhang and Sennrich, arXiv:1910.07467)."""
  x32 = x_MD.astype(jnp.float32)
  normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
  return (normed * scale_D).astype(x_MD.dtype)


def multiply(x_MI, matrix_IO, dims: tuple[str | None, ...]):
  """x times a matrix whose dims have these names; it is gathered over fsdp, in the dtype of x."""
  matrix_IO = gather(matrix_IO, x_MI.dtype, *dims)
  return jnp.matmul(x_MI, matrix_IO, out_sharding=spec('batch', dims[1], embed=None))


def to_heads(x_MN, batch: int, num_heads: int):
  """[B, T, N, H], split over rows and heads."""
  shape = batch, x_MN.shape[0] // batch, num_heads, x_MN.shape[1] // num_heads
  return x_MN.reshape(shape, out_sharding=spec('batch', None, 'heads', None))


def from_heads(x_BTNH):
  """[M, N*H]: the heads side by side."""
  B, T, N, H = x_BTNH.shape
  return x_BTNH.reshape(B * T, N * H, out_sharding=spec('batch', 'heads'))


class Block(nnx.Module):
  """Attention and a gated MLP, each normed before or after and added to the residual stream; to train and to decode.

  It has the weights that `Config.block_weights` names, and what has no weight is left out. A matrix may have adapters
  beside it, see `Config.adapter_weights`.
  """

  def __init__(self, cfg: Config, rngs: nnx.Rngs):
    for name, weight in cfg.block_weights.items():
      setattr(self, name, _start(weight, rngs))

  def __call__(self, cfg: Config, x_MD, cos, sin, attend):
    """The residual stream after this block.

    Args:
      x_MD: the residual stream before it.
      cos, sin: [B, T, 1, H/2], of `rotations`.
      attend: (q_BTNH, k_BTKH, v_BTKH) -> context_BTNH, which knows what each token sees.
    """
    weights, batch = cfg.block_weights, cos.shape[0]

    def norm(name, x):
      return rms_norm(x, getattr(self, name)[...], cfg.norm_eps) if name in weights else x

    def times(name, x):
      product = multiply(x, getattr(self, name)[...], weights[name].dims)
      if cfg.lora is None or not hasattr(self, f'{name}_a'):
        return product
      low, adapters = x, cfg.adapter_weights
      for factor in (f'{name}_a', f'{name}_b'):
        low = multiply(low, getattr(self, factor)[...], adapters[factor].dims)
      return product + cfg.lora.scale * low

    def project(name, x):
      product, bias = times(name, x), f'{name}_bias'
      product = product + getattr(self, bias)[...].astype(product.dtype) if bias in weights else product
      return checkpoint_name(product, 'qkv')

    def to_rotated_heads(name, x, num_heads):
      if cfg.family.qk_norm == 'head':
        x_BTNH = rms_norm(to_heads(x, batch, num_heads), getattr(self, name)[...], cfg.norm_eps)
      else:
        x_BTNH = to_heads(norm(name, x), batch, num_heads)
      return rotate(x_BTNH, cos, sin)

    normed = norm('attention_norm', x_MD)
    q, k, v = (project(name, normed) for name in ('query', 'key', 'value'))
    q = to_rotated_heads('query_norm', q, cfg.num_heads)
    k = to_rotated_heads('key_norm', k, cfg.num_kv_heads)
    context = attend(q, k, to_heads(v, batch, cfg.num_kv_heads))
    x_MD = x_MD + norm('attention_out_norm', times('out', from_heads(context)))

    normed = norm('mlp_norm', x_MD)
    gate, up = (checkpoint_name(times(name, normed), 'mlp') for name in ('gate', 'up'))
    return x_MD + norm('mlp_out_norm', times('down', jax.nn.silu(gate) * up))


class Decoder(nnx.Module):
  """Token ids in, normed hidden states out; `head` turns them into logits where the loss wants them."""

  def __init__(self, cfg: Config, rngs: nnx.Rngs):
    self.cfg = cfg
    weights = cfg.weights
    self.embed = _start(weights['embed'], rngs)
    self.blocks = jax.vmap(lambda r: Block(cfg, r))(rngs.split(cfg.num_layers))
    self.norm = _start(weights['norm'], rngs)
    if not cfg.tie_embeddings:
      self.unembed = _start(weights['unembed'], rngs)

  def __call__(self, tokens_BT, positions_BT, segments_BT=None):
    """Hidden states [B*T, D] in the compute dtype.

    Args:
      tokens_BT: int32 ids, rows split over (data, fsdp).
      positions_BT: int32, restarting in each segment.
      segments_BT: int32, see `attend`; None where every row is one segment.
    """
    cfg = self.cfg
    cos, sin = rotations(positions_BT, cfg.head_dim, cfg.rope_theta, cfg.rope_scaling)
    see = partial(attend, segments_BT=segments_BT, window=cfg.window, implementation=cfg.attention)

    def step(x_MD, block):
      return block(cfg, x_MD, cos, sin, see), None

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
    return merge_rows(jax.reshard(x_BTD, spec('batch', None, None)))

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


def abstract_copy(cfg: Config) -> Decoder:
  """As `abstract`, in the dtypes of a copy that computes and does not train."""
  like = abstract(cfg)
  copied = lambda x, weight: jax.ShapeDtypeStruct(x.shape, weight.copied_as(cfg.dtype), sharding=x.sharding)
  return jax.tree.map(copied, like, describe(like))


def name_of(path) -> str:
  """The name in `Config.weights` of a leaf of a decoder, from its key path."""
  return jax.tree_util.keystr(path, simple=True, separator='.').removesuffix('.value')


def describe(tree: Decoder) -> Decoder:
  """What each leaf is: a tree like this one, of `Weight`s."""
  weights = tree.cfg.weights
  return jax.tree_util.tree_map_with_path(lambda path, _: weights[name_of(path)], tree)
