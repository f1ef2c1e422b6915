"""What comes from a Hugging Face folder is the same model here, and what is written is the same model there."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from helpers.from_torch import FAMILIES as KINDS
from helpers.from_torch import to_ours, torch_model

from skillmix_jax.checkpoint import load_params, save_params
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder, hf, tensor_files
from skillmix_jax.models.config import PRESETS
from skillmix_jax.models.families import FAMILIES

B, T = 8, 24
MODELS = {
  'llama': ('llama', {}),
  'llama without grouped queries, tied': ('llama', {'num_key_value_heads': 4, 'tie_word_embeddings': True}),
  'llama with wide heads': ('llama', {'head_dim': 32, 'num_hidden_layers': 3}),
  'mistral': ('mistral', {'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e6}, 'num_key_value_heads': 1}),
  'mistral with a window, tied': ('mistral', {'sliding_window': 5, 'vocab_size': 96, 'tie_word_embeddings': True}),
  'mistral, narrow': ('mistral', {'hidden_size': 32, 'num_attention_heads': 2, 'intermediate_size': 48}),
  'qwen 2.5 with a window': ('qwen2', {'use_sliding_window': True, 'sliding_window': 5, 'max_window_layers': 0}),
  **KINDS,
}


def load(folder, sizes=(1, 1, 1)):
  """Weights of a folder on a mesh, to be used under it, and their config with float32 compute."""
  cfg = dataclasses.replace(hf.read_config(folder), dtype='float32')
  mesh = make_mesh(*sizes)
  with jax.set_mesh(mesh):
    return hf.load(folder, decoder.abstract(cfg), mesh), cfg, mesh


def our_logits(folder, tokens):
  params, _, mesh = load(folder)
  with jax.set_mesh(mesh):
    positions = np.tile(np.arange(T, dtype=np.int32), (B, 1))
    batch = place_batch(mesh, {'tokens': tokens.astype(np.int32), 'positions': positions})
    logits = jax.jit(lambda model, tokens, positions: model(tokens, positions) @ model.head())
    return np.asarray(logits(params, *batch.values())).reshape(B, T, -1)


def their_logits(model, tokens):
  with torch.no_grad():
    return model(torch.from_numpy(tokens)).logits.numpy()


@pytest.mark.parametrize('name', FAMILIES)
def test_a_family_is_what_transformers_calls_it(name):
  family = FAMILIES[name]
  theirs = getattr(transformers, f'{family.classes}ForCausalLM').config_class
  assert theirs is getattr(transformers, f'{family.classes}Config') and theirs.model_type == name
  assert hasattr(theirs(), 'sliding_window') == family.has_window
  assert set(family.templates) <= TEMPLATES.keys()


@pytest.mark.parametrize('name', MODELS)
def test_logits_equal_transformers_there_and_back(tmp_path, name):
  kind, overrides = MODELS[name]
  theirs = torch_model(kind, **overrides)
  theirs.save_pretrained(tmp_path / 'in')
  tokens = np.random.default_rng(0).integers(0, theirs.config.vocab_size, (B, T))
  expected = their_logits(theirs, tokens)
  assert np.abs(expected).max() > 0.5
  np.testing.assert_allclose(our_logits(tmp_path / 'in', tokens), expected, atol=1e-4)

  params, cfg, mesh = load(tmp_path / 'in')
  (tmp_path / 'out').mkdir()
  with jax.set_mesh(mesh):
    hf.save(tmp_path / 'out', params, 'float32')
  (tmp_path / 'out' / 'config.json').write_text(json.dumps(hf.config_dict(cfg, 'float32', 1, 2)))
  again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'out', attn_implementation='eager')
  assert type(again) is type(theirs)
  np.testing.assert_array_equal(their_logits(again, tokens), expected)


@pytest.mark.parametrize('stored', ['float32', 'bfloat16', 'float16'])
def test_every_dtype_and_many_files_on_eight_devices(tmp_path, stored):
  theirs = torch_model('llama', vocab_size=160).to(getattr(torch, stored))
  theirs.save_pretrained(tmp_path, max_shard_size='40KB')
  assert (tmp_path / tensor_files.INDEX).exists() and len(list(tmp_path.glob('model-*.safetensors'))) > 3
  params, cfg, mesh = load(tmp_path, (2, 2, 2))
  with jax.set_mesh(mesh):
    expected = to_ours(theirs.float(), cfg)
  for ours, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
    assert ours.dtype == jnp.float32 and ours.sharding == wanted.sharding
    np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('kind', ['llama', 'mistral'])
def test_to_orbax_and_back_is_bit_equal(tmp_path, kind, dtype):
  theirs = torch_model(kind).to(getattr(torch, dtype))
  theirs.save_pretrained(tmp_path / 'in')
  params, cfg, mesh = load(tmp_path / 'in', (2, 2, 2))
  (tmp_path / 'out').mkdir()
  with jax.set_mesh(mesh):
    save_params(tmp_path / 'run', 0, params)
    hf.save(tmp_path / 'out', load_params(tmp_path / 'run', 0, decoder.abstract(cfg), mesh), dtype, 50_000)
  assert len(list((tmp_path / 'out').glob('model-*-of-*.safetensors'))) > 3
  before, after = (tensor_files.open_folder(tmp_path / name) for name in ('in', 'out'))
  assert before.keys() == after.keys()
  for name in before:
    assert before[name].dtype == after[name].dtype
    assert before[name].read().tobytes() == after[name].read().tobytes(), name


def test_weights_come_in_the_dtype_that_is_asked_for(tmp_path):
  torch_model('llama').save_pretrained(tmp_path)
  cfg, mesh = hf.read_config(tmp_path), make_mesh(1, 8, 1)
  with jax.set_mesh(mesh):
    like = decoder.abstract(cfg)
    half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, 'bfloat16', sharding=x.sharding), like)
    whole, asked = hf.load(tmp_path, like, mesh), hf.load(tmp_path, half, mesh)
  for ours, theirs in zip(jax.tree.leaves(asked), jax.tree.leaves(whole), strict=True):
    assert ours.dtype == jnp.bfloat16 and theirs.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs).astype(jnp.bfloat16))


def test_files_are_what_the_safetensors_library_reads(tmp_path):
  torch_model('llama').save_pretrained(tmp_path / 'in')
  params, _, mesh = load(tmp_path / 'in')
  (tmp_path / 'out').mkdir()
  with jax.set_mesh(mesh):
    hf.save(tmp_path / 'out', params, 'bfloat16')
  theirs = safetensors.numpy.load_file(tmp_path / 'out' / tensor_files.SINGLE)
  for name, tensor in tensor_files.open_folder(tmp_path / 'out').items():
    np.testing.assert_array_equal(theirs[name], tensor.read())


@pytest.mark.parametrize(
  'config', [{'rope_theta': 5e5}, {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}}]
)
def test_both_spellings_of_the_rotary_base(tmp_path, config):
  torch_model('llama').save_pretrained(tmp_path)
  change_config(tmp_path, rope_parameters=None)
  change_config(tmp_path, **config)
  assert hf.read_config(tmp_path).rope_theta == 5e5


@pytest.mark.parametrize(
  ('name', 'billions'),
  [('llama2-7b', 6.74), ('llama2-13b', 13.02), ('llama2-70b', 68.98), ('mistral-7b-v0.1', 7.24),
   ('mistral-7b-v0.2', 7.24), ('mistral-7b-v0.3', 7.248), ('mistral-nemo', 12.248), ('llama3.1-8b', 8.03),
   ('llama3.2-3b', 3.213), ('llama3.2-1b', 1.236), ('qwen2.5-7b', 7.616), ('qwen2.5-1.5b', 1.544),
   ('qwen2.5-0.5b', 0.494), ('qwen3-4b', 4.022), ('olmo2-7b', 7.299), ('olmo2-1b', 1.485)],
)  # fmt: skip
def test_presets_have_the_published_sizes(name, billions):
  digits = len(str(billions).split('.')[1])
  assert round(PRESETS[name].num_params / 1e9, digits) == billions


def change_config(folder, **changes):
  path = folder / 'config.json'
  config = json.loads(path.read_text()) | changes
  path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def change_tensors(folder, change):
  """Rewrites model.safetensors with `change` applied to the dict of its tensors."""
  tensors = safetensors.numpy.load_file(folder / tensor_files.SINGLE)
  change(tensors)
  safetensors.numpy.save_file(tensors, folder / tensor_files.SINGLE)


def cut_short(path):
  path.write_bytes(path.read_bytes()[:-100])


def pickle_only(folder):
  (folder / tensor_files.SINGLE).rename(folder / 'pytorch_model.bin')


NORM = 'model.norm.weight'
BROKEN = {
  'no config': (lambda f: (f / 'config.json').unlink(), 'has no config.json'),
  'config is no JSON': (lambda f: (f / 'config.json').write_text('{'), 'config.json cannot be read'),
  'architecture': (lambda f: change_config(f, model_type='gemma'), "model_type 'gemma' is not supported"),
  'rope scaling': (lambda f: change_config(f, rope_parameters=None, rope_scaling={'type': 'linear', 'factor': 2.0}),
                   "rope scaling of type 'linear' is not supported, only llama3"),
  'rope scaling without its numbers': (
    lambda f: change_config(f, rope_parameters={'rope_type': 'llama3', 'rope_theta': 1e4, 'factor': 8.0}), 'rope'),
  'rope of half a head': (
    lambda f: change_config(f, rope_parameters={'rope_theta': 1e4, 'partial_rotary_factor': 0.5}),
    'partial_rotary_factor'),
  'mixture of experts': (lambda f: change_config(f, model_type='qwen3_moe'), "'qwen3_moe' is not supported"),
  'vision': (lambda f: change_config(f, model_type='mistral3'), "'mistral3' is not supported"),
  'layers of two kinds': (
    lambda f: change_config(f, model_type='qwen2', use_sliding_window=True, sliding_window=5, max_window_layers=1),
    'layer_types'),
  'bias': (lambda f: change_config(f, attention_bias=True), 'attention_bias=True'),
  'mlp bias': (lambda f: change_config(f, mlp_bias=True), 'mlp_bias=True'),
  'activation': (lambda f: change_config(f, hidden_act='gelu'), "hidden_act='gelu'"),
  'quantised': (lambda f: change_config(f, quantization_config={'quant_method': 'gptq', 'bits': 4}), 'quantised'),
  'config has a wrong type': (lambda f: change_config(f, hidden_size='wide'), 'config.json'),
  'pickle': (pickle_only, r'pytorch_model.bin is a pickle.*save_pretrained\(NEW\)'),
  'no weights': (lambda f: (f / tensor_files.SINGLE).unlink(), 'holds no model.safetensors'),
  'cut short': (lambda f: cut_short(f / tensor_files.SINGLE), 'bytes where its header says'),
  'header cut short': (lambda f: (f / tensor_files.SINGLE).write_bytes(b'\x00\x01'), 'cut short'),
  'header is no JSON': (lambda f: (f / tensor_files.SINGLE).write_bytes(bytes([9]) + bytes(30)), 'no safetensors'),
  'missing tensor': (lambda f: change_tensors(f, lambda t: t.pop(NORM)), f'lack {NORM}'),
  'unexpected tensor': (lambda f: change_tensors(f, lambda t: t.update(extra=t[NORM])), 'unexpected tensor extra'),
  'wrong shape': (lambda f: change_tensors(f, lambda t: t.update({NORM: t[NORM][:5]})), r'has shape \(5,\).*\(64,\)'),
  'wrong dtype': (lambda f: change_tensors(f, lambda t: t.update({NORM: t[NORM].astype(np.int8)})), 'stored as I8'),
}  # fmt: skip


@pytest.fixture(scope='module')
def good_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('good')
  torch_model('llama').save_pretrained(folder)
  return folder


@pytest.mark.parametrize('name', BROKEN)
def test_broken_folders_are_named(tmp_path, good_folder, name):
  folder = shutil.copytree(good_folder, tmp_path / 'model')
  change, said = BROKEN[name]
  change(folder)
  with pytest.raises(InputError, match=said):
    load(folder)


def test_a_missing_file_of_many_and_a_damaged_index_are_named(tmp_path):
  torch_model('llama').save_pretrained(tmp_path, max_shard_size='40KB')
  (gone := sorted(tmp_path.glob('model-*.safetensors'))[1]).unlink()
  with pytest.raises(InputError, match=f'lacks {gone.name}'):
    load(tmp_path)
  (tmp_path / tensor_files.INDEX).write_text('{"weight_map": 3}')
  with pytest.raises(InputError, match=r'index\.json is damaged'):
    load(tmp_path)


def test_frequencies_in_old_files_and_a_copy_of_a_tied_head_are_ignored(tmp_path):
  torch_model('llama', tie_word_embeddings=True).save_pretrained(tmp_path)
  frequencies = {'model.layers.0.self_attn.rotary_emb.inv_freq': np.ones(8, np.float32)}
  change_tensors(tmp_path, lambda t: t.update(frequencies, **{'lm_head.weight': t['model.embed_tokens.weight']}))
  params, _, _ = load(tmp_path)
  assert not hasattr(params, 'unembed')
