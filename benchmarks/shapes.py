"""The shapes that are timed against transformers + torch, and transformers' model of each."""

import dataclasses
import os

import torch
import transformers

from skillmix_jax.models import hf
from skillmix_jax.models.config import Config

LLAMA = Config(
  'llama', vocab_size=32_000, max_positions=4096, dim=512, num_layers=6, num_heads=8, num_kv_heads=8, head_dim=64,
  ffn_dim=1408, dtype='float32', remat='save_qkv_context',
)  # fmt: skip
SHAPES = {
  'LLaMA': LLAMA,
  'Mistral': dataclasses.replace(LLAMA, model_type='mistral', num_kv_heads=2),  # grouped queries, and nothing else
  'Qwen 3': dataclasses.replace(LLAMA, model_type='qwen3', num_kv_heads=2, head_dim=128, tie_embeddings=True),
  'OLMo 2': dataclasses.replace(LLAMA, model_type='olmo2'),
}


def their_model(cfg: Config) -> transformers.PreTrainedModel:
  """The same shape in transformers: random weights, torch's fused attention, all cores; no token ends a text."""
  torch.set_num_threads(os.cpu_count())
  config = transformers.AutoConfig.for_model(**hf.config_dict(cfg, 'float32', bos_id=None, eos_id=0))
  config.eos_token_id = None
  return transformers.AutoModelForCausalLM.from_config(config, attn_implementation='sdpa').float()
