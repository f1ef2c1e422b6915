"""How cost grows: CPU seconds and peak memory over two decades of size, and the slope of each curve.

    PYTHONPATH=. python benchmarks/growth.py --svg=docs/results/growth.svg
    PYTHONPATH=. python benchmarks/growth.py --only=prepare,ledger

Everything that is measured runs in a process of its own, and what it needs is made by another one before. CPU seconds
are those of all its threads; they hardly depend on what else the machine does. Training is not run: the compiler says
what a step needs. A slope is that of the last decade, in which starting no longer counts for much: 1 is proportional,
2 is quadratic.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lines
from lines import Line

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{ROOT}:{ROOT / "benchmarks"}:{ROOT / "tests"}'}
ALLOWED = 1.1  # a steeper slope is a defect
DECADES = (10, 100, 1_000)


@dataclasses.dataclass(frozen=True)
class Curve:
  """`prepare(folder, size)` makes what is needed; `command(folder, size)` is what is measured, after 'python'.

  Where `counted`, the command prints {'seconds', 'bytes'} itself: of another program, which it only compiles.
  """

  name: str
  title: str
  sizes: tuple[int, ...]
  command: Callable[[Path, int], list[str]]
  prepare: Callable[[Path, int], None] = lambda folder, size: None
  counted: str = ''


def run(*arguments: str) -> tuple[float, float, str]:
  """(CPU seconds, peak MiB, what was printed) of a process. This one imports little: a child starts with its peak."""
  with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=out, stderr=err)
    _, status, usage = os.wait4(process.pid, 0)
    out.seek(0)
    err.seek(0)
    if status:
      raise SystemExit(f'{" ".join(arguments)} failed:\n{err.read().decode()[-2000:]}')
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read().decode()


def here(function: str, *arguments: str | int | Path) -> list[str]:
  """Calls a function of this file in another process."""
  return ['-c', f'import growth; growth.{function}{tuple(map(str, arguments))!r}']


# What the other processes do


def write_ledger(folder: str, count: str):
  import ledger_speed

  ledger_speed.NUM_REPLIES = int(count)
  ledger_speed.write_large(Path(folder) / 'replies')


def read_ledger(folder: str):
  from evals.replies.ledger import Ledger

  Ledger(Path(folder) / 'replies')


def ask(concurrency: str):
  import ledger_speed

  ledger_speed.asking(0.02, int(concurrency), 2_000)


def write_run(folder: str, texts: str):
  from helpers.graded_runs import make

  say = lambda combination: f'{combination.topic} sings, {combination.id} of stones. ' * 3
  make(Path(folder) / 'run', ks=(3,), num_combinations=int(texts), say=say)


def count_step(rows: str, layers: str):
  """Prints the matrix FLOPs of a training step as seconds at 1 GFLOP/s, and what it keeps beside its arguments."""
  import jax
  import program

  from skillmix_jax.loss import Loss
  from skillmix_jax.mesh import make_mesh
  from skillmix_jax.models.config import Config

  cfg = Config('llama', 4_096, 512, 256, int(layers), 4, 4, 64, 768)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced = program.traced_step(cfg, int(rows), 128, Loss(chunks=1))
    memory = traced.lower().compile().memory_analysis()
  total = memory.temp_size_in_bytes + memory.argument_size_in_bytes
  print(json.dumps({'seconds': program.matmul_flops(traced.jaxpr) / 1e9, 'bytes': total}))


# What is needed before


def make_dialogs(folder: Path, size: int):
  run('examples/make_data.py', f'--out={folder / "raw"}', f'--dialogs={size}', '--pages=100')


def make_model(folder: Path, size: int):
  """Weights that never end an answer: those of one step, asked for the likeliest token."""
  if (folder / 'model').exists():
    return
  make_dialogs(folder, 450)
  run(*prepare_command(folder, size))
  run(
    '-m', 'skillmix_jax.train', '--config=configs/tiny.py', f'--config.data.path={folder / "data"}',
    '--config.steps=1', '--config.held_out.rows=0', '--config.model.max_positions=2048',
    f'--workdir={folder / "model"}',
  )  # fmt: skip


def make_prompts(folder: Path, size: int):
  make_model(folder, size)
  prompts = ({'id': f'{i}', 'messages': [{'role': 'user', 'content': f'Write about {i}.'}]} for i in range(size))
  (folder / 'prompts.jsonl').write_text(''.join(json.dumps(prompt) + '\n' for prompt in prompts))


def prepare_command(folder: Path, size: int) -> list[str]:
  return [
    '-m', 'skillmix_jax.prepare', f'--dialogs={folder / "raw" / "dialogs.jsonl"}',
    f'--wet={folder / "raw"}/*.warc.wet.gz', f'--tokenizer={folder / "raw" / "tokenizer"}', '--template=mistral',
    '--length=512', f'--out={folder / "data"}',
  ]  # fmt: skip


def sample_command(folder: Path, tokens: int) -> list[str]:
  return [
    '-m', 'skillmix_jax.sample', f'--checkpoint={folder / "model"}', f'--prompts={folder / "prompts.jsonl"}',
    f'--answers={folder / f"answers-{tokens}.jsonl"}', '--temperature=0', f'--max_new_tokens={tokens}',
    '--dtype=float32', '--batch_size=8',
  ]  # fmt: skip


STEP = 'a step: GFLOP, bytes by the compiler'
CURVES = (
  Curve('prepare', 'prepare: dialogs', (100, 1_000, 10_000), prepare_command, make_dialogs),
  Curve('rows', 'a training step: rows', (2, 20, 200), lambda folder, size: here('count_step', size, 2), counted=STEP),
  Curve(
    'layers', 'a training step: layers', (1, 10, 100), lambda folder, size: here('count_step', 2, size), counted=STEP
  ),
  Curve(
    'prompts', 'sample: prompts, 64 tokens each', DECADES, lambda folder, size: sample_command(folder, 64), make_prompts
  ),
  Curve(
    'length', 'sample: tokens of an answer, 8 prompts', (19, 190, 1_900), sample_command,
    lambda folder, size: make_prompts(folder, 8),
  ),
  Curve('flight', 'evals: requests in flight, 2,000 in all', (1, 10, 100), lambda folder, size: here('ask', size)),
  Curve(
    'ledger', 'evals: replies stored', (1_000, 10_000, 100_000), lambda folder, size: here('read_ledger', folder),
    lambda folder, size: run(*here('write_ledger', folder, size)) and None,
  ),
  Curve(
    'page', 'report: texts', (100, 1_000, 10_000),
    lambda folder, size: ['-m', 'evals.report', f'--runs={folder / "run"}', f'--out={folder / "page.html"}'],
    lambda folder, size: run(*here('write_run', folder, size)) and None,
  ),
)  # fmt: skip


def points(curve: Curve) -> list[tuple[int, float, float]]:
  """(size, CPU seconds, MiB) of every size; of a step GFLOP instead of seconds."""
  measured = []
  for size in curve.sizes:
    with tempfile.TemporaryDirectory() as name:
      folder = Path(name)
      curve.prepare(folder, size)
      seconds, peak, printed = run(*curve.command(folder, size))
    if curve.counted:
      counts = json.loads(printed)
      seconds, peak = counts['seconds'], counts['bytes'] / 2**20
    measured.append((size, seconds, peak))
    print(f'{curve.title} {size:,}: {seconds:.2f}, {peak:,.0f} MiB', file=sys.stderr, flush=True)
  return measured


def slope(measured: list[tuple[int, float, float]], column: int) -> float:
  """Of the last decade, on logarithmic axes."""
  (n, *before), (m, *after) = measured[-2:]
  return math.log(after[column] / before[column]) / math.log(m / n)


def draw(results: dict[str, list[tuple[int, float, float]]], path: str):
  """A panel for each curve: seconds and memory against size, both axes logarithmic."""
  import matplotlib

  matplotlib.rcParams |= {'svg.hashsalt': 'growth', 'svg.fonttype': 'none', 'font.size': 8}
  from matplotlib.figure import Figure

  figure = Figure(figsize=(10, 5.2), layout='constrained')
  for curve, axes in zip(CURVES, figure.subplots(2, 4).flat):
    sizes, seconds, memory = zip(*results[curve.name])
    axes.loglog(sizes, seconds, 'o-', color='#0b6e99', label='GFLOP' if curve.counted else 'CPU seconds')
    axes.loglog(sizes, memory, 's--', color='#b3541e', label='MiB')
    axes.set_title(curve.title, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
  figure.savefig(path, metadata={'Date': None})


def steepest(measured: list[tuple[int, float, float]]) -> float:
  """The larger slope of CPU seconds and memory."""
  return max(slope(measured, 0), slope(measured, 1))


def measure() -> Iterator[Line]:
  slopes = {curve.title: steepest(points(curve)) for curve in CURVES}
  name = max(slopes, key=lambda title: slopes[title])
  yield Line(f'steepest slope of {len(CURVES)} curves of cost', slopes[name], '', aim=f'<= {ALLOWED}', note=name)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', help='names of curves: ' + ', '.join(curve.name for curve in CURVES))
  parser.add_argument('--svg', help='file for the figure; needs all curves')
  parser.add_argument('--json', action='store_true', help='print the steepest slope alone, as a line for run.py')
  args = parser.parse_args()
  if args.json:
    return lines.main(measure)
  names = args.only.split(',') if args.only else [curve.name for curve in CURVES]
  results = {curve.name: points(curve) for curve in CURVES if curve.name in names}
  print('| what grows | sizes | CPU seconds | slope | MiB | slope |\n|---|---|---|---|---|---|')
  for curve in CURVES:
    if curve.name in results:
      measured = results[curve.name]
      cost, memory = (', '.join(f'{point[column]:,.3g}' for point in measured) for column in (1, 2))
      sizes = ', '.join(f'{size:,}' for size, *_ in measured)
      slopes = [slope(measured, column) for column in (0, 1)]
      unit = ' GFLOP' if curve.counted else ''
      print(f'| {curve.title} | {sizes} | {cost}{unit} | {slopes[0]:.2f} | {memory} | {slopes[1]:.2f} |')
  if args.svg and len(results) == len(CURVES):
    draw(results, args.svg)
  steep = [name for name, measured in results.items() if steepest(measured) > ALLOWED]
  if steep:
    raise SystemExit(f'steeper than {ALLOWED}: {", ".join(steep)}')


if __name__ == '__main__':
  main()
