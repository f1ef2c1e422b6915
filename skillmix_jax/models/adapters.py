"""Which weights train: a whole decoder, or adapters (LoRA) beside a decoder that is frozen. Nothing else asks.

What trains is a tree with the names of a checkpoint: a decoder, or {'blocks': {'query_a': [layers, in, rank],
'query_b': [layers, rank, out], ...}} in float32. What is frozen is a decoder, stored as samplers copy it (matrices in
the compute dtype, norms in float32), or None. `join` makes the decoder that computes, `merge` one without adapters.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from skillmix_jax.mesh import spec
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.models.decoder import Decoder, name_of

Adapters = dict[str, dict[str, jax.Array]]
Trained = Decoder | Adapters


def abstract(cfg: Config) -> tuple[Trained, Decoder | None]:
  """Shapes, dtypes and shardings of what trains and of what is frozen; nothing is allocated."""
  if cfg.lora is None:
    return decoder.abstract(cfg), None
  return jax.eval_shape(lambda: _random(cfg, jax.random.key(0))), decoder.abstract_copy(cfg)


def init(cfg: Config, seed: int) -> Trained:
  """What trains, random and born with its sharding; the same on every mesh. With adapters, a run starts as its base."""
  if cfg.lora is None:
    return decoder.init(cfg, seed)
  return jax.jit(lambda: _random(cfg, jax.random.key(seed)))()


def _random(cfg: Config, key: jax.Array) -> Adapters:
  """A uniform in +-1/sqrt(in), as in the package peft, and B zero."""
  blocks = {}
  for number, (name, weight) in enumerate(cfg.adapter_weights.items()):
    shape, dims = (cfg.num_layers, *weight.shape), spec(None, *weight.dims)
    if name.endswith('_b'):
      blocks[name] = jnp.zeros(shape, jnp.float32, out_sharding=dims)
    else:
      bound, own = weight.shape[0] ** -0.5, jax.random.fold_in(key, number)
      blocks[name] = jax.random.uniform(own, shape, jnp.float32, -bound, bound, out_sharding=dims)
  return {'blocks': blocks}


def join(trained: Trained, frozen: Decoder | None) -> Decoder:
  """The decoder that both make: no array is copied or computed."""
  if isinstance(trained, Decoder):
    return trained
  assert frozen is not None
  model = jax.tree.map(lambda x: x, frozen)  # modules of its own for the same arrays
  for name, x in trained['blocks'].items():
    setattr(model.blocks, name, nnx.Param(x))
  return model


def merge(trained: Trained, frozen: Decoder | None, like: Decoder | None = None, consume: bool = False) -> Decoder:
  """A decoder without adapters that computes the same: A B is added to its matrix, in float32.

  Args:
    trained, frozen: see above.
    like: a decoder, abstract or not, whose dtypes the result has; None: those of `frozen`.
    consume: the arrays of `frozen` are not needed any more, and are freed one by one.
  """
  if isinstance(trained, Decoder):
    return trained
  assert frozen is not None and frozen.cfg.lora is not None
  like, scale, adapters = like or frozen, frozen.cfg.lora.scale, trained['blocks']

  def merged(path, x, dtype):
    name = name_of(path).removeprefix('blocks.')
    if f'{name}_a' in adapters:
      result = _add(x, adapters[f'{name}_a'], adapters[f'{name}_b'], scale=scale, dtype=dtype)
    elif x.dtype != dtype:
      result = x.astype(dtype)
    else:
      return x
    if consume:
      x.delete()
    return result

  leaves = jax.tree_util.tree_leaves_with_path(frozen)
  arrays = [merged(*leaf, wanted.dtype) for leaf, wanted in zip(leaves, jax.tree.leaves(like), strict=True)]
  return jax.tree.unflatten(jax.tree.structure(like), arrays)


@partial(jax.jit, static_argnames=('scale', 'dtype'))
def _add(stack, a, b, *, scale: float, dtype):
  """One layer after the other: a sum in float32 of all of them would take twice the room of the weights."""

  def layer(weights):
    matrix, a, b = weights
    return (matrix.astype(jnp.float32) + scale * jnp.matmul(a, b, precision='highest')).astype(dtype)

  return jax.lax.map(layer, (stack, a, b))
