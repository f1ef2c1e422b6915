"""Whether to trust a grader: do its votes agree, does it fall for decoys, what does it mark and what not."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.page.graders import decoys
from evals.page.view import RunView, labels, share

CRITERIA = {
  'skill': 'skills',
  'topic': 'topic',
  'sense': 'sense',
  'length': 'length',
}


@dataclass(frozen=True)
class Fact:
  """One line of the health table: what, and its value in each run."""

  name: str
  values: Sequence[str]
  explanation: str = ''


@dataclass(frozen=True)
class Marked:
  """A skill or a topic: in how many texts it was asked for, and the share of points in each run (None: never)."""

  name: str
  num_texts: int
  shares: Sequence[float | None]


def facts(runs: Sequence[RunView]) -> list[Fact]:
  """The health table, one column per run."""
  agreements = [run.metrics.get('agreement') or {} for run in runs]
  found = [
    Fact('grader', [run.grader for run in runs], 'as the endpoint named it'),
    Fact('texts graded', [_of(run.metrics.get('done'), run.metrics.get('wanted')) for run in runs]),
    Fact('unparsed replies', [_count(run.metrics.get('unparsed')) for run in runs], 'no attempt gave a readable table'),
  ]
  for key, name in CRITERIA.items():
    values = [_agreement(agreement, key) for agreement in agreements]
    found.append(Fact(f'votes agree: {name}', values, 'share of unanimous votes · Fleiss κ'))
  found += [
    Fact('decoys accepted', [decoys([run]).removeprefix('decoys accepted: ') for run in runs],
         'a skill nobody asked for got its point'),
    Fact('length point = our count', [share(agreement.get('length_vs_count')) for agreement in agreements],
         'the grader’s point for length against counted sentences'),
    Fact('skill named aloud', [share(_named(run)) for run in runs], 'such a skill earns nothing in that text'),
  ]  # fmt: skip
  num = max((len(run.metrics.get('by_generation') or []) for run in runs), default=0)
  for i in range(num):
    values = [share((run.metrics.get('by_generation') or [])[i : i + 1][0]) if _has(run, i) else '–' for run in runs]
    found.append(Fact(f'full marks, generation {i + 1}', values, 'they should be alike' if i == 0 else ''))
  return found


def _has(run: RunView, generation: int) -> bool:
  return len(run.metrics.get('by_generation') or []) > generation


def _count(value: int | None) -> str:
  return '–' if value is None else f'{value:,}'


def _of(done: int | None, wanted: int | None) -> str:
  return f'{_count(done)} of {_count(wanted)}'


def _agreement(agreement: dict, key: str) -> str:
  unanimous = (agreement.get('criteria') or {}).get(key)
  kappa = (agreement.get('fleiss_kappa') or {}).get(key)
  return '–' if unanimous is None else f'{share(unanimous)} · κ {share(kappa)}'


def _named(run: RunView) -> float | None:
  flags = [flag for row in run.grades for flag in row['named']]
  return float(np.mean(flags)) if flags else None


def by_skill(runs: Sequence[RunView]) -> list[Marked]:
  """Share of texts in which a skill earned its point, lowest first."""
  tables = []
  for run in runs:
    table: dict[str, list[int]] = defaultdict(list)
    for row in run.grades:
      for skill, point in zip(row['skills'], row['points'] or ()):
        table[skill].append(point)
    tables.append(table)
  return _sorted(tables)


def by_topic(runs: Sequence[RunView]) -> list[Marked]:
  """Share of texts with full marks for each topic, lowest first."""
  tables = []
  for run in runs:
    table: dict[str, list[int]] = defaultdict(list)
    for row in run.grades:
      if row['points'] is not None:
        table[row['topic']].append(row['full_marks'])
    tables.append(table)
  return _sorted(tables)


def _sorted(tables: Sequence[dict[str, list[int]]]) -> list[Marked]:
  found = []
  for name in {name for table in tables for name in table}:
    shares = [float(np.mean(table[name])) if table.get(name) else None for table in tables]
    found.append(Marked(name, sum(len(table.get(name, ())) for table in tables), shares))
  mean = lambda marked: float(np.mean([s for s in marked.shares if s is not None]))
  return sorted(found, key=lambda marked: (mean(marked), marked.name))


def columns(runs: Sequence[RunView]) -> list[str]:
  """Headings of the health tables."""
  return labels(runs)
