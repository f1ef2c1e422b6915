"""Adapters of low rank: they alone train, they compute what merged weights compute, and a run of them is a run."""

import dataclasses
import json
import re
import shutil
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import torch
from conftest import make_dialog, write_jsonl
from helpers.from_torch import named_weights, our_config, to_ours, torch_model
from optax.contrib import MuonDimensionNumbers
from step_test import make_batch, torch_loss
from train_test import make_config, run, saved_arrays

from configs import mistral7b
from skillmix_jax import convert, plan
from skillmix_jax.answering import Model
from skillmix_jax.errors import InputError
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import adapters, tensor_files
from skillmix_jax.models.config import PRESETS
from skillmix_jax.models.hf import NAMES
from skillmix_jax.models.lora import Lora
from skillmix_jax.optimizer import Optimizer, _block_matrices
from skillmix_jax.planning.estimate import Run, memory
from skillmix_jax.planning.hardware import GIB, parse_target
from skillmix_jax.pretrained import fingerprint, open_source
from skillmix_jax.step import State, train_step
from skillmix_jax.train import train

ALL = ('query', 'key', 'value', 'out', 'gate', 'up', 'down')
LORA = Lora(rank=4, alpha=12.0, targets=ALL)
SCALE = 3.0
KEYS = {'model__lora__rank': 4, 'model__lora__alpha': 12.0, 'model__ffn_dim': 96}


def with_adapters(theirs, **computed):
  return dataclasses.replace(our_config(theirs), lora=LORA, **computed)


def moved(cfg) -> adapters.Adapters:
  """Adapters as if they had been trained: neither factor is zero."""
  noise = lambda i, x: x + 0.1 * jax.random.normal(jax.random.key(i), x.shape, out_sharding=x.sharding.spec)
  leaves, structure = jax.tree.flatten(adapters.init(cfg, 0))
  return jax.tree.unflatten(structure, [noise(i, x) for i, x in enumerate(leaves)])


def by_name(trained: adapters.Adapters) -> dict[str, np.ndarray]:
  return {name: np.asarray(x) for name, x in trained['blocks'].items()}


