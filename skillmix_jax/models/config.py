"""What a decoder is (its architecture), which weights it has, and how it is computed."""

import dataclasses
import math

from skillmix_jax.errors import InputError
from skillmix_jax.models.families import FAMILIES, Family
from skillmix_jax.models.lora import Lora, read_lora

REMAT = ('full', 'save_qkv', 'save_qkv_context', 'save_all_matmuls')
ATTENTION = ('xla', 'cudnn', 'splash')
DTYPES = ('float32', 'bfloat16')
ROPE_SCALINGS = ('llama3',)


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """Rotary frequencies made lower, for longer rows than the model was first trained on.

  Attributes:
    kind: 'llama3' divides by `factor` the frequencies that turn fewer than `low` times in `original` tokens, leaves
      those that turn more than `high` times, and goes linearly from one to the other in between.
    factor: how much longer rows became.
    low, high: turns.
    original: longest row before.
  """

  kind: str
  factor: float
  low: float
  high: float
  original: int

  def __post_init__(self):
    if self.kind not in ROPE_SCALINGS:
      raise InputError(f'model.rope_scaling.kind={self.kind!r} is not one of {", ".join(ROPE_SCALINGS)}')
    if not (self.factor >= 1 and 0 < self.low < self.high and self.original >= 1):
      raise InputError(
        f'model.rope_scaling: factor={self.factor} and original={self.original} must be at least 1, '
        f'low={self.low} above 0 and high={self.high} above low'
      )


@dataclasses.dataclass(frozen=True)
class Weight:
  """What one weight is. How it starts, is split, multiplies, is copied for decoding and exported follows from this.

  Attributes:
    kind: 'matrix' multiplies, [in, out]; 'table' has a row for each token; 'norm' scales what was normed; 'bias' is
      added to a product.
    shape: in one layer.
    dims: a name for each dim, which mesh.RULES maps onto the mesh; None is not split.
  """

  kind: str
  shape: tuple[int, ...]
  dims: tuple[str | None, ...]

  @property
  def size(self) -> int:
    """How many numbers it is."""
    return math.prod(self.shape)

  def copied_as(self, dtype: str) -> str:
    """The dtype of a copy that decodes in `dtype`: a norm stays in float32, as everything is that trains."""
    return 'float32' if self.kind == 'norm' else dtype


