"""What `make minimix` costs: 350 training steps of the toy model, then 15 cells of 50 questions, 3 answers each.

Ordinary commands, each timed as a whole: start, compiling (the cache of programs is empty at first) and checkpoint are
in it. A seed's main experiment is computed from them: 1,100 + 3 x 300 steps and four times 800 questions.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lines
from lines import Line

STEPS = 350


def _seconds(out: Path, module: str, *flags: str) -> float:
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'XDG_CACHE_HOME': str(out / 'cache')}
  start = time.perf_counter()
  subprocess.run([sys.executable, '-m', module, *flags], env=environment, check=True, capture_output=True)
  return time.perf_counter() - start


def _evaluate(out: Path, name: str) -> float:
  """Seconds to sample and to mark."""
  sampling = _seconds(
    out, 'evals.sample', '--config=configs/eval_minimix.py', f'--config.catalog={out / "world" / "catalog"}',
    '--config.num_combinations=50', f'--run={out / name}', f'--student=checkpoint:{out / "model"}', '--dtype=float32',
  )  # fmt: skip
  return sampling + _seconds(out, 'evals.grade', f'--run={out / name}', '--grader=exact')


def measure() -> Iterator[Line]:
  """Lines of the table. The model is trained from random weights: its answers end as those of a fine-tuned one do."""
  with tempfile.TemporaryDirectory() as folder:
    out = Path(folder)
    world = out / 'world'
    _seconds(out, 'evals.minimix', f'--out={world}')
    dialogs = ','.join(f'{world}/dialogs/d{k}.jsonl,{world}/base/mix{k}.jsonl' for k in (1, 2, 3))
    _seconds(
      out, 'skillmix_jax.prepare', f'--dialogs={dialogs}', f'--text={world}/base/text.jsonl',
      f'--tokenizer={world}/tokenizer', '--template=mistral', '--length=192', f'--out={out / "data"}',
    )  # fmt: skip
    training = _seconds(
      out, 'skillmix_jax.train', '--config=configs/minimix.py:base', f'--config.data.path={out / "data"}',
      f'--config.steps={STEPS}', '--config.held_out.rows=0', f'--workdir={out / "model"}',
    )  # fmt: skip
    first, second = (_evaluate(out, f'eval{number}') for number in (1, 2))
  seed = (1100 + 3 * 300) / STEPS * training + 800 / (15 * 50) * (first + 3 * second)
  yield Line(f'toy world: {STEPS} training steps, with start, compiling and checkpoint', training, 's', aim='<= 55')
  what = 'toy world: 15 cells x 50 x 3 answers in two rounds, marked'
  yield Line(f'{what}, the first model', first, 's', aim='<= 16', note='compiles')
  yield Line(f'{what}, the next one', second, 's', aim='<= 16', note='programs from the cache')
  yield Line("toy world: a seed's main experiment, at most", seed / 60, 'minutes', aim='<= 15')


if __name__ == '__main__':
  lines.main(measure)