def merged_by_hand(weights: dict[str, np.ndarray], factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """W + alpha / rank * A B of every layer, in numpy."""
  return weights | {
    f'blocks.{name}': weights[f'blocks.{name}'] + SCALE * factors[f'{name}_a'] @ factors[f'{name}_b'] for name in ALL
  }


def steps(theirs, batches, mesh_shape=(1, 1, 1), *, tx=None, accumulation=1, packed=False, **computed):
  """(adapters before and after, metrics of every step) of training beside the frozen weights of a torch model."""
  cfg, mesh, tx = with_adapters(theirs, **computed), make_mesh(*mesh_shape), tx or Optimizer(
    learning_rate=1e-2, warmup_steps=0
  ).transform(len(batches))  # fmt: skip
  with jax.set_mesh(mesh):
    frozen, trained = to_ours(theirs, cfg), moved(cfg)
    before, state = by_name(trained), State(trained, jax.jit(tx.init)(trained))
    step = partial(train_step, tx=tx, loss=Loss(chunks=2), accumulation=accumulation, packed=packed)
    step, history = jax.jit(step, donate_argnums=0), []
    for batch in batches:
      state, metrics = step(state, place_batch(mesh, batch), frozen)
      history.append({name: float(x) for name, x in metrics.items()})
    return before, by_name(state.params), history


def test_merged_weights_compute_what_the_adapters_compute():
  theirs, mesh = torch_model('mistral'), make_mesh(2, 2, 2)
  cfg = with_adapters(theirs)
  with jax.set_mesh(mesh):
    frozen, trained, batch = to_ours(theirs, cfg), moved(cfg), place_batch(mesh, make_batch())
    logits = jax.jit(lambda model: model(batch['tokens'], batch['positions']) @ model.head())
    merged = adapters.merge(trained, frozen)
    ours, base = np.asarray(logits(adapters.join(trained, frozen))), np.asarray(logits(frozen))
    assert np.abs(ours - base).max() > 0.1
    np.testing.assert_allclose(logits(merged), ours, atol=1e-5)
    expected = merged_by_hand(named_weights(theirs), by_name(trained))
    for path, x in jax.tree_util.tree_leaves_with_path(merged):
      np.testing.assert_allclose(x, expected.pop(adapters.name_of(path)), atol=1e-6)
    assert not expected
    np.testing.assert_array_equal(logits(adapters.join(adapters.init(cfg, 0), frozen)), base)  # B starts at 0


def test_gradients_are_those_of_merged_weights_in_torch_by_the_chain_rule():
  theirs, batch = torch_model('llama'), make_batch()
  pieces = {'accumulation': 2, 'packed': True, 'remat': 'save_all_matmuls'}
  before, after, (metrics,) = steps(theirs, [batch], (2, 2, 2), tx=optax.sgd(1.0), **pieces)
  weights = merged_by_hand(named_weights(theirs), before)
  with torch.no_grad():
    for name in ALL:
      for layer in (0, 1):
        matrix = theirs.get_parameter(NAMES[f'blocks.{name}'].format(layer))
        matrix.copy_(torch.from_numpy(weights[f'blocks.{name}'][layer].T))
  loss = torch_loss(theirs, batch)
  loss.backward()
  assert abs(metrics['loss'] - loss.item()) < 1e-5
  with torch.no_grad():
    for weight in theirs.parameters():
      weight.copy_(weight.grad)
  gradients, squares = named_weights(theirs), 0.0
  for name in ALL:
    a, b, of_product = before[f'{name}_a'], before[f'{name}_b'], SCALE * gradients[f'blocks.{name}']
    expected = {f'{name}_a': of_product @ b.swapaxes(1, 2), f'{name}_b': a.swapaxes(1, 2) @ of_product}
    for factor, gradient in expected.items():
      squares += float((gradient**2).sum())
      np.testing.assert_allclose(before[factor] - after[factor], gradient, atol=2e-6, err_msg=factor)
  np.testing.assert_allclose(metrics['grad_norm'], squares**0.5, rtol=1e-4)


def test_muon_takes_every_adapter():
  cfg = dataclasses.replace(PRESETS['llama2-7b'], lora=LORA)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    chosen = _block_matrices(adapters.abstract(cfg)[0])
  assert chosen == {'blocks': dict.fromkeys(cfg.adapter_weights, MuonDimensionNumbers(1, 2))}


def test_no_gradient_of_a_frozen_weight_is_computed():
  theirs = torch_model('llama')
  cfg, tx = with_adapters(theirs), Optimizer().transform(1)
  shapes = {weight.shape for weight in cfg.weights.values() if len(weight.shape) == 2}
  either_way = {shape[::turn] for shape in shapes for turn in (1, -1)}

  def products(cfg) -> set[tuple[int, ...]]:
    with jax.set_mesh(make_mesh(1, 1, 1)):
      trained, frozen = adapters.abstract(cfg)
      opt = jax.eval_shape(tx.init, trained)
      batch = {name: jax.typeof(jax.numpy.asarray(x)) for name, x in make_batch(rows=20).items()}
      step = partial(train_step, tx=tx, loss=Loss(chunks=2), accumulation=2, packed=False)
      text = jax.jit(step).lower(State(trained, opt), batch, frozen).compile().as_text()
      kept = sum(x.size for x in jax.tree.leaves(opt))
      assert kept == 2 * cfg.num_trained + len([x for x in jax.tree.leaves(opt) if x.ndim == 0])
    found = re.findall(r'= f32\[([\d,]+)\]\S* (?:dot|custom-call)\(', text)
    return {tuple(int(n) for n in shape.split(',')) for shape in found}

  assert either_way & products(dataclasses.replace(cfg, lora=None))
  assert not either_way & products(cfg)


@pytest.fixture(scope='module')
def taught(tmp_path_factory, small_hf, small_data) -> Path:
  """A base, converted, and a run of adapters beside it."""
  folder = tmp_path_factory.mktemp('lora')
  convert.from_hf(str(small_hf), folder / 'base', None)
  write_jsonl(folder / 'prompts.jsonl', [make_dialog(i) | {'messages': make_dialog(i)['messages'][:1]} for i in (1, 2)])
  samples = {'sample_every': 6, 'sample_prompts': str(folder / 'prompts.jsonl')}
  run(folder / 'run', small_data, model__init_from=str(folder / 'base'), **KEYS, **samples)
  return folder


def test_a_resumed_run_equals_an_uninterrupted_one_and_saves_adapters_alone(taught, tmp_path, small_data):
  arguments = KEYS | {'model__init_from': str(taught / 'base')}
  first = run(tmp_path / 'run', small_data, steps=4, **arguments)
  resumed = run(tmp_path / 'run', small_data, **arguments)
  assert resumed[6, 'loss'] != first[4, 'loss']
  ours, theirs = saved_arrays(tmp_path / 'run', 6), saved_arrays(taught / 'run', 6)
  assert ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
  saved = {name for name in ours if "['params']" in name}
  assert saved == {f"['params']['blocks']['{name}_{factor}']" for name in ALL for factor in 'ab'}
  assert all(np.abs(ours[name]).max() > 0 for name in saved)
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['base'] == {
    'name': f'{taught / "base"}@0', 'fingerprint': fingerprint(open_source(str(taught / 'base')))
  }  # fmt: skip
  with pytest.raises(InputError, match=r'holds a run with model\.lora\.alpha=12\.0, not 8\.0'):
    train(make_config(small_data, **arguments | {'model__lora__alpha': 8.0}), tmp_path / 'run')
  with pytest.raises(InputError, match=r'holds a run with model\.lora\.rank=4, not null'):
    train(make_config(small_data, **arguments | {'model__lora__rank': None}), tmp_path / 'run')


def test_a_base_that_is_gone_or_changed_is_refused(taught, tmp_path, small_data):
  folder = shutil.copytree(taught / 'run', tmp_path / 'run')
  arguments = KEYS | {'model__init_from': str(taught / 'base'), 'steps': 7}
  config = json.loads((folder / 'config.json').read_text())

  acts = [
    lambda: train(make_config(small_data, **arguments), folder), lambda: Model(str(folder)),
    lambda: convert.to_hf(str(folder), tmp_path / 'out', 'float32', None),
  ]  # fmt: skip

  def refused(said: str, base, acts=acts):
    (folder / 'config.json').write_text(json.dumps(config | {'base': base}))
    for act in acts:
      with pytest.raises(InputError, match=said) as error:
        act()
      assert '\n' not in str(error.value) and str(folder / 'config.json') in str(error.value)

  remedy = 'put those weights back, or write their new place into "base", "name" of'
  gone, changed = config['base'] | {'name': 'nowhere@0'}, config['base'] | {'fingerprint': '0123'}
  refused(f'adapters of nowhere@0, which cannot be opened: {remedy} .*nowhere: no checkpoint there', gone)
  refused(f'adapters of the weights 0123, but .*base@0 now has .*{remedy}', changed)
  for edited in ('elsewhere@0', None, {'name': 'elsewhere@0'}):  # by hand
    to_peft = lambda: convert.to_peft(str(folder), tmp_path / 'out', None)
    refused('"base" must be {"name": "W@STEP or FOLDER", "fingerprint": "16 hex digits"}', edited, [*acts, to_peft])
  moved_to = shutil.copytree(taught / 'base', tmp_path / 'elsewhere')  # a copy is the same base
  (folder / 'config.json').write_text(json.dumps(config | {'base': config['base'] | {'name': f'{moved_to}@0'}}))
  assert open_source(str(folder)).config.lora is None


def test_answers_and_exports_are_those_of_merged_weights(taught, tmp_path, small_hf, small_data):
  source = open_source(str(taught / 'run'))
  assert fingerprint(source) != fingerprint(open_source(str(taught / 'base')))
  convert.to_hf(str(taught / 'run'), tmp_path / 'out', 'float32', None)
  factors = {name.split("'")[-2]: x for name, x in saved_arrays(taught / 'run', 6).items() if 'params' in name}
  before, after = (tensor_files.open_folder(folder) for folder in (small_hf, tmp_path / 'out'))
  for name in ALL:
    theirs = NAMES[f'blocks.{name}'].format(1)
    expected = before[theirs].read().T + SCALE * factors[f'{name}_a'][1] @ factors[f'{name}_b'][1]
    np.testing.assert_allclose(after[theirs].read().T, expected, atol=1e-6)
  np.testing.assert_array_equal(after['lm_head.weight'].read(), before['lm_head.weight'].read())
  assert 'LoRA, rank 4, alpha 12' in (tmp_path / 'out' / 'README.md').read_text()

  dialogs = [make_dialog(i) | {'messages': make_dialog(i)['messages'][:1]} for i in range(4)]
  numbers = {'temperature': 0.0, 'max_new_tokens': 16, 'batch_size': 8}
  answer = lambda folder: list(Model(str(folder), dtype='float32').sample_dialogs(dialogs, **numbers))
  assert answer(taught / 'run') == answer(tmp_path / 'out')
  assert len((taught / 'run' / 'samples' / '6.jsonl').read_text().splitlines()) == 2

  rows = run(tmp_path / 'next', small_data, steps=1, model__init_from=str(taught / 'run'), model__ffn_dim=96)
  last = json.loads((taught / 'run' / 'metrics.jsonl').read_text().splitlines()[-1])
  np.testing.assert_allclose(rows[0, 'held_out_loss_dialogs'], last['held_out_loss_dialogs'], rtol=1e-5)


def test_adapters_alone_are_exported_with_pefts_names(taught, tmp_path, small_hf, capsys, monkeypatch):
  monkeypatch.chdir(taught / 'run')  # a folder with a folder checkpoints/
  convert.to_peft(str(taught / 'run'), tmp_path / 'out', None)
  config = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert config['base_model_name_or_path'] == str(small_hf)  # that the base was converted from
  assert (config['r'], config['lora_alpha'], config['peft_type']) == (4, 12.0, 'LORA')
  assert set(config['target_modules']) == {f'{name}_proj' for name in ('q', 'k', 'v', 'o', 'gate', 'up', 'down')}
  assert (tmp_path / 'out' / 'README.md').read_text().startswith('---\nlibrary_name: peft\n')
  tensors = tensor_files._read_header(tmp_path / 'out' / 'adapter_model.safetensors')
  assert len(tensors) == 2 * 2 * len(ALL)
  ours = saved_arrays(taught / 'run', 6)["['params']['blocks']['down_b']"]
  theirs = tensors['base_model.model.model.layers.1.mlp.down_proj.lora_B.weight'].read()
  np.testing.assert_array_equal(theirs, ours[1].T)
  with pytest.raises(InputError, match='has no adapters, all its weights were trained'):
    convert.to_peft(str(taught / 'base'), tmp_path / 'other', None)
  assert 'note:' not in capsys.readouterr().err

  trained_here = shutil.copytree(taught / 'run', tmp_path / 'run')
  saved = json.loads((trained_here / 'config.json').read_text())
  saved['base']['name'] = f'{taught / "run"}@6'
  (trained_here / 'config.json').write_text(json.dumps(saved))
  convert.to_peft(str(trained_here), tmp_path / 'second', None)
  assert 'run@6 is a workdir, which peft cannot open: export it' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('keys', 'said'),
  [
    ({'rank': 0}, r'model\.lora\.rank=0 must be at least 1'),
    ({'rank': 4, 'targets': ()}, r'model\.lora\.targets=\(\) names no matrix: give some of query, key'),
    ({'rank': 4, 'targets': ('q_proj',)}, r"model\.lora\.targets: 'q_proj' is not one of query, key"),
    ({'rank': 4, 'targets': ('mlp_norm',)}, r"'mlp_norm' is not one of"),
    ({'rank': 4, 'alpha': 0.0}, r'model\.lora\.alpha=0\.0 must be a positive number'),
    ({'rank': 4}, r'model\.lora\.rank=4 trains beside weights that exist: give model\.init_from'),
  ],
)
def test_impossible_adapters_are_refused(tmp_path, small_data, keys, said):
  with pytest.raises(InputError, match=said):
    train(make_config(small_data, **{f'model__lora__{name}': value for name, value in keys.items()}), tmp_path / 'run')


