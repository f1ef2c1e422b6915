"""For a machine with a GPU: a checklist of what a CPU cannot show, then Mistral-7B's training speed.

    python -m benchmarks.gpu            # the checklist, then 10 steps of 32 rows x 1024 from random weights
    python -m benchmarks.gpu --small    # the same on anything, with a model of 2 layers: does this file work?

Set XLA_PYTHON_CLIENT_MEM_FRACTION=.95 on one H200. Nothing of Mistral-7B is written to disk.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax.checkpoint import Checkpoints
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import initialize_distributed, make_mesh, place_batch
from skillmix_jax.metrics import peak_flops
from skillmix_jax.models import decoder
from skillmix_jax.models.attention import attend
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State, train_step

MISTRAL_7B = Config('mistral', 32_000, 1024, 4096, 32, 32, 8, 128, 14_336, rope_theta=1e6)
SMALL = Config('mistral', 320, 128, 256, 2, 4, 2, 64, 512)


def make_batch(rows: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
  """Random tokens, all of them trained; a quarter of the rows is text."""
  tokens = np.random.default_rng(0).integers(0, vocab_size, (rows, length)).astype(np.int32)
  return {
    'tokens': tokens,
    'targets': np.roll(tokens, -1, axis=1),
    'weights': np.ones((rows, length), np.float32),
    'positions': np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
    'segments': np.ones((rows, length), np.int32),
    'is_text': np.arange(rows) >= rows * 3 // 4,
  }


def compare_attention(fast: str):
  """Largest differences of `fast` from 'xla', forward and backward, relative to the largest value; bfloat16."""
  keys = jax.random.split(jax.random.key(0), 4)
  q, k, v, direction = (jax.random.normal(key, (4, 512, n, 128), jnp.bfloat16) for key, n in zip(keys, (8, 2, 2, 8)))
  segments = jnp.asarray(np.repeat([[1] * 200 + [2] * 312], 4, axis=0), jnp.int32)
  for name, given in (('one segment', None), ('packed', segments)):

    def total(q, k, v, implementation, given=given):
      out = attend(q, k, v, given, window=None, implementation=implementation)
      return (out.astype(jnp.float32) * direction).sum(), out

    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True), static_argnums=3)
    ours, expected = (jax.tree.leaves(gradient(q, k, v, impl)) for impl in (fast, 'xla'))
    worst = max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(ours, expected))
    print(f'{fast} attention against xla, {name}: {worst:.4f}', 'ok' if worst < 0.02 else 'FAILED', flush=True)


def make_step(cfg: Config):
  """(state, step) from random weights."""
  tx = Optimizer().transform(1000)
  params = decoder.init(cfg, 0)
  step = partial(train_step, tx=tx, loss=Loss(), accumulation=1, packed=False)
  return State(params, jax.jit(tx.init)(params)), jax.jit(step, donate_argnums=0)


def save_and_restore(cfg: Config, mesh):
  """Two steps, a checkpoint, and the same arrays back."""
  state, step = make_step(cfg)
  batch = place_batch(mesh, make_batch(8, 128, cfg.vocab_size))
  with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder), keep=1) as checkpoints:
    for _ in range(2):
      state, _ = step(state, batch)
    checkpoints.save(2, state)
    expected = jax.tree.map(np.asarray, state)
    step(state, batch)  # overwrites the arrays while they are being saved
    like = jax.eval_shape(lambda: make_step(cfg)[0])
    checkpoints.wait()
    restored = checkpoints.restore(2, like, mesh)
    same = all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored)))
  print('two steps, save, restore:', 'ok' if same else 'FAILED', flush=True)


def train_speed(cfg: Config, mesh, rows: int, steps: int = 10):
  """Tokens/s and MFU, medians over `steps` steps after two that are not counted."""
  state, step = make_step(cfg)
  batch = place_batch(mesh, make_batch(rows, cfg.max_positions, cfg.vocab_size))
  seconds = []
  for _ in range(steps + 2):
    start = time.perf_counter()
    state, metrics = step(state, batch)
    loss = float(metrics['loss'])
    seconds.append(time.perf_counter() - start)
  rate = rows * cfg.max_positions / statistics.median(seconds[2:])
  peak = peak_flops(jax.devices()[0].device_kind)
  causal = rate * cfg.train_flops_per_token(cfg.max_positions) / (mesh.size * peak) if peak else float('nan')
  by_6n = rate * 6 * cfg.num_params / (mesh.size * peak) if peak else float('nan')
  print(
    f'{cfg.num_params / 1e9:.2f} B weights, {rows} x {cfg.max_positions}, {cfg.attention}, {cfg.remat}: {rate:,.0f} '
    f'tokens/s, MFU {causal:.1%} (6 (N - lookup) + causal attention), {by_6n:.1%} (6 N); loss {loss:.3f}; first step '
    f'{seconds[0]:.0f} s', flush=True,
  )  # fmt: skip


def main(small: bool):
  initialize_distributed()
  mesh = make_mesh(1, -1, 1)
  fast = 'cudnn' if jax.default_backend() == 'gpu' else 'xla'
  print(f'{mesh.size} x {jax.devices()[0].device_kind}, jax {jax.__version__}', flush=True)
  with jax.set_mesh(mesh):
    compare_attention(fast)
    save_and_restore(dataclasses.replace(SMALL, attention=fast), mesh)
    cfg = SMALL if small else MISTRAL_7B
    train_speed(dataclasses.replace(cfg, attention=fast), mesh, rows=8 if small else 32)


if __name__ == '__main__':
  main(small='--small' in sys.argv[1:])
