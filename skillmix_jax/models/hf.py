"""The families as Hugging Face folders: their config.json and safetensors, read and written.

`NAMES` is the one table of names. A matrix of ours is [in, out] and stacked over the layers, theirs is [out, in] and
apart, so it is transposed on the way. Rotary pairs are the halves of a head on both sides: nothing is permuted.
"""

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax.errors import InputError
from skillmix_jax.models import tensor_files
from skillmix_jax.models.config import ROPE_SCALINGS, Config, RopeScaling
from skillmix_jax.models.decoder import Decoder, name_of
from skillmix_jax.models.families import FAMILIES
from skillmix_jax.models.tensor_files import Tensor

# Our name in Config.weights -> theirs, with the layer's number in place of {}.
NAMES = {
  'embed': 'model.embed_tokens.weight',
  'blocks.attention_norm': 'model.layers.{}.input_layernorm.weight',
  'blocks.query': 'model.layers.{}.self_attn.q_proj.weight',
  'blocks.key': 'model.layers.{}.self_attn.k_proj.weight',
  'blocks.value': 'model.layers.{}.self_attn.v_proj.weight',
  'blocks.query_bias': 'model.layers.{}.self_attn.q_proj.bias',
  'blocks.key_bias': 'model.layers.{}.self_attn.k_proj.bias',
  'blocks.value_bias': 'model.layers.{}.self_attn.v_proj.bias',
  'blocks.query_norm': 'model.layers.{}.self_attn.q_norm.weight',
  'blocks.key_norm': 'model.layers.{}.self_attn.k_norm.weight',
  'blocks.out': 'model.layers.{}.self_attn.o_proj.weight',
  'blocks.attention_out_norm': 'model.layers.{}.post_attention_layernorm.weight',  # after the attention
  'blocks.mlp_norm': 'model.layers.{}.post_attention_layernorm.weight',  # the same name, but before the MLP
  'blocks.gate': 'model.layers.{}.mlp.gate_proj.weight',
  'blocks.up': 'model.layers.{}.mlp.up_proj.weight',
  'blocks.down': 'model.layers.{}.mlp.down_proj.weight',
  'blocks.mlp_out_norm': 'model.layers.{}.post_feedforward_layernorm.weight',
  'norm': 'model.norm.weight',
  'unembed': 'lm_head.weight',
}
DERIVED = 'rotary_emb.inv_freq'  # older files store these frequencies, which rope_theta gives
MAX_FILE_BYTES = 5_000_000_000


def _transformers():
  """transformers, without its advice on standard error that torch is missing: nothing here needs it."""
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  import transformers

  return transformers


def read_config(folder: Path) -> Config:
  """The architecture of a Hugging Face folder.

  Raises:
    InputError: there is no config.json, or it is of an architecture that the decoder does not compute.
  """
  path = folder / 'config.json'
  try:
    raw = json.loads(path.read_text(encoding='utf-8'))
    model_type = raw.get('model_type')
  except FileNotFoundError:
    raise InputError(f'{folder} is no model folder: it has no config.json') from None
  except (OSError, ValueError, AttributeError) as error:
    raise InputError(f'{path} cannot be read ({error}); download it again') from error
  if model_type not in FAMILIES:
    raise InputError(f'{path}: model_type {model_type!r} is not supported, only {", ".join(FAMILIES)}')
  try:
    theirs = _transformers().AutoConfig.from_pretrained(folder)
  except Exception as error:  # the library has many
    raise InputError(f'{path} is refused by transformers: {error}') from error
  _check_supported(path, theirs)
  heads, rope = theirs.num_attention_heads, theirs.rope_parameters
  return Config(
    model_type=model_type, vocab_size=theirs.vocab_size, max_positions=theirs.max_position_embeddings,
    dim=theirs.hidden_size, num_layers=theirs.num_hidden_layers, num_heads=heads,
    num_kv_heads=theirs.num_key_value_heads, head_dim=getattr(theirs, 'head_dim', None) or theirs.hidden_size // heads,
    ffn_dim=theirs.intermediate_size, rope_theta=float(rope['rope_theta']), rope_scaling=_scaling(path, rope),
    norm_eps=theirs.rms_norm_eps, window=_window(path, theirs), tie_embeddings=theirs.tie_word_embeddings,
  )  # fmt: skip


# A field of RopeScaling -> its name in rope_parameters.
ROPE_NAMES = {
  'kind': 'rope_type',
  'factor': 'factor',
  'low': 'low_freq_factor',
  'high': 'high_freq_factor',
  'original': 'original_max_position_embeddings',
}


