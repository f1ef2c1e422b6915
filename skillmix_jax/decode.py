"""Batched sampling: every row grows by a token at a time from a cache of keys; rows that end take the next prompts.

The weights are a copy in the compute dtype, whole on every device or split over 'tensor', never over 'fsdp': a split
over fsdp would send all weights over the network for every token. A row's noise depends on the seed, the row's id
and the number of the token alone; the shapes that it is computed in on its own length and the batch size (batches.py);
its part of the cache is written anew when it takes a prompt. So its neighbours, when it begins, the order and a restart
change no answer.

Two programs take turns: `fill` reads a piece of the prompts into free rows, `extend` grows all rows by CHUNK tokens; in
between the host looks which answers have ended (refill.py). The cache is donated to both and updated in place.

Dims: B batch, R rows of a piece, T time, V vocab, C tokens of a call.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax.batches import CHUNK, Prompt, buckets, piece_of, rows_on
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import place_batch, spec
from skillmix_jax.models.cached import Weights, copy_weights, empty_cache, read_prompts, read_token
from skillmix_jax.models.config import Config
from skillmix_jax.models.decoder import Decoder
from skillmix_jax.refill import NO_TOKEN, Answer, Rows

TEMPERATURES = 1e-3, 1e3  # beyond these, logits in float32 are all equal or infinite


class Rule(NamedTuple):
  """How a token is chosen; each rule is compiled for itself, the numbers are arguments."""

  greedy: bool
  nucleus: bool  # top-p below 1


def _keep_top_p(logits_BV, top_p):
  """Sets -inf outside the smallest set of most likely tokens whose probabilities sum to at least top_p.

  The probability of the least likely token that stays is found by halving the interval of its bits, which for
  numbers >= 0 are ordered as the numbers are: 31 sums over the vocabulary are much cheaper than sorting it.
  """
  probabilities = jax.nn.softmax(logits_BV)
  bits = jax.lax.bitcast_convert_type(probabilities, jnp.int32)

  def halve(_, bounds):
    low, high = bounds  # the tokens from `low` up have enough probability, those from `high` up do not
    middle = low + (high - low) // 2
    enough = jnp.where(bits >= middle[:, None], probabilities, 0).sum(axis=1) >= top_p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  likeliest = bits.max(axis=1)
  low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.zeros_like(likeliest), likeliest + 1))
  # A top_p below the rounding of the sums leaves the likeliest token.
  return jnp.where(bits >= jnp.minimum(low, likeliest)[:, None], logits_BV, -jnp.inf)


def _first_largest(x_VB):
  """The argmax over the vocabulary, by a maximum and the first index that has it: on CPUs in a tenth of the time.

  NO_TOKEN where a number is NaN: then the maximum is, too, and nothing equals it.
  """
  index_V1 = jnp.arange(x_VB.shape[0], dtype=jnp.int32)[:, None]
  return jnp.where(x_VB == x_VB.max(axis=0), index_V1, NO_TOKEN).min(axis=0)


def choose(logits_VB, keys_B2, index_B, temperature, top_p, rule: Rule):
  """Chooses the next token of each row, int32 [B]; NO_TOKEN where its logits are no numbers.

  Args:
    logits_VB: float32.
    keys_B2: uint32, the noise of each row, see `refill.row_key`.
    index_B: int32, number of the token in its answer.
    temperature: divides the logits before top_p cuts; float32 above 0 unless the rule is greedy.
    top_p: in (0, 1]; used where the rule is nucleus.
  """

  def local(logits_VB, keys_B2, index_B, temperature, top_p):
    if rule.greedy:
      return _first_largest(logits_VB)
    scaled = logits_VB / temperature
    if rule.nucleus:
      scaled = _keep_top_p(scaled.T, top_p).T
    noise = lambda key, index: jax.random.gumbel(jax.random.fold_in(key, index), logits_VB.shape[:1])
    keys = jax.random.wrap_key_data(keys_B2, impl='threefry2x32')
    return _first_largest(scaled + jax.vmap(noise, out_axes=1)(keys, index_B))

  mapped = jax.shard_map(local, out_specs=spec('batch'), check_vma=False)
  return mapped(logits_VB, keys_B2, index_B, temperature, top_p)


@partial(jax.jit, static_argnames=('cfg', 'rule'), donate_argnames='cache')
def fill(weights: Weights, cache, piece: dict, temperature, top_p, *, cfg: Config, rule: Rule):
  """Reads prompts into rows of the cache and chooses the first token of each answer.

  Args:
    cache: of `empty_cache` or the last call of `fill` or `extend`; it is donated.
    piece: tokens int32 [R, T], padded on the right; lengths int32 [R]; keys uint32 [R, 2]; rows int32 [R], which of its
      device's rows a prompt gets, no row twice; it gets none where that is past the last.

  Returns:
    Tokens int32 [R], the same on every device, and the cache.
  """
  logits_VR, cache = read_prompts(cfg, weights, cache, piece['tokens'], piece['lengths'], piece['rows'])
  token_R = choose(logits_VR, piece['keys'], jnp.zeros_like(piece['lengths']), temperature, top_p, rule)
  return jax.reshard(token_R, spec(None)), cache


@partial(jax.jit, static_argnames=('cfg', 'rule'), donate_argnames='cache')
def extend(weights: Weights, cache, rows: dict, temperature, top_p, *, cfg: Config, rule: Rule):
  """Grows every answer by CHUNK tokens.

  Args:
    cache: of the last call of `fill` or `extend`; it is donated.
    rows: token int32 [B], the last of each row, not in the cache yet; index int32 [B], its number in its answer;
      lengths int32 [B], of the prompts; keys uint32 [B, 2].

  Returns:
    All new tokens int32 [CHUNK, B] on every device, and the cache.
  """

  def step(carry, added):
    token_B, cache = carry
    index_B = rows['index'] + added
    logits_VB, cache = read_token(cfg, weights, cache, token_B, rows['lengths'] + index_B)
    token_B = choose(logits_VB, rows['keys'], index_B + 1, temperature, top_p, rule)
    return (token_B, cache), token_B

  (_, cache), new_CB = jax.lax.scan(step, (rows['token'], cache), jnp.arange(CHUNK))
  return jax.reshard(new_CB, spec(None, None)), cache


class Sampler:
  """Answers prompts, a batch at a time."""

  def __init__(
    self,
    params: Decoder,
    cfg: Config,
    mesh: jax.sharding.Mesh,
    eos_id: int,
    consume: bool = False,
    document_end: int = -1,
  ):
    """Copies the weights.

    Args:
      params: a decoder on any mesh.
      cfg: its config; the copy and the computation have cfg.dtype.
      mesh: of `decode_mesh`, or any whose fsdp is 1.
      eos_id: the token that ends an answer.
      consume: params are not needed any more; their memory is freed while they are copied.
      document_end: another token that ends it, as it ends a document; -1 for no such token.
    """
    self._cfg, self._mesh, self._ends = cfg, mesh, (eos_id, document_end)
    self._weights = copy_weights(params, cfg, mesh, consume)

  def sample(
    self, prompts: Sequence[Prompt], *, batch_size: int, temperature: float, top_p: float, max_new_tokens: int,
    seed: int,
  ) -> Iterator[Answer]:  # fmt: skip
    """Answers every prompt; prompts of one bucket begin in the order of their lengths, the longest first.

    Args:
      prompts: (id, token ids) each; the ids are unique.
      batch_size: prompts at a time, rounded up to equally many for each device; see batches.fitting_batch_size.
      temperature: 0 takes the likeliest token.
      top_p: a token is drawn from the likeliest that have this probability together.
      max_new_tokens: where an answer ends at the latest.
      seed: of the noise.

    Returns:
      An iterator of (id, new ids, 'stop' or 'length') as the answers end; the ids end with an end token where the
      reason is 'stop'.

    Raises:
      InputError: a number makes no sense, or a prompt is too long for the model; later, if logits are NaN.
    """
    check_numbers(temperature, top_p, max_new_tokens)
    check_prompts(prompts, self._cfg, max_new_tokens)
    numbers = np.float32(temperature), np.float32(top_p)
    num_rows, rule = rows_on(self._mesh, batch_size), Rule(temperature == 0, top_p < 1)
    return self._answers(prompts, num_rows, numbers, rule, max_new_tokens, seed)

  def _answers(self, prompts, num_rows, numbers, rule, max_new_tokens, seed):
    num_devices = rows_on(self._mesh, 1)
    for length, same in buckets(prompts):
      piece = num_devices * piece_of(num_rows // num_devices, length)
      rows = Rows(same, num_rows, piece, num_devices, length, self._ends, max_new_tokens, seed)
      num_slots = length + -(-(max_new_tokens - 1) // CHUNK) * CHUNK
      yield from self._bucket(rows, num_rows, num_slots, numbers, rule)

  def _bucket(self, rows: Rows, num_rows, num_slots, numbers, rule):
    cache = empty_cache(self._cfg, self._mesh, num_rows, num_slots)
    while not rows.is_done:
      step = self._fill if rows.takes_prompts else self._extend
      cache, answers = step(cache, rows, *numbers, cfg=self._cfg, rule=rule)
      yield from answers

  def _fill(self, cache, rows: Rows, *numbers, **options):
    with jax.set_mesh(self._mesh):
      piece = place_batch(self._mesh, rows.next_piece())
      token, cache = fill(self._weights, cache, piece, *numbers, **options)
    return cache, rows.begin(np.asarray(token))

  def _extend(self, cache, rows: Rows, *numbers, **options):
    with jax.set_mesh(self._mesh):
      new, cache = extend(self._weights, cache, place_batch(self._mesh, rows.state()), *numbers, **options)
    return cache, rows.grow(np.asarray(new))


def check_numbers(temperature: float, top_p: float, max_new_tokens: int):
  """Raises InputError for numbers that make no sense."""
  low, high = TEMPERATURES
  if temperature != 0 and not low <= temperature <= high:
    raise InputError(f'temperature={temperature} must be 0 (the likeliest token), or from {low:g} to {high:g}')
  if not 0 < top_p <= 1:
    raise InputError(f'top_p={top_p} must be above 0 and at most 1')
  if max_new_tokens < 1:
    raise InputError(f'max_new_tokens={max_new_tokens} must be at least 1')


def check_prompts(prompts: Sequence[Prompt], cfg: Config, max_new_tokens: int):
  """Raises InputError naming the prompt that the model has no positions for."""
  for name, ids in prompts:
    if len(ids) + max_new_tokens > cfg.max_positions:
      raise InputError(
        f'prompt {name!r} has {len(ids)} tokens: with {max_new_tokens} new ones it is longer than the '
        f'{cfg.max_positions} positions of the model; shorten it or lower max_new_tokens'
      )
