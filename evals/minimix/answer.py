"""The main study in five sentences, in two, and as a short table, for the head of a page."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from evals.minimix import tally
from evals.minimix.studies import MAIN
from evals.minimix.tally import Row
from evals.minimix.verdicts import find

ARMS = ('D1', 'D12', 'D123')


def _number(value: float) -> str:
  return f'{value:.2f}'.removeprefix('0') if not math.isnan(value) else '-'


class _Means:
  """Means over seeds, printed."""

  def __init__(self, rows: Sequence[Row]):
    self._ratios = tally.ratios(rows)

  def __call__(self, arm: str, setting: str, k: int) -> str:
    values = list(self._ratios.get(arm, {}).get((setting, k), {}).values())
    return _number(float(np.mean(values)) if values else math.nan)


def sentences(rows: Sequence[Row]) -> str:
  """Five of them; `rows` are of the main study."""
  of = _Means(rows)
  full, single = (', '.join(of(arm, 'train', k) for k in (3, 4, 5)) for arm in ('D123', 'D1'))
  text = (
    'In a toy world whose grader is never wrong, a small model that is fine-tuned on texts with one, two and three '
    f'skills, D(1,2,3), earns full marks for {full} of the questions with three, four and five training skills, in '
    f'sets that no dialog asks for; fine-tuned on single skills, D(1), the same base earns {single}. '
    'On triples no two of whose skills share a sentence of anything that the model has read, it is '
    f'{of("D123", "no_pair_seen", 3)} against {of("D1", "no_pair_seen", 3)}. '
    f'Pairs alone, D(1,2), give {of("D12", "train", 3)} with three and {of("D12", "train", 4)} with four skills. '
    'With three held-out skills, which no dialog combines (the base has read two of them in a sentence), it is '
    f'{of("D123", "held_out", 3)} for D(1,2,3), {of("D12", "held_out", 3)} for D(1,2) and {of("D1", "held_out", 3)} '
    f'for D(1). {_verdicts(rows)}'
  )
  return textwrap.fill(text, 120, break_on_hyphens=False)


def brief(rows: Sequence[Row]) -> str:
  """Two sentences for the first page; `rows` are of the main study."""
  of = _Means(rows)
  full, single = (
    f'{", ".join(of(arm, "train", k) for k in (3, 4, 5))} and {of(arm, "held_out", 3)}' for arm in ('D123', 'D1')
  )
  text = (
    'In a toy world whose grader is never wrong, a small model D(1,2,3) earns full marks for '
    f'{full} of the questions with three, four and five training skills and with three held-out ones, in sets of '
    f'skills that no training dialog asks for; D(1), from the same base, earns {single}. {_verdicts(rows)}'
  )
  return textwrap.fill(text, 120, break_on_hyphens=False)


def _verdicts(rows: Sequence[Row]) -> str:
  findings = find(tally.ratios(rows), MAIN)
  num_seeds, num_planned = len(set(MAIN.seeds) & {row.seed for row in rows}), len(MAIN.seeds)
  if num_seeds < num_planned:
    means = f'These are means of {num_seeds} of {num_planned} planned seeds'
    return f'{means}: there is no verdict yet, for that needs all of them and an exact test.'
  by_verdict: dict[str, list[str]] = {}
  for finding in findings:
    by_verdict.setdefault(finding.verdict, []).append(finding.comparison.what)
  if list(by_verdict) == ['holds']:
    return (
      f'Means of {num_seeds} seeds; all {len(findings)} planned comparisons hold by an exact test, corrected for their '
      'number.'
    )
  said = '; '.join(f'{verdict}: {", ".join(whats)}' for verdict, whats in by_verdict.items())
  return f'Means of {num_seeds} seeds; by an exact test, corrected for {len(findings)} comparisons, {said}.'


def table(rows: Sequence[Row]) -> list[str]:
  """Markdown: means, with the three arms as rows."""
  of = _Means(rows)
  cells = [(setting, k) for setting in ('train', 'held_out') for k in (2, 3, 4, 5)]
  names = {('train', 2): 'training, k=2', ('held_out', 2): 'held-out, k=2'}
  lines = [
    '| full marks | ' + ' | '.join(names.get(cell, f'k={cell[1]}') for cell in cells) + ' |',
    '|---|' + '---|' * 8,
  ]
  for arm in ARMS:
    lines.append(f'| {MAIN.arms[arm].label} | ' + ' | '.join(of(arm, *cell) for cell in cells) + ' |')
  return lines
