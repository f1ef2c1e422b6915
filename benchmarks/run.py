"""The speed tables of docs/results/performance.md: `make bench`, or `make bench ROUNDS=2` for medians and spread.

    PYTHONPATH=. python benchmarks/run.py --only=train_speed,ledger_speed --rounds=3

Every benchmark runs in a process of its own, the whole list once a round, so that each number of a line was measured
at another time. Each stands beside what it is compared with, measured in the same process. Machines differ and are
shared: read ratios, not seconds, and only those of an idle machine (the load is printed).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from lines import Line, number, text
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
MODULES = (
  'train_speed', 'train_parts', 'input_speed', 'decode_speed', 'refill_speed', 'first_answer', 'program',
  'ledger_speed', 'pages_speed', 'minimix_speed', 'growth', 'padding',
)  # fmt: skip
ONCE = {'train_parts', 'refill_speed', 'growth', 'padding'}  # explain, are averages of many answers, or hardly vary


def run(module: str) -> list[Line]:
  """The lines of a benchmark, each printed to stderr as it comes."""
  environment = {'JAX_PLATFORMS': 'cpu'} | os.environ | {'PYTHONPATH': str(ROOT)}
  command = [sys.executable, str(ROOT / 'benchmarks' / f'{module}.py'), '--json']
  lines = []
  with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout is not None
    for printed in process.stdout:
      lines.append(Line(**json.loads(printed)))
      print(text(lines[-1]), file=sys.stderr, flush=True)
  if process.returncode:
    raise SystemExit(f'{module} ended with exit code {process.returncode}')
  return lines


def spread(values: Sequence[float | None], show: Callable[[float], str]) -> str:
  """Median, and the lowest and highest where they differ; '' where nothing was measured."""
  known = [value for value in values if value is not None]
  if not known:
    return ''
  low, high = show(min(known)), show(max(known))
  return show(statistics.median(known)) + (f' ({low} - {high})' if low != high else '')


def table(rounds: dict[str, list[Line]]) -> Table:
  """A row for each line; the columns say what `Line` says."""
  result = Table('what', 'ours', 'against', 'ratio', 'aim', box=box.MARKDOWN)
  for what, lines in rounds.items():
    last = lines[-1]
    ours = spread([line.value for line in lines], number)
    theirs = spread([line.theirs for line in lines], number)
    ratio = spread([line.ratio for line in lines], '{:.2f}'.format)
    notes = [f'{last.rival} {theirs}'.strip(), last.note]
    result.add_row(
      what, f'{ours} {last.unit}'.strip(), '; '.join(filter(None, notes)), ratio and f'{ratio} x', last.aim
    )
  return result


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--rounds', type=int, default=1, help='how often everything is measured (1)')
  parser.add_argument('--only', default=','.join(MODULES), help='benchmarks, with commas between them (all)')
  args = parser.parse_args()
  only = args.only.split(',')
  if unknown := [name for name in only if name not in MODULES]:
    parser.error(f'--only: {unknown[0]!r} is no benchmark; there are {", ".join(MODULES)}')
  rounds: dict[str, list[Line]] = {}
  for index in range(args.rounds):
    for module in only:
      if index and module in ONCE:
        continue
      print(f'-- round {index + 1}, {module}, load {os.getloadavg()[0]:.1f}', file=sys.stderr, flush=True)
      for line in run(module):
        rounds.setdefault(line.what, []).append(line)
  console = Console(width=None if sys.stdout.isatty() else 320)
  console.print(f'{os.cpu_count()} cores, jax {version("jax")}, torch {version("torch")}, rounds: {args.rounds}')
  console.print(table(rounds))


if __name__ == '__main__':
  main()
