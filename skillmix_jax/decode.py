"""Batched sampling: prompts are read in one pass, then every row grows by a token at a time from a cache of keys.

The weights are a copy in the compute dtype, whole on every device or split over 'tensor', never over 'fsdp': a split
over fsdp would send all weights over the network for every token. A row's noise depends on the seed, the row's id
and the number of the token alone; the shapes that it is computed in on its own length and the batch size (batches.py).
So its neighbours, the order and a restart change no answer.

The cache goes round the loop over tokens as its carry, donated, and is updated in place.

Dims: B batch, T time, V vocab, C tokens of a call.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax.batches import CHUNK, Prompt, batches, rows_on
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import place_batch, spec
from skillmix_jax.models.cached import Weights, copy_weights, read_prompts, read_token
from skillmix_jax.models.config import Config
from skillmix_jax.models.decoder import Decoder

TEMPERATURES = 1e-3, 1e3  # beyond these, logits in float32 are all equal or infinite

Answer = tuple[str, list[int], str]


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


def choose(logits_VB, keys_B2, index, temperature, top_p, rule: Rule):
  """Chooses the next token of each row, int32 [B].

  Args:
    logits_VB: float32.
    keys_B2: uint32, the noise of each row, see `row_key`.
    index: number of the token in its answer.
    temperature: divides the logits before top_p cuts; float32 above 0 unless the rule is greedy.
    top_p: in (0, 1]; used where the rule is nucleus.
  """

  def local(logits_VB, keys_B2, index, temperature, top_p):
    if rule.greedy:
      return jnp.argmax(logits_VB, axis=0).astype(jnp.int32)
    scaled = logits_VB / temperature
    if rule.nucleus:
      scaled = _keep_top_p(scaled.T, top_p).T
    noise = lambda key: jax.random.gumbel(jax.random.fold_in(key, index), logits_VB.shape[:1])
    keys = jax.random.wrap_key_data(keys_B2, impl='threefry2x32')
    return jnp.argmax(scaled + jax.vmap(noise, out_axes=1)(keys), axis=0).astype(jnp.int32)

  mapped = jax.shard_map(local, out_specs=spec('batch'), check_vma=False)
  return mapped(logits_VB, keys_B2, index, temperature, top_p)


def row_key(seed: int, row_id: str) -> np.ndarray:
  """Makes the key of a row's noise, uint32 [2], from the seed and the row's id."""
  return np.frombuffer(hashlib.sha256(f'{seed}\n{row_id}'.encode()).digest()[:8], '<u4').copy()


@partial(jax.jit, static_argnames=('cfg', 'rule', 'num_slots'))
def prefill(weights: Weights, batch: dict, temperature, top_p, *, cfg: Config, rule: Rule, num_slots: int):
  """Reads the prompts and chooses the first token of each answer.

  Args:
    batch: tokens int32 [B, T], padded on the right; lengths int32 [B]; keys uint32 [B, 2].
    num_slots: length of the cache.

  Returns:
    Tokens int32 [B], split by rows; the same on every device; the cache.
  """
  logits_VB, cache = read_prompts(cfg, weights, batch['tokens'], batch['lengths'], num_slots)
  token_B = choose(logits_VB, batch['keys'], jnp.int32(0), temperature, top_p, rule)
  return token_B, jax.reshard(token_B, spec(None)), cache


@partial(jax.jit, static_argnames=('cfg', 'rule'), donate_argnames='cache')
def extend(weights: Weights, cache, token_B, batch: dict, first, temperature, top_p, *, cfg: Config, rule: Rule):
  """Grows every answer by CHUNK tokens.

  Args:
    cache: of `prefill` or the last call; it is donated.
    token_B: the last token of each row, not in the cache yet.
    batch: of `prefill`.
    first: int32, number of that token in its answer.

  Returns:
    The last token of each row, all new tokens int32 [CHUNK, B] on every device, and the cache.
  """
  longest = batch['tokens'].shape[1]

  def step(carry, index):
    token_B, cache = carry
    logits_VB, cache = read_token(cfg, weights, cache, token_B, batch['lengths'], index, longest)
    token_B = choose(logits_VB, batch['keys'], index + 1, temperature, top_p, rule)
    return (token_B, cache), token_B

  (token_B, cache), new_CB = jax.lax.scan(step, (token_B, cache), first + jnp.arange(CHUNK))
  return token_B, jax.reshard(new_CB, spec(None, None)), cache


class Sampler:
  """Answers prompts in batches."""

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
    seed: int, on_batch: Callable[[int, int, float], Any] | None = None,
  ) -> Iterator[Answer]:  # fmt: skip
    """Answers every prompt, the longest first.

    Args:
      prompts: (id, token ids) each; the ids are unique.
      batch_size: prompts at a time, rounded up to equally many for each device; see batches.fitting_batch_size.
      temperature: 0 takes the likeliest token.
      top_p: a token is drawn from the likeliest that have this probability together.
      max_new_tokens: where an answer ends at the latest.
      seed: of the noise.
      on_batch: called after each batch with the number of its answers and new tokens, and its seconds.

    Returns:
      An iterator of (id, new ids, 'stop' or 'length'); the ids end with an end token where the reason is 'stop'.

    Raises:
      InputError: a number makes no sense, or a prompt is too long for the model.
    """
    check_numbers(temperature, top_p, max_new_tokens)
    check_prompts(prompts, self._cfg, max_new_tokens)
    numbers = np.float32(temperature), np.float32(top_p)
    num_rows, rule = rows_on(self._mesh, batch_size), Rule(temperature == 0, top_p < 1)
    return self._answers(prompts, num_rows, numbers, rule, max_new_tokens, seed, on_batch)

  def _answers(self, prompts, num_rows, numbers, rule, max_new_tokens, seed, on_batch):
    for length, piece in batches(prompts, num_rows):
      began = time.perf_counter()
      new_BT = self._batch(piece, num_rows, length, numbers, rule, max_new_tokens, seed)
      answers = [(name, *self._cut(row)) for (name, _), row in zip(piece, new_BT)]
      yield from answers
      if on_batch is not None:
        on_batch(len(answers), sum(len(ids) for _, ids, _ in answers), time.perf_counter() - began)

  def _batch(self, prompts, num_rows, length, numbers, rule, max_new_tokens, seed) -> np.ndarray:
    """Returns new tokens int32 [len(prompts), at most max_new_tokens]; what follows an end token means nothing."""
    rows = {
      'tokens': np.zeros((num_rows, length), np.int32),
      'lengths': np.ones(num_rows, np.int32),
      'keys': np.zeros((num_rows, 2), np.uint32),
    }
    for row, (name, ids) in enumerate(prompts):
      rows['tokens'][row, : len(ids)], rows['lengths'][row] = ids, len(ids)
      rows['keys'][row] = row_key(seed, name)
    cfg, num_chunks = self._cfg, -(-(max_new_tokens - 1) // CHUNK)
    with jax.set_mesh(self._mesh):
      batch = place_batch(self._mesh, rows)
      num_slots = length + num_chunks * CHUNK
      token, first, cache = prefill(self._weights, batch, *numbers, cfg=cfg, rule=rule, num_slots=num_slots)
      new = [np.asarray(first)[None, : len(prompts)]]
      ended = np.isin(new[0], self._ends).any(axis=0)
      for chunk in range(num_chunks):
        if ended.all():
          break
        index = np.int32(chunk * CHUNK)
        token, grown, cache = extend(self._weights, cache, token, batch, index, *numbers, cfg=cfg, rule=rule)
        new.append(np.asarray(grown)[:, : len(prompts)])
        ended |= np.isin(new[-1], self._ends).any(axis=0)
    return np.concatenate(new)[:max_new_tokens].T

  def _cut(self, new_T: np.ndarray) -> tuple[list[int], str]:
    ends = np.flatnonzero(np.isin(new_T, self._ends))
    return (new_T[: ends[0] + 1].tolist(), 'stop') if len(ends) else (new_T.tolist(), 'length')


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
