"""Tables on the terminal: our number with its interval, the paper's beneath it."""

import itertools
from collections.abc import Sequence
from typing import Any

from evals.questions import paper_tables
from evals.results.cells import METRICS, NAMES
from evals.results.contrasts import Contrast

WIDTH = 18


def number(value: float | None) -> str:
  """'.87', '1.00', '-'."""
  return '-' if value is None else f'{value:.2f}'.removeprefix('0') if value < 1 else f'{value:.2f}'


def with_interval(cell: dict[str, Any], metric: str) -> str:
  """'.87 [.79, .92]'."""
  if cell.get(metric) is None:
    return '-'
  low, high = cell['ci95'][metric]
  return f'{number(cell[metric])} [{number(low)}, {number(high)}]'


def _line(head: str, values: Sequence[str]) -> str:
  return (f'{head:<24}' + ''.join(f'{value:<{WIDTH}}' for value in values)).rstrip()


def print_cells(cells: Sequence[dict[str, Any]], model: str | None, row: str | None):
  """One block for each setting, one column for each k."""
  for setting, group in itertools.groupby(cells, key=lambda cell: cell['setting']):
    block = list(group)
    print()
    print(_line(setting, [f'k={cell["k"]} (n={cell["n"]})' for cell in block]))
    for metric in METRICS:
      print(_line(f'  {NAMES[metric]}', [with_interval(cell, metric) for cell in block]))
      theirs = [paper_tables.printed().find(model, row, setting, cell['k'], metric) for cell in block]
      if any(theirs):
        print(
          _line(
            '    the paper (gpt-4)', [number(one.value) + '†' * bool(one.misprint) if one else '-' for one in theirs]
          )
        )
    if block[0]['num_generations'] > 1:
      print(_line('  full marks, one text', [with_interval(cell['mean_of_one'], METRICS[0]) for cell in block]))
    for cell in block:
      if 'refused' in cell:
        print(f'  k={cell["k"]} refused: {cell["refused"]}')


def print_run(name: str, found: dict[str, Any], paper_row: str):
  """Everything about one run."""
  model, row = paper_tables.parse_row(paper_row)
  print(f'\n{name}: {found["student"]}, graded by {found["grader"] or "nobody yet"}; 95 % intervals in brackets')
  missing = sum(cell['missing'] for cell in found['cells'])
  print(f'{found["done"]} of {found["wanted"]} texts graded, {missing} votes missing, {found["unparsed"]} unreadable')
  print_cells(found['cells'], model, row)
  if decoys := found['decoys']:
    low, high = decoys['ci95']
    print(
      f'\ndecoys: a skill that was not asked for earned its point in {number(decoys["rate"])} '
      f'[{number(low)}, {number(high)}] of {decoys["n"]} texts'
    )
  for is_seen in (True, False):
    cells = [cell for cell in found.get('seen', {}).get('cells', []) if cell['seen'] == is_seen]
    if cells:
      print(f'\nskill sets that the training data {"holds" if is_seen else "does not hold"}:')
      print_cells(cells, None, None)


def print_contrasts(found: Sequence[Contrast]):
  """One line each; differences of Ratio of Full Marks or what `metric` says."""
  grouped = itertools.groupby(found, key=lambda one: (one.metric, one.grader))
  for (metric, grader), group in grouped:
    lines = list(group)
    print(f'\ndifferences in {NAMES[metric]}, graded by {grader}, on shared combinations')
    width = max(len(f'{one.a} - {one.b}') for one in lines)
    for one in lines:
      low, high = one.ci95
      print(
        f'{f"{one.a} - {one.b}":{width}}  {one.setting:9} k={one.k}  n={one.n:<5}{number(one.mean_b)} -> '
        f'{number(one.mean_a):5} {one.difference:+.2f} [{low:+.2f}, {high:+.2f}]  p={one.p:.2g}, '
        f'Holm {one.p_holm:.2g}: {one.verdict}'
      )
