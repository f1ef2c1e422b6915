"""How fast replies are asked for and stored, and how fast a large run is taken up again.

    PYTHONPATH=. python benchmarks/ledger_speed.py

The server is tests/helpers/fake_openai.py in a process of its own on the same machine, so both share its cores.
"""

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lines
from growth import here, run
from lines import Line

from evals.replies.endpoints import Online, collect
from evals.replies.ledger import FOLDER, Ledger, Reply, Request, Slot, key

ROOT = Path(__file__).parent.parent
NUM_REQUESTS, LATENCY, IN_FLIGHT = 2_000, 1.0, 100
NUM_REPLIES = 125_000  # of a full evaluation: 5 k x (100 to 400) combinations x 3 texts x 5 replies, several students
PROMPT_CHARACTERS, REPLY_CHARACTERS = 1_800, 1_600  # of a grading at k = 3
RESUME = """
import sys, time
from pathlib import Path
from evals.replies.ledger import Ledger
began, cpu = time.perf_counter(), time.process_time()
found = Ledger(Path(sys.argv[1]))
print(len(found), time.perf_counter() - began, time.process_time() - cpu)
"""


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
  """The fake server as a process; its base URL."""
  command = [sys.executable, str(ROOT / 'tests' / 'helpers' / 'fake_openai.py'), *arguments]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  assert process.stdout is not None
  try:
    yield process.stdout.readline().strip()
  finally:
    process.terminate()
    process.wait()


def requests(count: int) -> list[Request]:
  """Gradings with prompts of the usual length."""
  text = 'The river laughs like silver. ' * (PROMPT_CHARACTERS // 30)
  return [
    Request(Slot(f'held_out-k3-{i:04d}', 1, 'vote', vote=1), ({'role': 'user', 'content': f'{i} {text}'},))
    for i in range(count)
  ]


def asking(latency: float, concurrency: int, count: int) -> tuple[float, float]:
  """(seconds, CPU seconds of this process) to ask and store."""
  with tempfile.TemporaryDirectory() as folder, server(f'--latency={latency}') as base_url:
    online = Online('fake', base_url=base_url, concurrency=concurrency)
    collect(Ledger(Path(folder) / 'warm'), 'bench', requests(20), online)  # imports
    began, cpu, ledger = time.perf_counter(), time.process_time(), Ledger(Path(folder) / FOLDER)
    failed = collect(ledger, 'bench', requests(count), online)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert not failed and len(ledger) == count
  return seconds, cpu


def write_large(folder: Path):
  """A ledger of NUM_REPLIES in 20 files, a fifth of them with curly quotes."""
  rng = random.Random(0)
  words = ['"river"', 'the', 'laughs', 'like', 'silver', 'storms', 'of', '| 1 |', 'criterion', 'Correctly\n', "it's"]
  texts = [' '.join(rng.choices(words, k=REPLY_CHARACTERS // 6)) for _ in range(1000)]
  texts = [text if i % 5 else text.replace("'", '’') for i, text in enumerate(texts)]
  prompt, params = {'role': 'user', 'content': 'The river laughs like silver. ' * (PROMPT_CHARACTERS // 30)}, {}
  ledger = Ledger(folder)
  for part in range(20):
    with ledger.open_writer(f'grade{part}') as writer:
      for i in range(NUM_REPLIES // 20):
        slot = Slot(f'held_out-k3-{i // 15:04d}', 1 + i // 5 % 3, 'vote', vote=1 + i % 5, attempt=part)
        usage = {'prompt_tokens': rng.randrange(400, 700), 'completion_tokens': rng.randrange(200, 500)}
        reply = Reply(
          rng.choice(texts) + str(i), 'stop', 'gpt-5.6-sol-2026-08-07', usage, f'chatcmpl-{rng.getrandbits(128):032x}',
          rng.random() * 20, f'2026-11-21T00:{i % 60:02d}:34.123456Z',
        )  # fmt: skip
        writer.append(Request(slot, (prompt,)), key(slot, 'm', params, [prompt]), 'gpt-5.6-sol', params, reply)


def resuming() -> dict[str, float]:
  """Bytes on disk, seconds, CPU seconds and peak memory (MiB) of a process that reads a large ledger."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name) / FOLDER
    run(*here('write_ledger', name, NUM_REPLIES))  # not in this process, whose peak a child would begin with
    size = sum(path.stat().st_size for path in folder.iterdir())
    _, peak, out = run('-c', RESUME, str(folder))
    count, seconds, cpu = map(float, out.split())
    assert count == NUM_REPLIES
  return {'bytes': size, 'seconds': seconds, 'cpu': cpu, 'peak': peak}


def measure() -> Iterator[Line]:
  seconds, cpu = asking(LATENCY, IN_FLIGHT, NUM_REQUESTS)
  ideal = NUM_REQUESTS / IN_FLIGHT * LATENCY
  what = f'{NUM_REQUESTS:,} requests at {LATENCY:g} s, {IN_FLIGHT} in flight'
  yield Line(what, seconds, 's', 'ideal', ideal, ideal / seconds, f'<= {1.04 * ideal:.1f}', f'{cpu:.1f} CPU s')
  instant, cpu = asking(0, 64, NUM_REQUESTS)
  note = f'{cpu / NUM_REQUESTS * 1e3:.1f} CPU ms each'
  yield Line(f'{NUM_REQUESTS:,} requests to an instant server', NUM_REQUESTS / instant, '/s', aim='>= 150', note=note)
  large = resuming()
  what = f'taking up {NUM_REPLIES:,} replies, {large["bytes"] / 1e6:.0f} MB'
  yield Line(what, large['seconds'], 's', aim='<= 1.5', note=f'{large["cpu"]:.1f} CPU s')
  yield Line(f'{what}: peak memory', large['peak'] * 2**20 / 1e6, 'MB', aim='<= 300')


if __name__ == '__main__':
  lines.main(measure)
