"""What a token costs: milliseconds for one more token of all rows; on a GPU against what its memory allows.

    python -m benchmarks.decode_cost            # 7B and 13B shapes, random weights in bfloat16: one GPU with 80 GB
    python -m benchmarks.decode_cost --small    # a small model on anything: does this file work?

A token reads every weight but the table of embeddings once, and every key and value of the cache.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax import memory
from skillmix_jax.batches import CHUNK, cache_bytes, weight_bytes
from skillmix_jax.decode import Rule, Sampler, extend
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder
from skillmix_jax.models.cached import empty_cache
from skillmix_jax.models.config import Config

PROMPT = 256
CALLS = 7
SHAPES = {
  '7B': Config('mistral', 32_000, 1024, 4096, 32, 32, 8, 128, 14_336),
  '13B': Config('llama', 32_000, 1024, 5120, 40, 40, 40, 128, 13_824),
}
SMALL = {'small': Config('mistral', 320, 1024, 256, 2, 4, 2, 64, 512)}
BANDWIDTH = {'A100': 2.0e12, 'H100': 3.35e12, 'H200': 4.8e12}  # bytes/s of the SXM boards, NVIDIA's data sheets


def milliseconds(sampler: Sampler, cfg: Config, rows: int, length: int) -> float:
  """Times one more token of all rows after `length` others, of zeros; the median of the calls, without the first."""
  rule, numbers = Rule(greedy=True, nucleus=False), (np.float32(0), np.float32(1))
  zeros = np.zeros(rows, np.int32)
  state = {'token': zeros, 'index': zeros, 'lengths': zeros + length, 'keys': np.zeros((rows, 2), np.uint32)}
  seconds = []
  cache = empty_cache(cfg, sampler._mesh, rows, length + CALLS * CHUNK)
  with jax.set_mesh(sampler._mesh):
    for chunk in range(CALLS):
      start = time.perf_counter()
      batch = place_batch(sampler._mesh, state | {'index': zeros + chunk * CHUNK})
      new, cache = extend(sampler._weights, cache, batch, *numbers, cfg=cfg, rule=rule)
      new.block_until_ready()
      seconds.append(time.perf_counter() - start)
  return 1000 * statistics.median(seconds[1:]) / CHUNK  # the first call compiles


def bound(cfg: Config, rows: int, slots: int, bandwidth: float) -> float:
  """Milliseconds that reading weights and cache takes."""
  table = 0 if cfg.tie_embeddings else cfg.vocab_size * cfg.dim * jnp.dtype(cfg.dtype).itemsize
  return 1000 * (weight_bytes(cfg) - table + rows * cache_bytes(cfg, slots)) / bandwidth


def main(small: bool):
  memory.claim()
  kind = jax.devices()[0].device_kind
  bandwidth = next((value for name, value in BANDWIDTH.items() if name in kind), None)
  print(f'{kind}, jax {jax.__version__}, prompts of {PROMPT}', flush=True)
  mesh = make_mesh(1, 1, 1)
  for name, cfg in (SMALL if small else SHAPES).items():
    with jax.set_mesh(mesh):
      sampler = Sampler(decoder.init(cfg, 0), cfg, mesh, eos_id=-1, consume=True)
    for rows in (1, 64, 256):
      try:
        ours = milliseconds(sampler, cfg, rows, PROMPT)
      except jax.errors.JaxRuntimeError as error:
        print(f'{name}, {rows} rows: {str(error).splitlines()[0][:100]}', flush=True)
        continue
      share = f', {bound(cfg, rows, PROMPT + CALLS * CHUNK, bandwidth) / ours:.0%} of the bound' if bandwidth else ''
      print(f'{name}, {rows} rows: {ours:.2f} ms a token, {1000 * rows / ours:,.0f} tokens/s{share}', flush=True)
    del sampler


if __name__ == '__main__':
  main(small='--small' in sys.argv[1:])
