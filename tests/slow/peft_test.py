"""Adapters against the package peft, which is installed beside everything else for this file alone. Needs pip."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from helpers.from_torch import FAMILIES, torch_model
from lora_test import ALL, KEYS, LORA, steps
from optax import GradientTransformation
from step_test import ADAM, make_batch, torch_loss
from train_test import run

from skillmix_jax import convert
from skillmix_jax.models.hf import NAMES

MODULES = {name: NAMES[f'blocks.{name}'].split('.')[-2] for name in ALL}


@pytest.fixture(scope='module')
def peft(tmp_path_factory):
  """The package; torch and transformers are those of this environment."""
  folder = tmp_path_factory.mktemp('peft')
  wanted = ['peft==0.21.2', 'accelerate', 'psutil']
  subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', folder, *wanted], check=True)
  sys.path.append(str(folder))
  import peft

  yield peft
  sys.path.remove(str(folder))


def adapted(peft, theirs, factors: dict[str, np.ndarray]):
  """A model of transformers with adapters of theirs that start from ours."""
  config = peft.LoraConfig(
    r=LORA.rank, lora_alpha=LORA.alpha, lora_dropout=0.0, target_modules=list(MODULES.values()), task_type='CAUSAL_LM'
  )
  model = peft.get_peft_model(theirs, config)
  with torch.no_grad():
    for name, parameter in trained(model).items():
      ours, layer = name
      parameter.copy_(torch.from_numpy(factors[ours][layer].T.copy()))
  return model


def trained(model) -> dict[tuple[str, int], torch.nn.Parameter]:
  """(our name, layer) -> parameter of theirs, of all that train."""
  found = {}
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      layer = int(name.split('layers.')[1].split('.')[0])
      ours = next(ours for ours, theirs in MODULES.items() if f'.{theirs}.' in name)
      found[f'{ours}_{"a" if "lora_A" in name else "b"}', layer] = parameter
  assert len(found) == 2 * 2 * len(ALL)
  return found


@pytest.mark.parametrize('name', ['mistral', 'qwen 2.5', 'olmo 2'])
def test_twenty_adam_steps_change_every_adapter_as_peft_and_torch_do(peft, name):
  kind, own = FAMILIES.get(name, (name, {}))
  make = lambda: torch_model(kind, **(own | {'num_key_value_heads': 2}))
  batches = [make_batch(seed) for seed in range(20)]
  tx: GradientTransformation = ADAM.transform(len(batches))
  before, after, history = steps(make(), batches, (1, 2, 1), tx=tx)
  theirs = adapted(peft, make(), before)
  adam = torch.optim.Adam(trained(theirs).values(), lr=ADAM.learning_rate)
  warmup = torch.optim.lr_scheduler.LambdaLR(adam, lambda i: min(i / ADAM.warmup_steps, 1.0))
  for batch, metrics in zip(batches, history):
    adam.zero_grad()
    loss = torch_loss(theirs, batch)
    loss.backward()
    assert abs(metrics['loss'] - loss.item()) < 1e-4
    adam.step()
    warmup.step()
  for (ours, layer), parameter in trained(theirs).items():
    change = after[ours][layer] - before[ours][layer]
    expected = parameter.detach().numpy().T - before[ours][layer]
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(change - expected) < 1e-3 * np.linalg.norm(expected), (ours, layer)


def test_the_export_opens_in_peft_with_the_logits_of_the_merged_export(peft, tmp_path, small_hf, small_data):
  run(tmp_path / 'run', small_data, model__init_from=str(small_hf), **KEYS)
  convert.to_peft(str(tmp_path / 'run'), tmp_path / 'adapter', None)
  convert.to_hf(str(tmp_path / 'run'), tmp_path / 'merged', 'float32', None)
  base = json.loads((tmp_path / 'adapter' / 'adapter_config.json').read_text())['base_model_name_or_path']
  tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 304, (4, 16)))
  with torch.no_grad():
    alone = transformers.AutoModelForCausalLM.from_pretrained(base)
    without = alone(tokens).logits
    theirs = peft.PeftModel.from_pretrained(alone, tmp_path / 'adapter')(tokens).logits
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'merged')(tokens).logits
  assert (theirs - without).abs().max() > 1e-3
  np.testing.assert_allclose(theirs, merged, atol=1e-5)
  encoder = transformers.AutoTokenizer.from_pretrained(tmp_path / 'adapter')
  assert 'sun' in encoder.apply_chat_template([{'role': 'user', 'content': 'sun'}], tokenize=False)
