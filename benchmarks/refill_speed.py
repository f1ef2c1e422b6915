"""Answers of different lengths: tokens/s with refill, without it, and of transformers' generate in equal batches.

The lengths are drawn: every token ends its answer with probability 1/150, and none has more than 512. Without refill,
and with generate, a batch runs until its longest answer has ended. Float32, the same threads, the same lengths.
"""

import math
import time
from collections.abc import Iterator

import decode_speed
import jax
import lines
import numpy as np
import torch
import transformers
from lines import Line
from shapes import LLAMA, their_model

from skillmix_jax import decode
from skillmix_jax.batches import CHUNK
from skillmix_jax.decode import Sampler
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder

ROWS, PROMPTS, MEAN, LONGEST, END = 16, 128, 150, 512, 2


def our_sampler() -> Sampler:
  """Weights of which the first dim of the stream is constant, and gives END its probability."""
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    params = decoder.init(LLAMA, 0)
    logit = math.log((LLAMA.vocab_size - 1) / (MEAN - 1)) / LLAMA.dim**0.5
    embed, unembed = np.array(params.embed[...]), np.array(params.unembed[...]) / 100
    embed[:, 0], unembed[0], unembed[0, END] = 100, 0, logit
    params.embed[...] = jax.device_put(embed, params.embed[...].sharding)
    params.unembed[...] = jax.device_put(unembed, params.unembed[...].sharding)
  return Sampler(params, LLAMA, mesh, eos_id=END)


def our_seconds(sampler: Sampler, prompts: np.ndarray, group: int) -> tuple[float, dict[str, int]]:
  """Seconds for all answers, asked for `group` at a time, and how long each is."""
  named = [(str(i), row.tolist()) for i, row in enumerate(prompts)]
  lengths = {}
  start = time.perf_counter()
  for first in range(0, len(named), group):
    answers = sampler.sample(
      named[first : first + group], batch_size=ROWS, temperature=1, top_p=1, max_new_tokens=LONGEST, seed=0
    )
    lengths |= {name: len(ids) for name, ids, _ in answers}
  return time.perf_counter() - start, lengths


class Ends(transformers.StoppingCriteria):
  """Ends each row of a batch at a length of its own."""

  def __init__(self, lengths: list[int]):
    self._lengths = torch.tensor(lengths) + decode_speed.PROMPT

  def __call__(self, input_ids, scores, **_):
    return self._lengths <= input_ids.shape[1]


def their_seconds(model, prompts: np.ndarray, lengths: list[int]) -> float:
  """Seconds for all answers, drawn in batches of ROWS."""
  start = time.perf_counter()
  with torch.inference_mode():
    for first in range(0, len(prompts), ROWS):
      ids, ends = torch.from_numpy(prompts[first : first + ROWS]), lengths[first : first + ROWS]
      out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=LONGEST, pad_token_id=0,
        stopping_criteria=[Ends(ends)], top_k=0,
      )  # fmt: skip
      assert out.shape == (len(ids), decode_speed.PROMPT + max(ends))
  return time.perf_counter() - start


def measure() -> Iterator[Line]:
  sampler, model, calls = our_sampler(), their_model(LLAMA).eval(), []
  extend = decode.extend

  def counted(*arguments, **options):
    calls.append(1)
    return extend(*arguments, **options)

  prompts = decode_speed.make_prompts(LLAMA, PROMPTS)
  our_seconds(sampler, prompts[:1], group=1)  # compiles
  decode.extend = counted
  refilled, lengths = our_seconds(sampler, prompts, group=PROMPTS)
  tokens = sum(lengths.values())
  # The first token of each answer comes with its prompt.
  used = (tokens - PROMPTS) / (len(calls) * CHUNK * ROWS)
  calls.clear()
  batched, same = our_seconds(sampler, prompts, group=ROWS)
  assert same == lengths
  used_of_batches = (tokens - PROMPTS) / (len(calls) * CHUNK * ROWS)
  decode.extend = extend
  theirs = their_seconds(model, prompts, [lengths[str(i)] for i in range(PROMPTS)])
  what = f'{PROMPTS} answers of {tokens / PROMPTS:.0f} tokens on average, {ROWS} rows, refill'
  rate, slots = tokens / refilled, lambda share: f'{share:.0%} of the decoded slots used'
  yield Line(
    what, rate, 'tokens/s', "transformers' `generate`", tokens / theirs, theirs / refilled, '>= 3 x', slots(used)
  )
  yield Line(
    f'{what} and without', rate, 'tokens/s', 'a batch at a time', tokens / batched, batched / refilled, '>= 1.5 x',
    slots(used_of_batches),
  )  # fmt: skip


if __name__ == '__main__':
  lines.main(measure)