@dataclasses.dataclass(frozen=True)
class Config:
  """A decoder of one of the known families.

  Attributes:
    model_type: one of models/families.py, as in a Hugging Face config.json.
    vocab_size: rows of the embedding table.
    max_positions: longest row that the model accepts, in tokens.
    dim: width of the residual stream.
    num_layers: number of blocks.
    num_heads: query heads; num_kv_heads divides it (grouped-query attention).
    head_dim: width of one head.
    ffn_dim: hidden width of the gated MLP.
    rope_theta: base of the rotary frequencies.
    rope_scaling: how they are stretched to longer rows; a dict of its fields is taken as well.
    norm_eps: added to the mean square in RMSNorm.
    window: sliding window in tokens, the token itself counted (None: all before it are seen).
    tie_embeddings: the output head is the embedding table.
    dtype: of the computation; the weights that train are always float32.
    remat: what a block keeps for its backward pass: 'full' recomputes everything, 'save_qkv' keeps the projected
      queries, keys and values, 'save_qkv_context' also the attention's output, 'save_all_matmuls' also the MLP's two
      wide products.
    attention: 'xla' runs everywhere; 'cudnn' is NVIDIA's fused kernel, in bfloat16; 'splash' jax's own for TPUs.
    lora: adapters that train, all other weights being frozen (None: all weights train); a dict of its fields is taken
      as well.
  """

  model_type: str
  vocab_size: int
  max_positions: int
  dim: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  ffn_dim: int
  rope_theta: float = 10_000.0
  norm_eps: float = 1e-5
  window: int | None = None
  tie_embeddings: bool = False
  dtype: str = 'bfloat16'
  remat: str = 'full'
  attention: str = 'xla'
  rope_scaling: RopeScaling | None = None
  lora: Lora | None = None

  def __post_init__(self):
    if isinstance(self.rope_scaling, dict):
      object.__setattr__(self, 'rope_scaling', RopeScaling(**self.rope_scaling))
    if isinstance(self.lora, dict):
      object.__setattr__(self, 'lora', read_lora(self.lora))
    choices = {'model_type': tuple(FAMILIES), 'dtype': DTYPES, 'remat': REMAT, 'attention': ATTENTION}
    for name, allowed in choices.items():
      if getattr(self, name) not in allowed:
        raise InputError(f'model.{name}={getattr(self, name)!r} is not one of {", ".join(allowed)}')
    widths = ('dim', 'num_heads', 'num_kv_heads', 'head_dim', 'ffn_dim')
    for name in ('vocab_size', 'max_positions', 'num_layers', *widths):
      if getattr(self, name) < 1:
        raise InputError(f'model.{name}={getattr(self, name)} must be at least 1')
    if self.num_heads % self.num_kv_heads:
      raise InputError(f'model.num_kv_heads={self.num_kv_heads} must divide model.num_heads={self.num_heads}')
    if self.head_dim % 2:
      raise InputError(f'model.head_dim={self.head_dim} must be even: rotary embeddings turn pairs')
    if self.window is not None and self.window < 1:
      raise InputError(f'model.window={self.window} must be at least 1 token, or None')
    if self.lora is not None:
      self.lora.check_targets([name for name, weight in self.block_weights.items() if weight.kind == 'matrix'])

  @property
  def family(self) -> Family:
    """What its model type says."""
    return FAMILIES[self.model_type]

  def check_family(self):
    """Raises InputError where no config.json of its model type can say what it computes."""
    if self.window is not None and not self.family.has_window:
      able = ', '.join(name for name, family in FAMILIES.items() if family.has_window)
      raise InputError(
        f'model.window={self.window}: the config.json of a {self.model_type} has no window, so no other program would '
        f'compute it; leave it out, or give a model.model_type that has one ({able})'
      )

  def check_mesh(self, fsdp: int, tensor: int):
    """Raises InputError where a mesh of these sizes cannot split this model's weights."""
    for name, size in (('num_kv_heads', tensor), ('ffn_dim', tensor), ('vocab_size', tensor), ('dim', fsdp * tensor)):
      if getattr(self, name) % size:
        raise InputError(f'model.{name}={getattr(self, name)} is not divisible by {size} (mesh.fsdp={fsdp}, '
                         f'mesh.tensor={tensor}): choose other mesh sizes')  # fmt: skip

  @property
  def block_weights(self) -> dict[str, Weight]:
    """The weights of one block by their names, in the order of a forward pass."""
    D, F, H = self.dim, self.ffn_dim, self.head_dim
    N, K = self.num_heads * H, self.num_kv_heads * H
    family, norm = self.family, Weight('norm', (D,), (None,))
    bias = lambda size: Weight('bias', (size,), ('heads',))
    of_head = Weight('norm', (H,), (None,))
    qk_norm = lambda size: of_head if family.qk_norm == 'head' else Weight('norm', (size,), ('heads',))
    return {
      **({'attention_norm': norm} if family.norms == 'before' else {}),
      'query': Weight('matrix', (D, N), ('embed', 'heads')),
      'key': Weight('matrix', (D, K), ('embed', 'heads')),
      'value': Weight('matrix', (D, K), ('embed', 'heads')),
      **({'query_bias': bias(N), 'key_bias': bias(K), 'value_bias': bias(K)} if family.qkv_bias else {}),
      **({'query_norm': qk_norm(N), 'key_norm': qk_norm(K)} if family.qk_norm else {}),
      'out': Weight('matrix', (N, D), ('heads', 'embed')),
      **({'attention_out_norm': norm} if family.norms == 'after' else {}),
      **({'mlp_norm': norm} if family.norms == 'before' else {}),
      'gate': Weight('matrix', (D, F), ('embed', 'ffn')),
      'up': Weight('matrix', (D, F), ('embed', 'ffn')),
      'down': Weight('matrix', (F, D), ('ffn', 'embed')),
      **({'mlp_out_norm': norm} if family.norms == 'after' else {}),
    }

  @property
  def weights(self) -> dict[str, Weight]:
    """All weights by their names; each layer has its own of those that are called 'blocks.NAME'."""
    D, V = self.dim, self.vocab_size
    return {
      'embed': Weight('table', (V, D), (None, 'lookup')),
      **{f'blocks.{name}': weight for name, weight in self.block_weights.items()},
      'norm': Weight('norm', (D,), (None,)),
      **({} if self.tie_embeddings else {'unembed': Weight('matrix', (D, V), ('embed', 'vocab'))}),
    }

  @property
  def adapter_weights(self) -> dict[str, Weight]:
    """The adapters of one block by their names, NAME_a and NAME_b for each target; they are beside `weights`."""
    adapters, rank = {}, self.lora.rank if self.lora else 0
    for name in self.lora.targets if self.lora else ():
      (num_in, num_out), (dim_in, dim_out) = self.block_weights[name].shape, self.block_weights[name].dims
      adapters[f'{name}_a'] = Weight('matrix', (num_in, rank), (dim_in, None))
      adapters[f'{name}_b'] = Weight('matrix', (rank, num_out), (None, dim_out))
    return adapters

  @property
  def num_params(self) -> int:
    """Number of weights, the embedding table included and adapters left out."""
    num_of = lambda name: self.num_layers if name.startswith('blocks.') else 1
    return sum(num_of(name) * weight.size for name, weight in self.weights.items())

  @property
  def num_trained(self) -> int:
    """Number of weights that train: all, or those of the adapters."""
    if self.lora is None:
      return self.num_params
    return self.num_layers * sum(weight.size for weight in self.adapter_weights.values())

  def train_flops_per_token(self, length: int) -> float:
    """Model FLOPs to train on one token of a row of `length` tokens; recomputation is not counted.

    6 for each weight that multiplies (2 forward, 4 backward; without its own gradient 4, if it is frozen; the embedding
    lookup multiplies nothing, a tied table multiplies as the head) and 6 * layers * length * heads * head_dim for
    causal attention: 12 (two products, 2 + 4 FLOPs) times the length/2 keys that an average token sees.
    """
    lookup = 0 if self.tie_embeddings else self.vocab_size * self.dim
    attention = 6 * self.num_layers * length * self.num_heads * self.head_dim
    multiplied = self.num_params - lookup
    products = 6 * multiplied if self.lora is None else 4 * multiplied + 6 * self.num_trained
    return products + attention