def _scaling(path: Path, rope: dict[str, Any]) -> RopeScaling | None:
  if rope.get('rope_type', 'default') == 'default':
    return None
  try:
    fields: dict[str, Any] = {ours: rope.get(theirs) for ours, theirs in ROPE_NAMES.items()}
    return RopeScaling(**fields)
  except (InputError, TypeError) as error:
    raise InputError(f'{path}: rope_parameters {rope}: {error}') from error


def _window(path: Path, theirs) -> int | None:
  kinds = set(getattr(theirs, 'layer_types', None) or ())
  if len(kinds) > 1:
    raise InputError(f'{path}: a window in some layers and none in others is not supported (layer_types)')
  return None if kinds == {'full_attention'} else getattr(theirs, 'sliding_window', None)


def _check_supported(path: Path, theirs):
  kind = theirs.rope_parameters.get('rope_type', 'default')
  if kind not in ('default', *ROPE_SCALINGS):
    raise InputError(
      f'{path}: rope scaling of type {kind!r} is not supported, only {", ".join(ROPE_SCALINGS)}; '
      'take a model without it'
    )
  if theirs.rope_parameters.get('partial_rotary_factor', 1.0) != 1.0:
    raise InputError(f'{path}: a rotary embedding of a part of each head is not supported (partial_rotary_factor)')
  for name, supported in (('hidden_act', 'silu'), ('attention_bias', False), ('mlp_bias', False)):
    value = getattr(theirs, name, supported)
    if value != supported:
      raise InputError(f'{path}: {name}={value!r} is not supported, only {supported!r}')
  if getattr(theirs, 'quantization_config', None):
    raise InputError(f'{path}: quantised weights are not supported; take the model that they were made from')


def config_dict(cfg: Config, dtype: str, bos_id: int | None, eos_id: int) -> dict[str, Any]:
  """config.json of `cfg`, for transformers of today (rope_parameters) and for older readers (rope_theta)."""
  cfg.check_family()
  make = getattr(_transformers(), f'{cfg.family.classes}Config')
  window = {'sliding_window': cfg.window, 'use_sliding_window': cfg.window is not None, 'max_window_layers': 0}
  scaling = cfg.rope_scaling and {theirs: getattr(cfg.rope_scaling, ours) for ours, theirs in ROPE_NAMES.items()}
  theirs = make(
    vocab_size=cfg.vocab_size, max_position_embeddings=cfg.max_positions, hidden_size=cfg.dim,
    num_hidden_layers=cfg.num_layers, num_attention_heads=cfg.num_heads, num_key_value_heads=cfg.num_kv_heads,
    head_dim=cfg.head_dim, intermediate_size=cfg.ffn_dim, rms_norm_eps=cfg.norm_eps, hidden_act='silu',
    rope_parameters={'rope_type': 'default', **(scaling or {}), 'rope_theta': cfg.rope_theta},
    tie_word_embeddings=cfg.tie_embeddings, bos_token_id=bos_id, eos_token_id=eos_id, dtype=dtype,
    **{name: value for name, value in window.items() if hasattr(make, name)},
  )  # fmt: skip
  shown = json.loads(theirs.to_json_string())
  return shown | {
    'architectures': [f'{cfg.family.classes}ForCausalLM'], 'rope_theta': cfg.rope_theta,
    'tie_word_embeddings': cfg.tie_embeddings, 'torch_dtype': dtype, **({'rope_scaling': scaling} if scaling else {}),
  }  # fmt: skip


def save_generation_config(folder: Path, bos_id: int | None, eos_id: int | list[int]):
  """Writes generation_config.json, which tells `generate` where to stop."""
  _transformers().GenerationConfig(bos_token_id=bos_id, eos_token_id=eos_id).save_pretrained(folder)


def _leaves(tree: Decoder) -> dict[str, jax.Array]:
  """Name of ours -> array (or its abstract form), in the order of the tree."""
  return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


class _Place(NamedTuple):
  """Where a tensor of theirs is in a decoder of ours."""

  name: str
  layer: int | None  # of the stack, where there is one
  transposed: bool
  shape: tuple[int, ...]  # theirs


def _places(cfg: Config) -> dict[str, _Place]:
  """Their name -> our place, in the order of a forward pass."""
  places: dict[str, _Place] = {}

  def add(names: Iterable[str], layer: int | None):
    for name in names:
      weight = cfg.weights[name]
      transposed = weight.kind == 'matrix'
      shape = weight.shape[::-1] if transposed else weight.shape
      places[NAMES[name].format(layer)] = _Place(name, layer, transposed, shape)

  add(['embed'], None)
  for layer in range(cfg.num_layers):
    add([f'blocks.{name}' for name in cfg.block_weights], layer)
  add([name for name in ('norm', 'unembed') if name in cfg.weights], None)
  return places


