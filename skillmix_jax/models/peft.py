"""Adapters as a folder of the package peft: adapter_config.json and adapter_model.safetensors."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skillmix_jax.models import tensor_files
from skillmix_jax.models.adapters import Adapters
from skillmix_jax.models.config import Config
from skillmix_jax.models.hf import NAMES

LETTERS = {'a': 'lora_A', 'b': 'lora_B'}


def config_dict(cfg: Config, base: str) -> dict:
  """adapter_config.json of adapters that belong to the model `base`, a Hugging Face folder or repository."""
  assert cfg.lora is not None
  return {
    'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'base_model_name_or_path': base, 'inference_mode': True,
    'r': cfg.lora.rank, 'lora_alpha': cfg.lora.alpha, 'lora_dropout': 0.0, 'use_rslora': False, 'bias': 'none',
    'target_modules': [NAMES[f'blocks.{name}'].split('.')[-2] for name in cfg.lora.targets],
    'fan_in_fan_out': False, 'init_lora_weights': True, 'modules_to_save': None,
  }  # fmt: skip


def save(folder: Path, adapters: Adapters, cfg: Config, base: str):
  """Writes both files; the numbers stay in float32, as they were trained. Theirs are [out, in], as all of peft's."""
  places = {
    f'base_model.model.{NAMES[f"blocks.{name[:-2]}"].format(layer).removesuffix("weight")}{LETTERS[name[-1]]}.weight': (
      name, layer
    ) for layer in range(cfg.num_layers) for name in cfg.adapter_weights
  }  # fmt: skip
  shapes = {theirs: cfg.adapter_weights[name].shape[::-1] for theirs, (name, _) in places.items()}

  def tensors() -> Iterator[np.ndarray]:
    for name, layer in places.values():
      yield np.asarray(adapters['blocks'][name][layer]).T

  (folder / 'adapter_config.json').write_text(json.dumps(config_dict(cfg, base), indent=1) + '\n')
  tensor_files.write_file(folder / 'adapter_model.safetensors', shapes, tensors(), np.dtype(np.float32))
