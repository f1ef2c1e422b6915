"""What commands of evals cost that ask nobody: a report of a large evaluation, the plan of a table, help.

    PYTHONPATH=. python benchmarks/pages_speed.py

CPU seconds and peak memory of whole commands, each in a process of its own.
"""

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import lines
from growth import run
from lines import Line

KS, NUM_COMBINATIONS, GENERATIONS = (1, 2, 3, 4, 5), 490, 3  # in two settings
NUM_TEXTS = 2 * len(KS) * NUM_COMBINATIONS * GENERATIONS
ANSWER_CHARACTERS = {'answer1': 1_165, 'answer2': 869}  # of GPT-4 at k = 3
COMMANDS = (
  'evals.sample', 'evals.grade', 'evals.select', 'evals.report', 'evals.compare', 'evals.audit', 'evals.paper',
  'evals.minimix', 'evals.minimix.findings', 'evals.minimix.record', 'evals.minimix.unseen', 'evals.minimix.echo',
  'skillmix_jax.train', 'skillmix_jax.sample', 'skillmix_jax.prepare', 'skillmix_jax.convert', 'skillmix_jax.plan',
  'skillmix_jax.view', 'skillmix_jax.curve', 'skillmix_jax.doctor',
)  # fmt: skip


def write_run(folder: str):
  """Makes a run of NUM_TEXTS texts with answers of the usual length; three votes each, that differ here and there."""
  from helpers.graded_runs import make

  explanation = 'This is a metaphor, since storms do not sing, and it stays with the topic. ' * 20

  def reply(request):
    slot = request.slot
    said = f'Answer: {slot.combination} of generation {slot.generation} sings. {"The river laughs like silver. " * 7}'
    return f'{said}\nExplanation: {explanation}'[: ANSWER_CHARACTERS[slot.step]], 'stop'

  def vote(request):
    points = [1] * len(request.context['criteria'])
    if zlib.crc32(str(request.slot).encode()) % 10 == 0:
      points[0] = 0
    return points

  make(
    Path(folder), settings=('train', 'held_out'), ks=KS, num_combinations=NUM_COMBINATIONS, generations=GENERATIONS,
    votes=3, reply=reply, vote=vote,
  )  # fmt: skip


def measure() -> Iterator[Line]:
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    run('-c', f'import pages_speed; pages_speed.write_run({str(folder / "run")!r})')
    cpu, peak, _ = run('-m', 'evals.report', f'--runs={folder / "run"}', f'--out={folder / "page.html"}')
  what = f'a report of {NUM_TEXTS:,} texts with three votes each'
  yield Line(what, cpu, 'CPU s', aim='<= 40')
  yield Line(f'{what}: peak memory', peak * 2**20 / 1e6, 'MB', aim='<= 250')
  cpu, peak, _ = run('-m', 'evals.paper', '--table=1')
  yield Line('evals.paper --table=1', cpu, 'CPU s', aim='<= 1', note=f'{peak:.0f} MiB')
  seconds = {command: run('-m', command, '--help')[0] for command in COMMANDS}
  slowest = max(seconds, key=seconds.__getitem__)
  yield Line('the slowest --help of all commands', seconds[slowest], 'CPU s', aim='<= 1', note=slowest)


if __name__ == '__main__':
  lines.main(measure)
