"""A row whose answer has ended takes the next prompt, and no answer knows of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decode_test import answer, make_prompts

from skillmix_jax import decode
from skillmix_jax.batches import CHUNK
from skillmix_jax.decode import Sampler
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import cached, decoder
from skillmix_jax.models.config import Config
from skillmix_jax.refill import Rows

END = 1


def make_rows(lengths: list[int], num_rows: int, piece: int, num_devices: int = 1, most: int = 512) -> Rows:
  """Prompt i is [i] and has the id str(lengths[i])."""
  prompts = [(str(length), [i]) for i, length in enumerate(lengths)]
  return Rows(prompts, num_rows, piece, num_devices, 4, (END, -1), most, seed=0)


def play(rows: Rows, num_rows: int, num_devices: int = 1):
  """Answers prompts as the two programs would, with tokens that end an answer where its id says; counts `extend`.

  Yields (answers that ended, which prompt is in each row) after every call.
  """
  held: list[int | None] = [None] * num_rows  # by the cache: prompt i
  lengths = [int(name) for name, _ in rows._waiting]
  made = dict.fromkeys(range(len(lengths)), 0)
  goes_on = lambda prompt: prompt is not None and made[prompt] < min(lengths[prompt], rows._max_new_tokens)

  def next_token(prompt):
    made[prompt] += 1
    return END if made[prompt] == lengths[prompt] else 5

  while not rows.is_done:
    if rows.takes_prompts:
      piece = rows.next_piece()
      on_device, places = num_rows // num_devices, len(piece['rows']) // num_devices
      token = np.full(len(piece['rows']), 9)
      for place, row in enumerate(piece['rows']):
        if row < on_device:
          at, prompt = place // places * on_device + row, int(piece['tokens'][place, 0])
          assert not goes_on(held[at])
          held[at], token[place] = prompt, next_token(prompt)
      yield 'fill', rows.begin(token)
    else:
      state = rows.state()
      for row, prompt in enumerate(held):
        if goes_on(prompt):
          assert state['index'][row] == made[prompt] - 1 and state['lengths'][row] == 1
      new = [[9 if prompt is None else next_token(prompt) for prompt in held] for _ in range(CHUNK)]
      yield 'extend', rows.grow(np.array(new))


@pytest.mark.parametrize(
  ('num_rows', 'piece', 'num_devices'), [(1, 1, 1), (8, 1, 1), (16, 4, 1), (16, 4, 4), (8, 8, 2)]
)
def test_every_prompt_is_answered_once_whole_and_as_soon_as_it_ends(num_rows, piece, num_devices):
  lengths = np.random.default_rng(0).geometric(1 / 20, 70)
  lengths = np.unique(np.concatenate([lengths, [1, 2, 16, 17, 18, 40, 41, 90]])).tolist()  # ids differ
  steps = list(play(make_rows(lengths, num_rows, piece, num_devices, most=40), num_rows, num_devices))
  answers = [answer for _, ended in steps for answer in ended]
  assert sorted(int(name) for name, _, _ in answers) == lengths
  for name, ids, reason in answers:
    length = int(name)
    assert ids == ([5] * (length - 1) + [END] if length <= 40 else [5] * 40)
    assert reason == ('stop' if length <= 40 else 'length')
  if num_rows < 8:
    assert [int(name) for name, _, _ in answers] == lengths


def test_the_batch_stays_full():
  lengths = np.minimum(np.random.default_rng(0).geometric(1 / 150, 2000), 511)
  num = {'fill': 0, 'extend': 0}
  for kind, _ in play(make_rows(lengths.tolist(), 32, 4), 32):
    num[kind] += 1
  assert num['fill'] == 500
  assert (lengths.sum() - 2000) / (num['extend'] * CHUNK * 32) > 0.85


def make_sampler(mesh_shape=(1, 1, 1), dtype='bfloat16', window=None) -> Sampler:
  """One token in 80 ends an answer at random."""
  kind = 'mistral' if window else 'llama'
  cfg = Config(kind, 160, 256, 64, 2, 2, 2, 32, 128, dtype=dtype, window=window)
  mesh = make_mesh(*mesh_shape)
  with jax.set_mesh(mesh):
    return Sampler(decoder.init(cfg, 0), cfg, mesh, eos_id=7, document_end=11)


@pytest.mark.parametrize(
  ('mesh_shape', 'dtype', 'window'),
  [((1, 1, 1), 'bfloat16', None), ((2, 1, 2), 'bfloat16', 20), ((1, 1, 1), 'float32', 20)],
)
def test_an_answer_is_the_same_with_and_without_refill(mesh_shape, dtype, window):
  sampler, prompts = make_sampler(mesh_shape, dtype, window), make_prompts(60, 30)
  options = dict(temperature=2.0, top_p=0.99, new=50, batch_size=16)
  refilled = answer(sampler, prompts, **options)
  assert len({len(ids) for ids, _ in refilled.values()}) > 12
  batched = {}
  for first in range(0, 60, 16):
    batched |= answer(sampler, prompts[first : first + 16], **options)
  assert refilled == batched
  shuffled = [prompts[i] for i in np.random.default_rng(1).permutation(60)]
  assert answer(sampler, shuffled, **options) == refilled
  missing = shuffled[7:40]  # a restart asks for what a kill left out
  assert answer(sampler, missing, **options) == {name: refilled[name] for name, _ in missing}


def test_a_row_keeps_nothing_of_what_it_had(monkeypatch):
  sampler, prompts = make_sampler(), make_prompts(20, 30)
  options = dict(temperature=1.0, new=20, batch_size=8)
  expected = answer(sampler, prompts, **options)
  empty = cached.empty_cache

  def full_of_nan(*arguments):
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), empty(*arguments))

  monkeypatch.setattr(decode, 'empty_cache', full_of_nan)
  assert answer(sampler, prompts, **options) == expected
