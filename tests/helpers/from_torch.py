"""Carries the weights of a transformers model over into ours: the oracle side of the tests."""

import jax
import numpy as np
import torch
import transformers

from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config


def torch_model(kind: str, **overrides):
  """A random float32 model of transformers: kind 'llama' or 'mistral', 2 layers x 64, grouped queries."""
  sizes = dict(
    vocab_size=160, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=96, max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.1,
  )  # fmt: skip
  classes = {
    'llama': (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    'mistral': (transformers.MistralConfig, transformers.MistralForCausalLM),
  }
  make_config, make_model = classes[kind]
  if kind == 'mistral':
    sizes['sliding_window'] = None
  torch.manual_seed(0)
  config = make_config(**(sizes | overrides), attn_implementation='eager')
  return make_model(config).float().eval()


def our_config(model) -> Config:
  """The same architecture in our terms."""
  c = model.config
  return Config(
    model_type=c.model_type, vocab_size=c.vocab_size, max_positions=c.max_position_embeddings, dim=c.hidden_size,
    num_layers=c.num_hidden_layers, num_heads=c.num_attention_heads, num_kv_heads=c.num_key_value_heads,
    head_dim=c.hidden_size // c.num_attention_heads, ffn_dim=c.intermediate_size,
    rope_theta=c.rope_parameters['rope_theta'], norm_eps=c.rms_norm_eps,
    window=getattr(c, 'sliding_window', None), tie_embeddings=c.tie_word_embeddings, dtype='float32',
  )  # fmt: skip


def named_weights(model) -> dict[str, np.ndarray]:
  """Weights of a transformers model, or their gradients' like, under our names and in our layout."""
  state = {name: weight.detach().numpy().copy() for name, weight in model.state_dict().items()}
  layers = range(model.config.num_hidden_layers)
  stack = lambda name: np.stack([state[f'model.layers.{i}.{name}.weight'].T for i in layers])
  names = {
    'query': 'self_attn.q_proj', 'key': 'self_attn.k_proj', 'value': 'self_attn.v_proj', 'out': 'self_attn.o_proj',
    'gate': 'mlp.gate_proj', 'up': 'mlp.up_proj', 'down': 'mlp.down_proj', 'attention_norm': 'input_layernorm',
    'mlp_norm': 'post_attention_layernorm',
  }  # fmt: skip
  weights = {f'blocks.{ours}': stack(theirs) for ours, theirs in names.items()}
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