# GiB of a device by the compilers of jax 0.10.2, with rank 16 and cuDNN; docs/guides/scale.md
COMPILED = [
  ('mistral-7b-v0.2', '1xRTX4090', 16, 16.93),
  ('llama3.1-8b', '1xA100-40GB', 8, 21.13),
  ('mistral-7b-v0.2', '4xH100', 1, 14.69),
]


def planned(preset: str, target: str, accumulation: int) -> Run:
  config = mistral7b.get_config()
  config.model.lora.rank, config.accumulation = 16, accumulation
  found, _ = plan.read_run(config, parse_target(target))
  shape = dataclasses.replace(PRESETS[preset], lora=found.config.lora, attention='cudnn')
  return dataclasses.replace(found, config=shape, chunks=8)


@pytest.mark.parametrize(('preset', 'target', 'accumulation', 'compiled'), COMPILED)
def test_the_estimate_is_within_10_percent_of_the_compilers(preset, target, accumulation, compiled):
  sizes = memory(planned(preset, target, accumulation))
  assert sum(sizes.values()) / GIB == pytest.approx(compiled, rel=0.10)


def test_what_7b_takes_by_hand():
  run_ = planned('mistral-7b-v0.2', '1xRTX4090', 16)
  sizes, cfg = memory(run_), run_.config
  by_hand = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14_336))
  assert cfg.num_trained == by_hand == 41_943_040
  assert sizes['weights'] == 2 * 7_241_732_096 + 4 * by_hand
  assert (sizes['moments'], sizes['gradients']) == (8 * by_hand, 2 * 4 * by_hand)
  assert sum(sizes.values()) < parse_target('1xRTX4090').budget
  whole = dataclasses.replace(cfg, lora=None)
  assert sum(memory(dataclasses.replace(run_, config=whole)).values()) > 100 * GIB
  # 4 FLOPs a frozen weight instead of 6, and 6 for those of adapters
  saved = whole.train_flops_per_token(1024) - cfg.train_flops_per_token(1024)
  assert saved == 2 * (7_241_732_096 - 32_000 * 4096) - 6 * by_hand
