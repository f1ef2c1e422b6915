"""Every family against transformers: loss and gradients, training, answers, files, packing."""

import json

import jax
import numpy as np
import pytest
import torch
import transformers
from decode_test import answer, make_prompts, make_sampler, their_answer
from helpers.from_torch import FAMILIES, named_weights, our_config, to_ours, torch_model
from hf_test import load
from step_test import make_batch, run, torch_loss

from skillmix_jax.checkpoint import load_params, save_params
from skillmix_jax.loss import Loss, scale_weights, token_losses
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder, hf, tensor_files

# Rows and answers below are longer than these windows.
_QWEN = {'use_sliding_window': True, 'max_window_layers': 0, 'sliding_window': 9}
KINDS = FAMILIES | {
  'mistral, window': ('mistral', {'sliding_window': 9}),
  'qwen 2.5, window': ('qwen2', _QWEN),
  'qwen 3, window': ('qwen3', _QWEN),
}
EVERY = pytest.mark.parametrize('name', KINDS)


def make(name: str, **overrides):
  kind, own = KINDS[name]
  return torch_model(kind, **(own | overrides))


def test_the_windows_are_those_of_both_sides():
  for name in KINDS:
    assert (our_config(make(name)).window == 9) == name.endswith('window')


@EVERY
@pytest.mark.parametrize('mesh_shape', [(1, 1, 1), (8, 1, 1), (2, 2, 2)])
def test_loss_and_every_gradient_equal_transformers_and_torch(name, mesh_shape):
  sizes = {'num_key_value_heads': 2}  # two devices share them
  theirs, batch = make(name, **sizes), make_batch()
  expected = torch_loss(theirs, batch)
  expected.backward()
  mesh, cfg = make_mesh(*mesh_shape), our_config(theirs)

  def loss(model, batch):
    losses = token_losses(model(batch['tokens'], batch['positions']), model.head, batch['targets'], 2)
    return (losses * scale_weights(Loss(), batch['weights'], batch['is_text'])).sum()

  with jax.set_mesh(mesh):
    value, gradients = jax.jit(jax.value_and_grad(loss))(to_ours(theirs, cfg), place_batch(mesh, batch))
  np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
  with torch.no_grad():
    for weight in theirs.parameters():
      weight.copy_(weight.grad)
  wanted = named_weights(theirs)
  for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
    ours, torchs = np.asarray(gradient), wanted.pop(decoder.name_of(path))
    assert np.linalg.norm(torchs) > 0
    assert np.linalg.norm(ours - torchs) <= 1e-4 * np.linalg.norm(torchs), decoder.name_of(path)
  assert not wanted


@EVERY
def test_twenty_adam_steps_change_every_tensor_as_torch_does(name):
  theirs = make(name)
  before, batches = named_weights(theirs), [make_batch(seed) for seed in range(20)]
  ours, _ = run(theirs, (1, 2, 1), batches)
  adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
  warmup = torch.optim.lr_scheduler.LambdaLR(adam, lambda i: min(i / 4, 1.0))
  for batch in batches:
    adam.zero_grad()
    torch_loss(theirs, batch).backward()
    adam.step()
    warmup.step()
  after = named_weights(theirs)
  assert ours.keys() == after.keys()
  for weight in after:
    change, expected = ours[weight] - before[weight], after[weight] - before[weight]
    # The gradient of a bias of keys is 0 but for rounding: it moves every score of a query alike.
    if weight != 'blocks.key_bias':
      assert np.linalg.norm(change - expected) < 1e-3 * np.linalg.norm(expected), weight


@EVERY
def test_greedy_answers_equal_transformers_token_for_token(name):
  theirs, prompts = make(name), make_prompts()
  free = answer(make_sampler(theirs), prompts)
  counts = np.bincount(np.concatenate([ids for ids, _ in free.values()]))
  assert (counts > 0).sum() > 40  # varied text
  eos_id = int(counts.argmax())
  ours = answer(make_sampler(theirs, eos_id=eos_id), prompts)
  for prompt, ids in prompts:
    assert ours[prompt][0] == their_answer(theirs, ids, eos_id), prompt
  assert {reason for _, reason in ours.values()} == {'stop', 'length'}


@EVERY
def test_to_orbax_and_back_is_bit_equal(tmp_path, name):
  theirs = make(name, num_key_value_heads=2)
  theirs.save_pretrained(tmp_path / 'in')
  params, cfg, mesh = load(tmp_path / 'in', (2, 2, 2))
  (tmp_path / 'out').mkdir()
  with jax.set_mesh(mesh):
    save_params(tmp_path / 'run', 0, params)
    hf.save(tmp_path / 'out', load_params(tmp_path / 'run', 0, decoder.abstract(cfg), mesh), 'float32', 50_000)
  (tmp_path / 'out' / 'config.json').write_text(json.dumps(hf.config_dict(cfg, 'float32', 1, 2)))
  before, after = (tensor_files.open_folder(tmp_path / folder) for folder in ('in', 'out'))
  assert before.keys() == after.keys()
  for tensor in before:
    assert before[tensor].read().tobytes() == after[tensor].read().tobytes(), tensor
  again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'out', attn_implementation='eager')
  tokens = torch.from_numpy(make_batch()['tokens']).long()
  with torch.no_grad():
    np.testing.assert_array_equal(again(tokens).logits, theirs(tokens).logits)


@EVERY
def test_packed_logits_equal_unpacked_logits(name):
  theirs, (one, other) = make(name), np.split(make_batch()['tokens'], 2)
  cfg, mesh, T = our_config(theirs), make_mesh(1, 1, 1), one.shape[1]
  positions = np.tile(np.arange(T, dtype=np.int32), (len(one), 2))
  segments = np.repeat(np.array([[1, 2]], np.int32), T, axis=1).repeat(len(one), axis=0)
  with jax.set_mesh(mesh):
    model = to_ours(theirs, cfg)
    logits = jax.jit(lambda model, tokens, *rest: model(tokens, *rest) @ model.head())
    together = logits(model, np.concatenate([one, other], axis=1), positions, segments).reshape(len(one), 2 * T, -1)
  with torch.no_grad():
    for part, tokens in ((together[:, :T], one), (together[:, T:], other)):
      np.testing.assert_allclose(part, theirs(torch.from_numpy(tokens).long()).logits, atol=1e-4)
