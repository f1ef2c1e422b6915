"""Carries the weights of a transformers model over into ours: the oracle side of the tests."""

import jax
import numpy as np
import torch
import transformers

from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config, RopeScaling

LLAMA3_ROPE = {  # all three cases of the frequencies of heads of 16: kept, in between and divided
  'rope_type': 'llama3', 'rope_theta': 500.0, 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
  'original_max_position_embeddings': 64,
}  # fmt: skip


# The kinds beyond LLaMA-2 and Mistral v0.1, for `torch_model`.
FAMILIES = {
  'llama 3': ('llama', {'rope_parameters': LLAMA3_ROPE, 'tie_word_embeddings': True}),
  'mistral nemo': ('mistral', {'head_dim': 24}),
  'olmo 2': ('olmo2', {}),
  'qwen 2.5': ('qwen2', {'num_key_value_heads': 1}),
  'qwen 3': ('qwen3', {'tie_word_embeddings': True}),
}


def torch_model(kind: str, **overrides):
  """A random float32 model of transformers, kind as in FAMILIES: 2 layers x 64, grouped queries.

  Beyond llama and mistral, norms and biases are random as well, so that one that is forgotten shows.
  """
  sizes = dict(
    vocab_size=160, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=96, max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.1,
  )  # fmt: skip
  classes = {
    'llama': (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    'mistral': (transformers.MistralConfig, transformers.MistralForCausalLM),
    'olmo2': (transformers.Olmo2Config, transformers.Olmo2ForCausalLM),
    'qwen2': (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    'qwen3': (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
  }
  make_config, make_model = classes[kind]
  if kind == 'mistral':
    sizes['sliding_window'] = None
  if kind == 'qwen3':
    sizes['head_dim'] = 32
  if kind == 'olmo2':
    sizes['pad_token_id'] = None  # else its embedding has no gradient in torch
  torch.manual_seed(0)
  config = make_config(**(sizes | overrides), attn_implementation='eager')
  model = make_model(config).float().eval()
  if kind not in ('llama', 'mistral'):
    with torch.no_grad():
      for name, weight in model.named_parameters():
        if name.endswith(('norm.weight', '.bias')):
          weight += 0.2 * torch.randn_like(weight)
  return model


def our_config(model) -> Config:
  """The same architecture in our terms."""
  c = model.config
  return Config(
    model_type=c.model_type, vocab_size=c.vocab_size, max_positions=c.max_position_embeddings, dim=c.hidden_size,
    num_layers=c.num_hidden_layers, num_heads=c.num_attention_heads, num_kv_heads=c.num_key_value_heads,
    head_dim=getattr(c, 'head_dim', c.hidden_size // c.num_attention_heads), ffn_dim=c.intermediate_size,
    rope_theta=c.rope_parameters['rope_theta'], norm_eps=c.rms_norm_eps,
    window=getattr(c, 'sliding_window', None), tie_embeddings=c.tie_word_embeddings, dtype='float32',
    rope_scaling=_scaling(**c.rope_parameters),
  )  # fmt: skip


def _scaling(rope_type, rope_theta, factor=None, low_freq_factor=None, high_freq_factor=None, **rest):
  if rope_type == 'default':
    return None
  return RopeScaling(rope_type, factor, low_freq_factor, high_freq_factor, rest['original_max_position_embeddings'])


def named_weights(model) -> dict[str, np.ndarray]:
  """Weights of a transformers model, or their gradients' like, under our names and in our layout."""
  state = {name: weight.detach().numpy().copy() for name, weight in model.state_dict().items()}
  layers = range(model.config.num_hidden_layers)
  stack = lambda name: np.stack([state[f'model.layers.{i}.{name}'].T for i in layers])
  names = {
    'query': 'self_attn.q_proj', 'key': 'self_attn.k_proj', 'value': 'self_attn.v_proj', 'out': 'self_attn.o_proj',
    'gate': 'mlp.gate_proj', 'up': 'mlp.up_proj', 'down': 'mlp.down_proj',
  }  # fmt: skip
  names |= {
    'olmo2': {'attention_out_norm': 'post_attention_layernorm', 'mlp_out_norm': 'post_feedforward_layernorm'},
  }.get(model.config.model_type, {'attention_norm': 'input_layernorm', 'mlp_norm': 'post_attention_layernorm'})
  if model.config.model_type in ('olmo2', 'qwen3'):
    names |= {'query_norm': 'self_attn.q_norm', 'key_norm': 'self_attn.k_norm'}
  weights = {f'blocks.{ours}': stack(f'{theirs}.weight') for ours, theirs in names.items()}
  if model.config.model_type == 'qwen2':
    weights |= {f'blocks.{name}_bias': stack(f'self_attn.{name[0]}_proj.bias') for name in ('query', 'key', 'value')}
  weights |= {'embed': state['model.embed_tokens.weight'], 'norm': state['model.norm.weight']}
  if not model.config.tie_word_embeddings:
    weights['unembed'] = state['lm_head.weight'].T
  return weights


def to_ours(model, cfg: Config) -> decoder.Decoder:
  """A decoder of ours with the weights of a transformers model, on the current mesh."""
  weights = named_weights(model)
  mine = decoder.init(cfg, seed=0)
  put = lambda path, x: jax.device_put(weights[decoder.name_of(path)], x.sharding)
  return jax.tree_util.tree_map_with_path(put, mine)