_LLAMA2_7B = Config(
  model_type='llama', vocab_size=32_000, max_positions=4096, dim=4096, num_layers=32, num_heads=32, num_kv_heads=32,
  head_dim=128, ffn_dim=11_008,
)  # fmt: skip
_MISTRAL_7B = Config(
  model_type='mistral', vocab_size=32_000, max_positions=32_768, dim=4096, num_layers=32, num_heads=32, num_kv_heads=8,
  head_dim=128, ffn_dim=14_336, window=4096,
)  # fmt: skip

_LLAMA31_8B = Config(
  model_type='llama', vocab_size=128_256, max_positions=131_072, dim=4096, num_layers=32, num_heads=32, num_kv_heads=8,
  head_dim=128, ffn_dim=14_336, rope_theta=500_000.0, rope_scaling=RopeScaling('llama3', 8.0, 1.0, 4.0, 8192),
)  # fmt: skip
_LLAMA32_3B = dataclasses.replace(
  _LLAMA31_8B, dim=3072, num_layers=28, num_heads=24, ffn_dim=8192, tie_embeddings=True,
  rope_scaling=RopeScaling('llama3', 32.0, 1.0, 4.0, 8192),
)  # fmt: skip
_QWEN25_7B = Config(
  model_type='qwen2', vocab_size=152_064, max_positions=32_768, dim=3584, num_layers=28, num_heads=28, num_kv_heads=4,
  head_dim=128, ffn_dim=18_944, rope_theta=1_000_000.0, norm_eps=1e-6,
)  # fmt: skip
_QWEN25_1B = dataclasses.replace(
  _QWEN25_7B, vocab_size=151_936, dim=1536, num_heads=12, num_kv_heads=2, ffn_dim=8960, tie_embeddings=True
)
_QWEN3_4B = Config(
  model_type='qwen3', vocab_size=151_936, max_positions=262_144, dim=2560, num_layers=36, num_heads=32, num_kv_heads=8,
  head_dim=128, ffn_dim=9728, rope_theta=5_000_000.0, norm_eps=1e-6, tie_embeddings=True,
)  # fmt: skip
_OLMO2_7B = Config(
  model_type='olmo2', vocab_size=100_352, max_positions=4096, dim=4096, num_layers=32, num_heads=32, num_kv_heads=32,
  head_dim=128, ffn_dim=11_008, rope_theta=500_000.0, norm_eps=1e-6,
)  # fmt: skip

