"""For a machine with a GPU: a checklist of what a CPU cannot show, then Mistral-7B's training speed.

    python -m benchmarks.gpu            # the checklist, then 10 steps of 32 rows x 1024 from random weights
    python -m benchmarks.gpu --small    # the same on anything, with small models: does this file work?

The checklist saves as much of Mistral-7B's state (87 GB) as the machine takes in the current folder, and removes it.
"""

import dataclasses
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs import tiny
from evals.minimix.__main__ import write as write_world
from skillmix_jax.checkpoint import Checkpoints
from skillmix_jax.devices import peak_flops
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import initialize_distributed, make_mesh, place_batch
from skillmix_jax.metrics import read_rows
from skillmix_jax.models import decoder
from skillmix_jax.models.attention import attend
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.prepare import prepare
from skillmix_jax.step import State, train_step
from skillmix_jax.train import train

MISTRAL_7B = Config('mistral', 32_000, 1024, 4096, 32, 32, 8, 128, 14_336, rope_theta=1e6)
SMALL = Config('mistral', 320, 128, 256, 2, 4, 2, 64, 512)
WIDE = Config('mistral', 320, 128, 1024, 8, 8, 2, 128, 4096)  # 1.5 GB with its moments


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
  step = partial(train_step, tx=tx, loss=Loss(chunks=8), accumulation=1, packed=False)
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


def room(mesh) -> dict[str, float]:
  """Bytes that a state may take: of the disk here, of the host, to which a save copies it, and of the devices."""
  lines = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
  host = int(lines['MemAvailable'].split()[0]) * 1024
  stats = [device.memory_stats() or {} for device in mesh.devices.flat]
  on_devices = sum(each.get('bytes_limit', host / mesh.size) for each in stats)
  free = shutil.disk_usage('.').free
  if mesh.devices.flat[0].platform == 'cpu':  # devices and host share their memory
    return {'disk': 0.9 * free, 'host': 0.25 * host}
  return {'disk': 0.9 * free, 'host': 0.6 * host, 'devices': 0.8 * on_devices}


@jax.jit
def fingerprints(state: State):
  """Sums of the bits along each dim of each array: a value that changed, got lost or moved changes some of them."""

  def of(x):
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    return [bits.sum(axis=[other for other in range(x.ndim) if other != dim]) for dim in range(x.ndim)] or [bits]

  return jax.tree.map(of, state)


def save_and_restore_largest(cfg: Config, mesh):
  """The largest state of this width that the machine takes, up to all layers: seconds, and the same bits back."""
  rooms = room(mesh)
  least = min(rooms.values())
  sizes = {n: 12 * dataclasses.replace(cfg, num_layers=n).num_params for n in range(1, cfg.num_layers + 1)}
  text = ', '.join(f'{name} {size / 1e9:.1f} GB' for name, size in rooms.items())
  fitting = [n for n, size in sizes.items() if size <= least]
  if not fitting:
    print(f'save and restore: FAILED, a single layer takes {sizes[1] / 1e9:.1f} GB; room: {text}', flush=True)
    return
  cfg = dataclasses.replace(cfg, num_layers=fitting[-1])
  like = jax.eval_shape(lambda: make_step(cfg)[0])
  state, _ = make_step(cfg)
  expected = jax.device_get(fingerprints(state))
  with tempfile.TemporaryDirectory(dir='.') as folder, Checkpoints(Path(folder), keep=1) as checkpoints:
    start = time.perf_counter()
    checkpoints.save(1, state)
    blocked = time.perf_counter() - start
    checkpoints.wait()
    saved = time.perf_counter() - start
    del state
    start = time.perf_counter()
    restored = jax.block_until_ready(checkpoints.restore(1, like, mesh))
    read = time.perf_counter() - start
  same = all(map(np.array_equal, jax.tree.leaves(jax.device_get(fingerprints(restored))), jax.tree.leaves(expected)))
  size = sizes[cfg.num_layers] / 1e9
  print(
    f'save and restore {size:.2f} GB ({cfg.num_layers} layers; room: {text}): training waits {blocked:.1f} s, saved in '
    f'{saved:.1f} s ({size / saved:.2f} GB/s), restored in {read:.1f} s: {"ok" if same else "FAILED"}', flush=True,
  )  # fmt: skip


def train_tiny(folder: Path):
  """configs/tiny.py, which is float32, on dialogs of the toy world: the command itself, with attention=auto."""
  world, data, run = (folder / name for name in ('world', 'data', 'run'))
  write_world(world, seed=0, num_dialogs=500, num_texts=100, pairs=0.15, share=0.05)
  dialogs = [str(world / 'dialogs' / f'd{k}.jsonl') for k in (1, 2, 3)]
  prepare(
    out=data, tokenizer_path=world / 'tokenizer', template='mistral', length=192, dialogs=dialogs,
    text=[str(world / 'base' / 'text.jsonl')], held_out=0.1,
  )  # fmt: skip
  config = tiny.get_config()
  config.data.path, config.steps = str(data), 20
  code = train(config, run)
  losses = [row['loss'] for row in read_rows(run / 'metrics.jsonl') if 'loss' in row]
  well = code == 0 and losses[-1] < losses[0]
  print(f'tiny in float32, 20 steps: loss {losses[0]:.2f} -> {losses[-1]:.2f}', 'ok' if well else 'FAILED', flush=True)


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
    save_and_restore_largest(WIDE if small else MISTRAL_7B, mesh)
  with tempfile.TemporaryDirectory() as folder:  # train keeps its compile cache there, which the rest uses too
    train_tiny(Path(folder))
    cfg = SMALL if small else MISTRAL_7B
    with jax.set_mesh(mesh):
      train_speed(dataclasses.replace(cfg, attention=fast), mesh, rows=8 if small else 32)


if __name__ == '__main__':
  main(small='--small' in sys.argv[1:])
