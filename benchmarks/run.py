"""The speed tables of docs/results/performance.md, printed from one run: `make bench`.

Each number stands beside what it is compared with. Machines differ and are shared: read ratios, not seconds.
"""

import json
import math
import os
import random
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import decode_speed
import first_answer
import jax
import ledger_speed
import minimix_speed
import mistral_common
import refill_speed
import train_speed
from jax.extend.core import jaxprs_in_params
from rich.console import Console
from rich.table import Table
from shapes import SHAPES

from examples.make_data import make_dialog
from skillmix_jax.data.mixture import Mixture, iterate
from skillmix_jax.data.records import open_data
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.prepare import prepare
from skillmix_jax.step import State, train_step

TOKENIZER = Path(mistral_common.__file__).parent / 'data' / 'tokenizer.model.v1'
SOURCES = str(Path(os.__file__).parent / '*.py')


def input_speed(folder: Path) -> list[tuple[str, str, str]]:
  """`prepare` on the standard library's sources, then batches of 64 dialogs + 16 text rows x 1024."""
  dialogs = folder / 'dialogs.jsonl'
  rng = random.Random(0)
  dialogs.write_text(''.join(json.dumps(make_dialog(rng, i)) + '\n' for i in range(2000)))
  start = time.perf_counter()
  manifest = prepare(
    out=folder / 'data', tokenizer_path=TOKENIZER, template='mistral', dialogs=[str(dialogs)], code=SOURCES
  )
  seconds = time.perf_counter() - start
  tokens = sum(source['tokens'] for source in manifest['sources'].values())
  mixture = Mixture(open_data(folder / 'data'), seed=0, dialogs=64, text_rows=16)
  rates = []
  for _ in range(5):
    start = time.perf_counter()
    positions = sum(batch['tokens'].size for _, batch in iterate(mixture, 0, 60))
    rates.append(positions / (time.perf_counter() - start))
  return [
    ('prepare (Mistral tokenizer, 2,000 dialogs + sources)', f'{tokens / seconds / 1e6:.2f} M tokens/s', ''),
    ('batches, prepared data', f'{statistics.median(rates) / 1e6:.1f} M positions/s', 'aim 5 M'),
  ]


def traced_step(cfg: Config, rows: int, length: int, loss: Loss):
  """The training step of a config, traced on abstract arrays."""
  tx = Optimizer().transform(10)
  params = decoder.abstract(cfg)
  state = State(params, jax.eval_shape(jax.jit(tx.init), params))
  ints = jax.ShapeDtypeStruct((rows, length), 'int32')
  batch = dict.fromkeys(('tokens', 'targets', 'positions', 'segments'), ints)
  batch |= {'weights': jax.ShapeDtypeStruct((rows, length), 'float32'), 'is_text': jax.ShapeDtypeStruct((rows,), bool)}
  step = partial(train_step, tx=tx, loss=loss, accumulation=1, packed=False)
  return jax.jit(step, donate_argnums=0).trace(state, batch)


def compile_time() -> tuple[str, str, str]:
  """Tracing, lowering and compiling the step of 40 layers at toy width, without a cache."""
  cfg = Config('llama', 512, 128, 64, 40, 4, 2, 16, 192)
  start = time.perf_counter()
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced_step(cfg, 8, 128, Loss(chunks=8)).lower().compile()
  return ('compiling the step of 40 layers', f'{time.perf_counter() - start:.1f} s', 'aim 10 s')


def matmul_flops(jaxpr) -> int:
  """FLOPs of all matrix products of a traced program, those of loops times the length of the loop."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
      total += 2 * math.prod(out) * math.prod(left[i] for i in contracted)
    times = equation.params['length'] if equation.primitive.name == 'scan' else 1
    total += times * sum(matmul_flops(inner) for inner in jaxprs_in_params(equation.params))
  return total


def flops() -> list[tuple[str, str, str]]:
  """Work of a step against 8 N a token: 6 N, and 2 N for the recomputed forward pass; N without the lookup table.

  XLA's own count takes the body of a loop once, so it can only check ours where every loop has one turn.
  """
  small = Config('mistral', 4096, 1024, 512, 1, 4, 1, 128, 1792, dtype='float32')
  mistral = Config('mistral', 32_000, 1024, 4096, 32, 32, 8, 128, 14_336)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced = traced_step(small, 2, 1024, Loss(chunks=1))
    check = matmul_flops(traced.jaxpr) / traced.lower().compile().cost_analysis()['flops']
    ours = matmul_flops(traced_step(mistral, 32, 1024, Loss(chunks=8)).jaxpr)
  eight_n = 8 * (mistral.num_params - mistral.vocab_size * mistral.dim) * 32 * 1024
  return [
    ('matrix FLOPs of the Mistral-7B step / 8 N', f'{ours / eight_n:.2f}', 'aim at most 1.4'),
    ('the same count / XLA, one layer, one chunk', f'{check:.3f}', 'near 1'),
  ]


def decoding() -> list[tuple[str, str, str]]:
  """Sampling against transformers' generate, and the cost of a longer cache."""
  rows = [
    (
      f'decoding, {name}, {cfg.num_params / 1e6:.0f} M weights, {result["rows"]} rows, float32',
      f'{result["ours"]:.0f} tokens/s',
      f'transformers + torch {result["theirs"]:.0f} tokens/s: {result["ratio"]:.2f} x',
    )
    for name, cfg in SHAPES.items()
    for result in decode_speed.measure(cfg)
  ]
  times = decode_speed.cost_of_length()
  text = ', '.join(f'{length}: {milliseconds:.1f}' for length, milliseconds in times.items())
  return [*rows, ('ms for a token of 8 rows, by prompt length', text, '')]


def main():
  console = Console()
  table = Table('what', 'ours', 'against', title=f'{os.cpu_count()} cores, jax {jax.__version__}')
  for name, cfg in SHAPES.items():
    speed = train_speed.measure(cfg)
    table.add_row(
      f'training, {name}, {cfg.num_params / 1e6:.0f} M weights, {train_speed.B} x {train_speed.T}, float32',
      f'{speed["ours"]:.0f} tokens/s',
      f'transformers + torch {speed["torch"]:.0f} tokens/s: {speed["ratio"]:.2f} x',
    )
  with tempfile.TemporaryDirectory() as folder:
    for row in input_speed(Path(folder)):
      table.add_row(*row)
  sampling = (*decoding(), *refill_speed.measure(), *first_answer.measure())
  for row in (*sampling, compile_time(), *flops(), *ledger_speed.measure(), *minimix_speed.measure()):
    table.add_row(*row)
  console.print(table)


if __name__ == '__main__':
  main()
