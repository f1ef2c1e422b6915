"""The sampler says what the model says, one token at a time, however the prompts are batched."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.from_torch import our_config, to_ours, torch_model

from skillmix_jax import batches, decode
from skillmix_jax.decode import Sampler
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import cached, decoder
from skillmix_jax.models.config import Config
from skillmix_jax.refill import NO_TOKEN, row_key

NEW = 40

torch.set_num_threads(1)  # two thread pools on few cores wait for each other


def make_prompts(num: int = 32, longest: int = 60) -> list[tuple[str, list[int]]]:
  rng = np.random.default_rng(0)
  lengths = rng.integers(1, longest, num)
  return [(f'p{i}', rng.integers(0, 160, n).tolist()) for i, n in enumerate(lengths)]


def make_sampler(theirs, mesh_shape=(1, 1, 1), eos_id=-1, document_end=-1) -> Sampler:
  cfg = our_config(theirs)
  mesh = make_mesh(*mesh_shape)
  with jax.set_mesh(mesh):
    params = to_ours(theirs, cfg)
  return Sampler(params, cfg, mesh, eos_id, document_end=document_end)


def answer(sampler, prompts, temperature=0.0, top_p=1.0, new=NEW, seed=0, batch_size=12):
  answers = sampler.sample(
    prompts, batch_size=batch_size, temperature=temperature, top_p=top_p, max_new_tokens=new, seed=seed
  )
  return {name: (ids, reason) for name, ids, reason in answers}


def their_answer(theirs, ids, eos_id) -> list[int]:
  with torch.no_grad():
    out = theirs.generate(
      torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=NEW,
      eos_token_id=eos_id, pad_token_id=0,
    )  # fmt: skip
  return out[0, len(ids) :].tolist()


KINDS = [
  ('llama', {}),
  ('llama', {'num_key_value_heads': 1, 'tie_word_embeddings': True}),
  ('mistral', {'sliding_window': 9}),
  ('mistral', {'sliding_window': 50, 'num_key_value_heads': 4, 'num_hidden_layers': 3}),
]


@pytest.mark.parametrize(('kind', 'overrides'), KINDS)
def test_greedy_answers_equal_transformers_token_for_token(kind, overrides):
  theirs = torch_model(kind, **overrides)
  prompts = make_prompts()
  free = answer(make_sampler(theirs), prompts)
  counts = np.bincount(np.concatenate([ids for ids, _ in free.values()]))
  assert (counts > 0).sum() > 40  # varied text
  eos_id = int(counts.argmax())
  ours = answer(make_sampler(theirs, eos_id=eos_id), prompts)
  for name, ids in prompts:
    assert ours[name][0] == their_answer(theirs, ids, eos_id), name
    assert ours[name][1] == ('stop' if ours[name][0][-1] == eos_id else 'length')
  assert {reason for _, reason in ours.values()} == {'stop', 'length'}


@pytest.mark.parametrize(('kind', 'overrides'), [('mistral', {'sliding_window': 9}), ('olmo2', {}), ('qwen2', {})])
def test_greedy_is_the_argmax_of_the_full_forward_pass(kind, overrides):
  theirs = torch_model(kind, **overrides)
  cfg = our_config(theirs)
  prompts = make_prompts(8)
  ours = answer(make_sampler(theirs), prompts, new=20)
  mesh = make_mesh(1, 1, 1)
  rows = np.zeros((8, 96), np.int32)
  for row, (name, ids) in zip(rows, prompts):
    row[: len(ids) + 20] = ids + ours[name][0]
  positions = np.tile(np.arange(96, dtype=np.int32), (8, 1))
  with jax.set_mesh(mesh):
    batch = place_batch(mesh, {'tokens': rows, 'positions': positions})
    logits = jax.jit(lambda model, x: model(x['tokens'], x['positions']) @ model.head())(to_ours(theirs, cfg), batch)
  best = np.asarray(logits).reshape(8, 96, -1).argmax(-1)
  for row, (name, ids) in zip(best, prompts):
    assert row[len(ids) - 1 : len(ids) + 19].tolist() == ours[name][0]


def test_answers_do_not_depend_on_batch_size_order_or_devices():
  theirs = torch_model('llama')
  prompts = make_prompts(12, 30)
  eos_id, options = 7, dict(temperature=1.0, top_p=0.9, new=17)
  expected = answer(make_sampler(theirs, eos_id=eos_id), prompts, **options)
  assert len({tuple(ids) for ids, _ in expected.values()}) == 12
  for mesh_shape, batch_size in (((1, 1, 1), 1), ((1, 1, 1), 3), ((1, 1, 2), 12), ((4, 1, 1), 4)):
    sampler = make_sampler(theirs, mesh_shape, eos_id)
    assert answer(sampler, prompts[::-1], **options, batch_size=batch_size) == expected, (mesh_shape, batch_size)
  some = answer(sampler, prompts[5:9], **options)  # as a restart asks for what is missing
  assert some == {name: expected[name] for name, _ in prompts[5:9]}
  assert answer(sampler, prompts, seed=1, **options) != expected
  by_document = make_sampler(theirs, eos_id=-1, document_end=eos_id)
  assert answer(by_document, prompts, **options) == expected


def test_in_bfloat16_an_answer_does_not_depend_on_its_neighbours():
  cfg = Config('llama', 160, 256, 64, 2, 2, 2, 32, 128, dtype='bfloat16')
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    sampler = Sampler(decoder.init(cfg, 0), cfg, mesh, eos_id=-1)
  prompts = make_prompts(24, 90)  # of four buckets
  shuffled = [prompts[i] for i in np.random.default_rng(1).permutation(len(prompts))]
  for temperature in (0.0, 1.0):
    options = dict(temperature=temperature, new=33, batch_size=24)
    expected = answer(sampler, prompts, **options)
    assert answer(sampler, shuffled, **options) == expected
    for missing in (prompts[3:], prompts[1::3]):  # a restart asks for what a kill left out
      assert answer(sampler, missing, **options) == {name: expected[name] for name, _ in missing}


def test_an_answer_ends_at_the_end_token_or_at_the_limit():
  theirs = torch_model('llama')
  prompts = make_prompts(6)
  for new in (1, 2, 17, 18):
    for ids, reason in answer(make_sampler(theirs), prompts, new=new).values():
      assert len(ids) == new and reason == 'length'
  free = answer(make_sampler(theirs), prompts, new=20)
  eos_id = free['p0'][0][4]
  ids, reason = answer(make_sampler(theirs, eos_id=eos_id), prompts, new=20)['p0']
  assert reason == 'stop' and ids[-1] == eos_id and ids == free['p0'][0][: free['p0'][0].index(eos_id) + 1]


def test_logits_that_are_not_numbers_end_with_the_prompt_that_has_them():
  theirs = torch_model('llama')
  with torch.no_grad():
    theirs.model.embed_tokens.weight[7] = float('nan')
  sampler, prompts = make_sampler(theirs), make_prompts(4, 20)
  clean = [(name, [token for token in ids if token != 7] or [8]) for name, ids in prompts]
  rule = dict(temperature=1.0, top_p=0.9, new=2)
  for options in (dict(new=2), rule, rule | dict(top_p=1.0)):
    assert len(answer(sampler, clean, **options)) == 4  # its neighbours in the cache are no part of an answer
    with pytest.raises(InputError, match=r"prompt 'bad': the model has no next token \(NaN\)"):
      answer(sampler, [*clean, ('bad', [3, 7])], **options)


def test_the_likeliest_token_is_the_first_of_the_largest():
  logits = np.random.default_rng(0).integers(-3, 4, (5000, 8)).astype(np.float32)
  logits[:, 5], logits[:, 6], logits[7:, 7] = -np.inf, np.nan, np.inf
  keys, rule, one = np.zeros((8, 2), np.uint32), decode.Rule(greedy=True, nucleus=False), np.float32(1)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    tokens = np.asarray(decode.choose(jnp.asarray(logits), jnp.asarray(keys), jnp.zeros(8, jnp.int32), one, one, rule))
  assert np.delete(tokens, 6).tolist() == np.delete(logits.argmax(axis=0), 6).tolist()
  assert tokens[6] == NO_TOKEN


PROBABILITIES = np.array([0.36, 0.24, 0.16, 0.1, 0.06, 0.05, 0.02, 0.01])


def draw(temperature: float, top_p: float, num: int = 20_000) -> np.ndarray:
  """How often each of 8 tokens of known probability is drawn."""
  logits = jnp.tile(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))[:, None], (1, num))
  keys = np.stack([row_key(3, str(i)) for i in range(num)])
  rule = decode.Rule(greedy=False, nucleus=top_p < 1)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    pick = jax.jit(decode.choose, static_argnums=5)
    tokens = pick(logits, jnp.asarray(keys), jnp.full(num, 2), np.float32(temperature), np.float32(top_p), rule)
  return np.bincount(np.asarray(tokens), minlength=8)


@pytest.mark.parametrize(
  ('temperature', 'top_p', 'kept'),
  [(1.0, 1.0, 8), (0.5, 1.0, 8), (2.0, 1.0, 8), (1.0, 0.75, 3), (1.0, 0.77, 4), (0.5, 0.9, 3), (1.0, 1e-9, 1)],
)
def test_frequencies_are_those_of_temperature_and_top_p(temperature, top_p, kept):
  expected = PROBABILITIES ** (1 / temperature)
  expected[kept:] = 0
  expected = expected / expected.sum()
  counts = draw(temperature, top_p)
  assert counts[kept:].sum() == 0
  num = counts.sum()
  statistic = ((counts - num * expected)[:kept] ** 2 / (num * expected[:kept])).sum()
  assert statistic < 24.3  # the 99.9 % quantile of chi-squared with 7 degrees of freedom


def test_what_cannot_be_sampled_is_named():
  sampler = make_sampler(torch_model('llama'))
  for numbers, said in (
    (dict(temperature=-1.0), 'temperature=-1'),
    (dict(temperature=float('nan')), 'temperature=nan'),
    (dict(temperature=float('inf')), 'temperature=inf'),
    (dict(temperature=1e-40), 'temperature=1e-40'),
    (dict(top_p=0.0), 'top_p=0'),
    (dict(new=0), 'max_new_tokens=0'),
    (dict(new=250), "prompt 'p0' has 50 tokens"),
  ):
    with pytest.raises(InputError, match=said):
      answer(sampler, [('p0', [1] * 50)], **numbers)


def test_as_many_prompts_are_answered_at_a_time_as_fit():
  cfg, mesh = our_config(torch_model('llama')), make_mesh(2, 1, 1)
  fitting = lambda free, longest=100, num=1000: batches.fitting_batch_size(cfg, mesh, free, longest, num, 16)
  assert (fitting(None), fitting(None, num=5)) == (32, 6)  # not known; equally many for both devices
  # Keys and values: layers x kv heads x head dim x slots x float32; and what choosing a token takes.
  row_bytes = 2 * 2 * 2 * 16 * (128 + 16 + 16) * 4 + 16 * 160
  others = 4 * cfg.num_params + batches.reading_bytes(cfg, 128)
  free = lambda num_rows: others + (num_rows * row_bytes + row_bytes / 2) / 0.9
  assert [fitting(free(num_rows)) for num_rows in (10, 0, 10**6)] == [20, 2, 256]
  assert fitting(free(10), num=5) == 6 and fitting(free(10), longest=129) < 20


def test_the_cache_is_not_copied():
  cfg = our_config(torch_model('llama', max_position_embeddings=4096))
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    weights = cached.copy_weights(decoder.init(cfg, 0), cfg, mesh, consume=False)
    ints, keys = np.zeros(4, np.int32), np.zeros((4, 2), np.uint32)
    rows = {'token': ints, 'index': ints, 'lengths': ints, 'keys': keys}
    piece = {'tokens': np.zeros((1, 32), np.int32), 'lengths': ints[:1], 'keys': keys[:1], 'rows': ints[:1]}
    cache, numbers = cached.empty_cache(cfg, mesh, 4, 4096), (np.float32(0), np.float32(1))
    options = dict(cfg=cfg, rule=decode.Rule(greedy=True, nucleus=False))
    layer_bytes = 2 * 4 * 2 * 4096 * 16 * 4
    for program, batch, most in ((decode.extend, rows, layer_bytes / 2), (decode.fill, piece, layer_bytes)):
      lowered = program.lower(weights, cache, place_batch(mesh, batch), *numbers, **options)
      memory = lowered.compile().memory_analysis()
      assert memory.alias_size_in_bytes >= 2 * layer_bytes
      assert memory.temp_size_in_bytes < most


def test_the_block_that_trains_reads_prompts_and_grows_answers(monkeypatch):
  cfg, mesh, shapes = Config('mistral', 96, 64, 48, 3, 2, 2, 24, 64), make_mesh(1, 1, 1), []
  block = decoder.Block.__call__

  def noted(self, cfg, x_MD, cos, sin, attend):
    shapes.append(x_MD.shape)
    return block(self, cfg, x_MD, cos, sin, attend)

  monkeypatch.setattr(decoder.Block, '__call__', noted)
  with jax.set_mesh(mesh):
    tokens = jax.ShapeDtypeStruct((2, 8), jnp.int32)
    jax.eval_shape(lambda model, tokens: model(tokens, tokens), decoder.abstract(cfg), tokens)
    assert shapes == [(16, 48)]  # one for the layers together, they are scanned
    weights = cached.copy_weights(decoder.init(cfg, 0), cfg, mesh, consume=False)
    batch = place_batch(mesh, {'tokens': np.zeros((2, 8), np.int32), 'lengths': np.ones(2, np.int32)})
    lengths, cache = batch['lengths'], cached.empty_cache(cfg, mesh, 2, 16)
    jax.eval_shape(partial(cached.read_prompts, cfg), weights, cache, batch['tokens'], lengths, lengths)
    assert shapes[1:] == [(16, 48)] * 3
    jax.eval_shape(partial(cached.read_token, cfg), weights, cache, lengths, lengths)
    assert shapes[4:] == [(2, 48)] * 3


@pytest.mark.parametrize('tied', [False, True])
def test_the_copy_that_decodes_has_norms_in_float32_and_the_rest_in_its_dtype(tied):
  cfg = Config('llama', 96, 64, 48, 2, 2, 1, 24, 64, tie_embeddings=tied)
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    params = decoder.init(cfg, 0)
    weights = cached.copy_weights(params, cfg, mesh, consume=False)
  halved = lambda x: np.asarray(x.astype(jnp.bfloat16))
  same = lambda ours, expected: ours.dtype == expected.dtype and (np.asarray(ours) == expected).all()
  assert same(weights.embed, halved(params.embed[...])) and same(weights.norm, np.ones(48, np.float32))
  assert same(weights.head, halved(params.embed[...] if tied else params.unembed[...].T))
  for layer, block in enumerate(weights.blocks):
    for name in ('query', 'key', 'value', 'out', 'gate', 'up', 'down'):
      assert same(getattr(block, name)[...], halved(getattr(params.blocks, name)[layer])), name
    assert same(block.attention_norm[...], np.ones(48, np.float32)) and same(block.mlp_norm[...], weights.norm)
