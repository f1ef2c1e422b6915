"""The decoder computes what transformers computes, however it is laid out."""

import dataclasses
import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.from_torch import FAMILIES, our_config, to_ours, torch_model
from helpers.jaxprs import equations

from configs import llama13b, mistral7b
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh, place_batch, spec
from skillmix_jax.models import attention, decoder, rope
from skillmix_jax.models.config import Config, RopeScaling

B, T = 8, 32


def rows(vocab_size: int = 160, length: int = T) -> dict[str, np.ndarray]:
  tokens = np.random.default_rng(0).integers(0, vocab_size, (B, length)).astype(np.int32)
  return {'tokens': tokens, 'positions': np.tile(np.arange(length, dtype=np.int32), (B, 1))}


@jax.jit
def logits(model, tokens, positions, segments=None):
  return model(tokens, positions, segments) @ model.head()


def run(cfg, theirs, mesh_shape=(1, 1, 1), batch=None):
  mesh = make_mesh(*mesh_shape)
  with jax.set_mesh(mesh):
    batch = place_batch(mesh, batch or rows())
    return np.asarray(logits(to_ours(theirs, cfg), *batch.values()))


@pytest.mark.parametrize(
  ('kind', 'overrides'),
  [
    ('llama', {}),
    ('llama', {'num_key_value_heads': 4, 'tie_word_embeddings': True}),
    ('mistral', {'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e6}, 'num_key_value_heads': 1}),
    ('mistral', {'sliding_window': 5, 'vocab_size': 96, 'hidden_size': 32, 'num_attention_heads': 2}),
    *FAMILIES.values(),
  ],
)
def test_logits_equal_transformers(kind, overrides):
  theirs = torch_model(kind, **overrides)
  cfg = our_config(theirs)
  batch = rows(cfg.vocab_size)
  with torch.no_grad():
    expected = theirs(torch.from_numpy(batch['tokens']).long()).logits.numpy().reshape(B * T, -1)
  assert np.abs(expected).max() > 0.5
  np.testing.assert_allclose(run(cfg, theirs, batch=batch), expected, atol=1e-4)


@pytest.mark.parametrize('mesh_shape', [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_sharded_logits_equal_those_of_one_device(mesh_shape):
  theirs = torch_model('llama')
  cfg = our_config(theirs)
  np.testing.assert_allclose(run(cfg, theirs, mesh_shape), run(cfg, theirs), atol=2e-5)


@pytest.mark.parametrize('name', ['olmo 2', 'qwen 2.5', 'qwen 3'])
def test_norms_and_biases_of_split_heads_are_those_of_one_device(name):
  theirs = torch_model(FAMILIES[name][0])
  cfg = our_config(theirs)
  np.testing.assert_allclose(run(cfg, theirs, (2, 2, 2)), run(cfg, theirs), atol=2e-5)


def test_a_tied_table_is_never_gathered_whole_and_its_gradient_equals_that_of_one_device():
  cfg = dataclasses.replace(our_config(torch_model('llama')), tie_embeddings=True)
  start = np.random.default_rng(1).normal(size=(cfg.vocab_size, cfg.dim)).astype(np.float32)
  outcomes = []
  for mesh_shape in ((1, 1, 1), (2, 2, 2)):
    mesh = make_mesh(*mesh_shape)
    with jax.set_mesh(mesh):
      table, tokens = jax.device_put(start, spec(None, 'lookup')), place_batch(mesh, rows(length=4))['tokens']

      def loss(table, tokens):
        model = SimpleNamespace(cfg=cfg, embed=table)
        hidden, head = decoder.Decoder._embed(model, tokens), decoder.Decoder.head(model)
        return jnp.sin(jnp.matmul(hidden, head, out_sharding=spec('batch', 'vocab')) / 8).sum()

      program = jax.jit(jax.value_and_grad(loss)).lower(table, tokens).compile()
      outcomes.append([np.asarray(x) for x in program(table, tokens)])
    collectives = re.findall(r'= (.*) (?:all-\w+|reduce-scatter|collective-permute)(?:-start)?\(', program.as_text())
    assert bool(collectives) == (mesh.size > 1)
    assert not [shape for shape in collectives if '[64,160]' in shape or '[160,64]' in shape]
  (value, gradient), (sharded_value, sharded_gradient) = outcomes
  assert np.abs(gradient).max() > 0.1
  np.testing.assert_allclose(sharded_value, value, rtol=1e-4)
  np.testing.assert_allclose(sharded_gradient, gradient, atol=1e-5)


def test_scan_over_layers_equals_a_loop():
  theirs = torch_model('mistral', num_hidden_layers=3)
  cfg = our_config(theirs)
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    model, batch = to_ours(theirs, cfg), place_batch(mesh, rows())

    @jax.jit
    def loop(model, tokens, positions):
      cos, sin = rope.rotations(positions, cfg.head_dim, cfg.rope_theta)
      x = model._embed(tokens)
      attend = partial(attention.attend, segments_BT=None, window=cfg.window, implementation='xla')
      for i in range(cfg.num_layers):
        block = jax.tree.map(lambda w: w[i], model.blocks)  # noqa: B023
        x = block(cfg, x, cos, sin, attend)
      return decoder.rms_norm(x, model.norm[...], cfg.norm_eps) @ model.head()

    np.testing.assert_allclose(logits(model, *batch.values()), loop(model, *batch.values()), atol=1e-5)


@pytest.mark.parametrize('remat', ['save_qkv', 'save_qkv_context', 'save_all_matmuls'])
def test_what_is_kept_for_the_backward_pass_does_not_change_gradients(remat):
  theirs = torch_model('llama')
  full = our_config(theirs)
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    batch = place_batch(mesh, rows())
    gradient = jax.jit(jax.grad(lambda model: (logits(model, *batch.values()) ** 2).mean()))
    one, other = (gradient(to_ours(theirs, dataclasses.replace(full, remat=r))) for r in ('full', remat))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
      np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(('remat', 'forwards'), [('full', 2), ('save_qkv', 2), ('save_qkv_context', 1)])
def test_the_fused_forward_pass_runs_once_where_its_output_is_kept(remat, forwards, monkeypatch):
  kernel = 'jax._src.cudnn.fused_attention_stablehlo'  # traced here, and run only on a GPU
  monkeypatch.setattr(f'{kernel}.check_cudnn_version', lambda: 91000)
  monkeypatch.setattr(f'{kernel}.check_compute_capability', lambda capability: True)
  cfg = Config('mistral', 64, 32, 128, 2, 4, 2, 32, 256, remat=remat, attention='cudnn')
  tokens = jax.ShapeDtypeStruct((8, 32), jnp.int32)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    total = lambda model, tokens: model(tokens, tokens).astype(jnp.float32).sum()
    traced = jax.jit(jax.grad(total)).trace(decoder.abstract(cfg), tokens).jaxpr.jaxpr
  names = [eqn.primitive.name for eqn in equations(traced)]
  assert sum('dot_product_attention_fwd' in name for name in names) == forwards
  assert sum('dot_product_attention_bwd' in name for name in names) == 1
  # Kept for each token: the block's input; queries, keys and values; the output and, in float32, a number a head.
  kept = {'full': 2 * 128, 'save_qkv': 2 * (128 + 256), 'save_qkv_context': 2 * (128 + 256 + 128) + 4 * 4}
  blocks = next(eqn for eqn in equations(traced) if eqn.primitive.name == 'scan')
  stacked = [x.aval for x in blocks.outvars if x.aval.ndim > 2]
  assert sum(x.size * x.dtype.itemsize for x in stacked) == cfg.num_layers * 8 * 32 * kept[remat]


def test_packed_logits_equal_unpacked_logits():
  theirs = torch_model('llama')
  cfg = our_config(theirs)
  lone = rows(length=12)
  packed = {
    'tokens': np.concatenate([lone['tokens'][:4], lone['tokens'][4:]], axis=1),
    'positions': np.concatenate([lone['positions'][:4], lone['positions'][4:]], axis=1),
    'segments': np.repeat([[1, 2]], 12, axis=1).repeat(4, axis=0).astype(np.int32),
  }
  separate = run(cfg, theirs, batch=lone).reshape(8, 12, -1)
  together = run(cfg, theirs, batch=packed).reshape(4, 24, -1)
  np.testing.assert_allclose(together[:, :12], separate[:4], atol=1e-5)
  np.testing.assert_allclose(together[:, 12:], separate[4:], atol=1e-5)


@pytest.mark.parametrize('window', [None, 3, 70, 200])
@pytest.mark.parametrize('segmented', [False, True])
def test_chunked_attention_equals_jax_nn(window, segmented):
  length = 2 * attention.CHUNK + 37
  keys = jax.random.split(jax.random.key(1), 3)
  q = jax.random.normal(keys[0], (2, length, 4, 8))
  k, v = (jax.random.normal(key, (2, length, 2, 8)) for key in keys[1:])
  segments = jnp.sort(jax.random.randint(keys[0], (2, length), 0, 4)) if segmented else None
  with jax.set_mesh(make_mesh(1, 1, 1)):
    attend = jax.jit(partial(attention.attend, window=window, implementation='xla'))
    ours = attend(q, k, v, segments)
  mask = None if segments is None else segments[:, None, :, None] == segments[:, None, None, :]
  local = None if window is None else (window - 1, 0)
  expected = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=True, local_window_size=local)
  np.testing.assert_allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize(('window', 'given'), [(None, None), (33, None), (32, None), (31, (30, 0))])
def test_a_window_that_hides_nothing_is_not_given_to_the_kernel(window, given, monkeypatch):
  seen = {}
  monkeypatch.setattr(jax.nn, 'dot_product_attention', lambda q, *_, **options: seen.update(options) or q)
  q = jnp.zeros((2, 32, 4, 8))
  with jax.set_mesh(make_mesh(1, 1, 1)):
    jax.eval_shape(lambda q: attention.attend(q, q, q, None, window=window, implementation='cudnn'), q)
  assert seen['local_window_size'] == given


def test_an_older_cudnn_is_refused_where_it_cannot_hide_both(monkeypatch):
  versions = SimpleNamespace(cudnn_get_version=lambda: 90_800)
  monkeypatch.setattr(attention, 'cuda_versions', versions)
  with pytest.raises(InputError, match=r'model\.window=31 is shorter than rows of 32, and cuDNN 9\.8\.0 has'):
    attention.check_window('cudnn', 31, 32, packed=True)
  for ours in (('cudnn', 31, 32, False), ('cudnn', 32, 32, True), ('cudnn', None, 32, True), ('xla', 31, 32, True)):
    attention.check_window(*ours)
  versions.cudnn_get_version = lambda: 91_002
  attention.check_window('cudnn', 31, 32, packed=True)


@pytest.mark.parametrize('name', FAMILIES)
def test_every_family_has_as_many_weights_as_in_transformers(name):
  theirs = torch_model(FAMILIES[name][0], **FAMILIES[name][1])
  assert our_config(theirs).num_params == sum(weight.numel() for weight in theirs.parameters())


def test_parameter_count_and_flops_agree_with_the_arrays():
  cfg = our_config(torch_model('llama'))
  with jax.set_mesh(make_mesh(1, 1, 1)):
    model = decoder.abstract(cfg)
  assert cfg.num_params == sum(x.size for x in jax.tree.leaves(model))
  matrices = cfg.num_params - 160 * 64
  assert cfg.train_flops_per_token(T) == 6 * matrices + 12 * 2 * (T / 2) * 4 * 16


@pytest.mark.parametrize(('config', 'published'), [(llama13b, 13_015_864_320), (mistral7b, 7_241_732_096)])
def test_the_papers_models_have_their_published_sizes(config, published):
  shape = config.get_config().model.to_dict() | {'vocab_size': 32_000, 'max_positions': 1024, 'attention': 'xla'}
  del shape['init_from']
  assert Config(**shape).num_params == published


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'remat': 'most'}, 'model.remat'), ({'num_kv_heads': 3}, 'num_kv_heads=3'), ({'window': 0}, 'model.window=0'),
    ({'dtype': 'float16'}, 'model.dtype'), ({'dim': 0}, 'model.dim=0'), ({'head_dim': 15}, 'model.head_dim=15'),
  ],
)  # fmt: skip
def test_impossible_models_are_named(change, said):
  with pytest.raises(InputError, match=said):
    dataclasses.replace(our_config(torch_model('llama')), **change)


@pytest.mark.parametrize(
  ('change', 'said'),
  [({'kind': 'yarn'}, "kind='yarn' is not one of llama3"), ({'low': 4.0}, 'low=4.0 above 0 and high=4.0')],
)
def test_an_impossible_stretch_of_the_rotary_embedding_is_named(change, said):
  with pytest.raises(InputError, match=said):
    RopeScaling(**({'kind': 'llama3', 'factor': 8.0, 'low': 1.0, 'high': 4.0, 'original': 8192} | change))


def test_a_window_that_no_config_file_can_say_is_refused():
  with pytest.raises(InputError, match=r'window=5: the config.json of a llama has no window.*mistral'):
    dataclasses.replace(our_config(torch_model('llama')), window=5).check_family()


def test_a_mesh_that_does_not_divide_the_model_is_refused():
  with pytest.raises(InputError, match='num_kv_heads=2'):
    our_config(torch_model('llama')).check_mesh(fsdp=1, tensor=4)
