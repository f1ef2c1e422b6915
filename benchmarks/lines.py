"""A line of the speed table. A benchmark is a module whose `measure()` yields lines; `run.py` prints those of all."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True)
class Line:
  """A measured number and what it is compared with.

  `theirs` is the rival's number in the same unit. `ratio` says how many times better ours is: above 1 we are faster or
  smaller. Where both are timed in turns it is the median of the pairs, which need not be that of the medians.
  """

  what: str
  value: float
  unit: str
  rival: str = ''
  theirs: float | None = None
  ratio: float | None = None
  aim: str = ''
  note: str = ''


def number(value: float) -> str:
  """Three digits, all of those before the point: 0.953, 12.1, 1,234."""
  return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def text(line: Line) -> str:
  """A line as plain text."""
  parts = [f'{line.what}: {number(line.value)} {line.unit}'.strip()]
  if line.rival:
    parts.append(line.rival if line.theirs is None else f'{line.rival} {number(line.theirs)}')
  if line.ratio is not None:
    parts.append(f'{line.ratio:.2f} x')
  if line.aim:
    parts.append(f'aim {line.aim}')
  return '; '.join([*parts, line.note] if line.note else parts)


def main(measure: Callable[[], Iterable[Line]]):
  """Prints the lines as they come, and nothing else to stdout: as text, or with --json as JSON for `run.py`."""
  as_json = '--json' in sys.argv[1:]
  stdout = sys.stdout
  with contextlib.redirect_stdout(sys.stderr):
    for line in measure():
      print(json.dumps(dataclasses.asdict(line)) if as_json else text(line), file=stdout, flush=True)