# The published architectures: LLaMA-2 (Touvron et al., arXiv:2307.09288) and Mistral 7B (Jiang et al.,
# arXiv:2310.06825; v0.2 has no sliding window and another rotary base); the others are those of the config.json of
# mistralai/Mistral-7B-Instruct-v0.3 and Mistral-Nemo-Instruct-2407, meta-llama/Llama-3.1-8B-Instruct and 3.2,
# Qwen/Qwen2.5-*-Instruct and Qwen3-4B-Instruct-2507, allenai/OLMo-2-0425-1B-Instruct and OLMo-2-1124-7B-Instruct.
PRESETS = {
  'llama2-7b': _LLAMA2_7B,
  'llama2-13b': dataclasses.replace(_LLAMA2_7B, dim=5120, num_layers=40, num_heads=40, num_kv_heads=40, ffn_dim=13_824),
  'llama2-70b': dataclasses.replace(_LLAMA2_7B, dim=8192, num_layers=80, num_heads=64, num_kv_heads=8, ffn_dim=28_672),
  'mistral-7b-v0.1': _MISTRAL_7B,
  'mistral-7b-v0.2': dataclasses.replace(_MISTRAL_7B, window=None, rope_theta=1_000_000.0),
  'mistral-7b-v0.3': dataclasses.replace(_MISTRAL_7B, window=None, rope_theta=1_000_000.0, vocab_size=32_768),
  'mistral-nemo': dataclasses.replace(
    _MISTRAL_7B, window=None, rope_theta=1_000_000.0, vocab_size=131_072, max_positions=131_072, dim=5120, num_layers=40
  ),
  'llama3.1-8b': _LLAMA31_8B,
  'llama3.2-3b': _LLAMA32_3B,
  'llama3.2-1b': dataclasses.replace(_LLAMA32_3B, dim=2048, num_layers=16, num_heads=32, head_dim=64),
  'qwen2.5-7b': _QWEN25_7B,
  'qwen2.5-1.5b': _QWEN25_1B,
  'qwen2.5-0.5b': dataclasses.replace(_QWEN25_1B, dim=896, num_layers=24, num_heads=14, head_dim=64, ffn_dim=4864),
  'qwen3-4b': _QWEN3_4B,
  'olmo2-7b': _OLMO2_7B,
  'olmo2-1b': dataclasses.replace(_OLMO2_7B, dim=2048, num_layers=16, num_heads=16, num_kv_heads=16, ffn_dim=8192),
}
