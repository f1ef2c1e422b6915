"""Seconds from the start of `sample` to its first answer, with an empty compile cache and with that of the first start.

    PYTHONPATH=. python benchmarks/first_answer.py

A process of its own each time; the checkpoint has 52 M weights, the prompt about 20 tokens, the answer 17.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lines
from lines import Line

STARTED, ROOT = 'BENCHMARK_STARTED', Path(__file__).parent.parent
PROMPT = {'id': 'a', 'messages': [{'role': 'user', 'content': 'Write one sentence about the sea and the wind in it.'}]}


def write_checkpoint(folder: Path) -> Path:
  """Random weights with Mistral's first tokenizer."""
  import mistral_common
  from shapes import LLAMA, their_model

  from skillmix_jax.convert import from_hf

  export, checkpoint = folder / 'export', folder / 'checkpoint'
  their_model(LLAMA).save_pretrained(export)
  tokenizer = Path(mistral_common.__file__).parent / 'data' / 'tokenizer.model.v1'
  (export / 'tokenizer.model').write_bytes(tokenizer.read_bytes())
  from_hf(str(export), checkpoint, template='mistral')
  return checkpoint


def seconds_inside(checkpoint: str) -> dict[str, float]:
  """Answers as the command does; what each part took, since the process was started."""
  compiling = {'trace': 0.0, 'compile': 0.0}
  times = [float(os.environ[STARTED])]
  lap = lambda: times.append(time.time())
  from skillmix_jax.answering import Model

  lap()
  import jax

  def listen(event: str, seconds: float, **_):
    if event in ('/jax/core/compile/jaxpr_trace_duration', '/jax/core/compile/jaxpr_to_mlir_module_duration'):
      compiling['trace'] += seconds
    elif event == '/jax/core/compile/backend_compile_duration':
      compiling['compile'] += seconds

  jax.monitoring.register_event_duration_secs_listener(listen)
  model = Model(checkpoint)
  lap()
  model.load()
  lap()
  next(iter(model.sample_dialogs([PROMPT], temperature=0.7, max_new_tokens=17)))
  lap()
  parts = {name: end - start for name, start, end in zip(('imports', 'open', 'weights', 'answer'), times, times[1:])}
  return {'total': times[-1] - times[0], 'CPU': time.process_time(), **parts, **compiling}


def measure_start(checkpoint: Path, cache: Path) -> dict[str, float]:
  """Starts a process and returns its `seconds_inside`."""
  environment = os.environ | {STARTED: str(time.time()), 'JAX_PLATFORMS': 'cpu', 'XDG_CACHE_HOME': str(cache)}
  environment['PYTHONPATH'] = str(ROOT)
  command = [sys.executable, __file__, str(checkpoint)]
  done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def measure() -> Iterator[Line]:
  with tempfile.TemporaryDirectory() as folder:
    checkpoint, cache = write_checkpoint(Path(folder)), Path(folder) / 'cache'
    first, second = (measure_start(checkpoint, cache) for _ in range(2))
  total, parts = second.pop('total'), ', '.join(f'{name} {seconds:.1f}' for name, seconds in second.items())
  ratio = first['total'] / total
  yield Line('first answer of `sample`, second start', total, 's', 'first start', first['total'], ratio, note=parts)


if __name__ == '__main__':
  if len(sys.argv) > 1 and sys.argv[1] != '--json':
    print(json.dumps(seconds_inside(sys.argv[1])))
  else:
    lines.main(measure)
