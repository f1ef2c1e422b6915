"""Decoding tokens/s against transformers' generate, and what a longer cache costs.

Float32, greedy, the same shapes, the same threads, taken in turns.
"""

import time
from collections.abc import Iterator
from functools import partial

import decode_cost
import jax
import lines
import numpy as np
import torch
from lines import Line
from shapes import LLAMA, SHAPES, their_model
from turns import in_turns

from skillmix_jax.decode import Sampler
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config

PROMPT, NEW = 64, 65
AIMS = {8: '>= 2.5 x', 32: '>= 1.9 x'}  # by rows


def make_prompts(cfg: Config, rows: int) -> np.ndarray:
  """Random tokens [rows, PROMPT]."""
  return np.random.default_rng(0).integers(0, cfg.vocab_size, (rows, PROMPT))


def our_sampler(cfg: Config) -> Sampler:
  """Random weights; no token ends an answer."""
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    params = decoder.init(cfg, 0)
  return Sampler(params, cfg, mesh, eos_id=-1)


def our_seconds(sampler: Sampler, prompts: np.ndarray, new: int = NEW) -> float:
  """Seconds for all answers."""
  named = [(str(i), row.tolist()) for i, row in enumerate(prompts)]
  start = time.perf_counter()
  answers = list(
    sampler.sample(named, batch_size=min(32, len(named)), temperature=0, top_p=1, max_new_tokens=new, seed=0)
  )
  seconds = time.perf_counter() - start
  assert sum(len(ids) for _, ids, _ in answers) == len(prompts) * new
  return seconds


def their_seconds(model, prompts: np.ndarray) -> float:
  """Seconds for all answers, as one batch."""
  ids = torch.from_numpy(prompts)
  start = time.perf_counter()
  with torch.inference_mode():
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW, pad_token_id=0)
  assert out.shape == (len(prompts), PROMPT + NEW)
  return time.perf_counter() - start


def cost_of_length(lengths: tuple[int, ...] = (256, 512, 1024, 2048), rows: int = 8) -> dict[int, float]:
  """Measures milliseconds for one more token of all rows, after prompts of these lengths."""
  sampler = our_sampler(LLAMA)
  return {length: decode_cost.milliseconds(sampler, LLAMA, rows, length) for length in lengths}


def measure() -> Iterator[Line]:
  for name, cfg in SHAPES.items():
    sampler, model = our_sampler(cfg), their_model(cfg).eval()
    for rows, aim in AIMS.items():
      prompts = make_prompts(cfg, rows)
      ours, theirs, ratio = in_turns(partial(our_seconds, sampler, prompts), partial(their_seconds, model, prompts), 5)
      what = f'decoding, {name}, {cfg.num_params / 1e6:.0f} M weights, {rows} rows, prompts of {PROMPT}, float32'
      tokens = rows * NEW
      yield Line(what, tokens / ours, 'tokens/s', "transformers' `generate`", tokens / theirs, ratio, aim)
  for length, milliseconds in cost_of_length().items():
    yield Line(f'one more token of 8 rows after prompts of {length:,}', milliseconds, 'ms')


if __name__ == '__main__':
  lines.main(measure)