def shapes_of(cfg: Config) -> dict[str, tuple[int, ...]]:
  """Name of theirs -> shape, for every tensor of a decoder."""
  return {name: place.shape for name, place in _places(cfg).items()}


def check_tensors(folder: Path, like: Decoder) -> dict[str, Tensor]:
  """The tensors of a folder, by their names, if they are exactly those of the abstract decoder `like`.

  Raises:
    InputError: a file is missing or damaged; a tensor is missing, has another shape or is not of this model.
  """
  tensors = tensor_files.open_folder(folder)
  expected = shapes_of(like.cfg)
  ignored = {NAMES['unembed']} - expected.keys()  # tied: a copy of the embedding table
  for name, shape in expected.items():
    if name not in tensors:
      raise InputError(f'{folder}: the weights lack {name}, which config.json implies; download the folder again')
    if tensors[name].shape != shape:
      raise InputError(f'{tensors[name].file}: {name} has shape {tensors[name].shape}, but config.json implies {shape}')
  for name in tensors:
    if name not in expected and name not in ignored and not name.endswith(DERIVED):
      raise InputError(f'{tensors[name].file}: unexpected tensor {name}: not a plain {like.cfg.model_type} model')
  return tensors


@partial(jax.jit, static_argnames=('transposed', 'dtype'))
def _as_ours(x, *, transposed: bool, dtype):
  return (x.T if transposed else x).astype(dtype)


@partial(jax.jit, static_argnames='transposed', donate_argnums=0)
def _put_layer(stack, x, layer, *, transposed: bool):
  return jax.lax.dynamic_update_index_in_dim(stack, _as_ours(x, transposed=transposed, dtype=stack.dtype), layer, 0)


@partial(jax.jit, static_argnames=('transposed', 'dtype'))
def _take_layer(stack, layer, *, transposed: bool, dtype: str):
  x = jax.lax.dynamic_index_in_dim(stack, layer, 0, keepdims=False)
  return (x.T if transposed else x).astype(dtype)


def _place(tensor: Tensor, names: tuple, transposed: bool, mesh: jax.sharding.Mesh) -> jax.Array:
  """One tensor in their layout on the devices; each device's part is read from the file by itself."""
  spec = jax.P(*(names[::-1] if transposed else names))
  parts: dict[str, np.ndarray] = {}  # devices that hold the same part share it

  def read(index: tuple[slice, ...] | None) -> np.ndarray:
    key = str(index)
    if key not in parts:
      parts[key] = tensor.read(index)
    return parts[key]

  return jax.make_array_from_callback(tensor.shape, jax.NamedSharding(mesh, spec), read)


def load(folder: Path, like: Decoder, mesh: jax.sharding.Mesh) -> Decoder:
  """The weights of a Hugging Face folder, in the dtypes and shardings of `like` (an abstract decoder) on the mesh.

  Layers are filled in one after the other: beside the arrays, the host holds the parts of one layer's matrix.

  Raises:
    InputError: as check_tensors; before anything is read.
  """
  tensors = check_tensors(folder, like)

  def read(ours: str, leaf) -> jax.Array:
    theirs, transposed = NAMES[ours], like.cfg.weights[ours].kind == 'matrix'
    names = leaf.sharding.spec
    names = (*names, *[None] * (leaf.ndim - len(names)))
    if not ours.startswith('blocks.'):
      return _as_ours(_place(tensors[theirs], names, transposed, mesh), transposed=transposed, dtype=leaf.dtype)
    zeros = jax.jit(lambda: jnp.zeros(leaf.shape, leaf.dtype, out_sharding=leaf.sharding.spec))
    stack = zeros()
    for layer in range(leaf.shape[0]):
      x = _place(tensors[theirs.format(layer)], names[1:], transposed, mesh)
      # Waits, since parts that are still to be copied would pile up on the host.
      stack = _put_layer(stack, x, layer, transposed=transposed).block_until_ready()
    return stack

  arrays = [read(ours, leaf) for ours, leaf in _leaves(like).items()]
  return jax.tree.unflatten(jax.tree.structure(like), arrays)


def save(folder: Path, params: Decoder, dtype: str, max_file_bytes: int = MAX_FILE_BYTES):
  """Writes the weights into `folder` as safetensors of `dtype`, one tensor at a time, under their names."""
  leaves, places = _leaves(params), _places(params.cfg)

  def tensors() -> Iterator[np.ndarray]:
    for name, layer, transposed, _ in places.values():
      stack = leaves[name][None] if layer is None else leaves[name]
      yield np.asarray(_take_layer(stack, layer or 0, transposed=transposed, dtype=dtype))

  tensor_files.write_folder(folder, shapes_of(params.cfg), tensors(), np.dtype(jnp.dtype(dtype)), max_file_bytes)
