"""Whether to trust a grader: do its votes agree, does it fall for decoys, what does it mark and what not."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.page.graders import decoys
from evals.page.view import RunView
from evals.results.summary import RunMetrics
from evals.results.trust import CRITERIA, Agreement
from evals.results.written import share


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
  metrics = [run.metrics for run in runs]
  found = [
    Fact('grader', [run.grader for run in runs], 'as the endpoint named it'),
    Fact('texts graded', [f'{of.done:,} of {of.wanted:,}' for of in metrics]),
    Fact('student’s replies', [_replies(of) for of in metrics], 'a cut or refused text is marked as it is'),
    Fact('unparsed replies', [f'{of.unparsed:,}' for of in metrics], 'no attempt gave a readable table'),
  ]
  for criterion in CRITERIA:
    values = [_agreement(of.agreement, criterion) for of in metrics]
    name = 'skills' if criterion == 'skill' else criterion
    found.append(Fact(f'votes agree: {name}', values, 'share of unanimous votes · Fleiss κ'))
  found += [
    Fact('decoys accepted', [decoys([run]).removeprefix('decoys accepted: ') for run in runs],
         'a skill nobody asked for got its point; an upper bound on points for nothing'),
    Fact('decoys are drawn from', [_drawn_from(of) for of in metrics], 'a text may show a skill by chance'),
    Fact('length point = our count', [share(of.agreement.length_vs_count) for of in metrics],
         'the grader’s point for length against counted sentences'),
    Fact('skill named aloud', [share(_named(run)) for run in runs], 'such a skill earns nothing in that text'),
  ]  # fmt: skip
  for i, ratios in enumerate(itertools.zip_longest(*(of.by_generation for of in metrics))):
    name, explanation = f'full marks, generation {i + 1}', 'they should be alike' if i == 0 else ''
    found.append(Fact(name, list(map(share, ratios)), explanation))
  return found


def _drawn_from(metrics: RunMetrics) -> str:
  """Writes which skills decoys are; '–' where there were none."""
  if metrics.decoys is None:
    return '–'
  left_out = metrics.decoys.left_out
  return f'all but {left_out} skills that occur in almost any text' if left_out else 'all skills'


def _replies(metrics: RunMetrics) -> str:
  """Writes 'all whole', or what is odd about them; '–' where it was not counted."""
  health = metrics.student_health
  return (health.describe() or 'all whole') if health else '–'


def _agreement(agreement: Agreement, criterion: str) -> str:
  if criterion not in agreement.criteria:
    return '–'
  return f'{share(agreement.criteria[criterion])} · κ {share(agreement.fleiss_kappa[criterion])}'


def _named(run: RunView) -> float | None:
  flags = [flag for text in run.texts for flag in text.named]
  return float(np.mean(flags)) if flags else None


def by_skill(runs: Sequence[RunView]) -> list[Marked]:
  """Share of texts in which a skill earned its point, lowest first."""
  tables = []
  for run in runs:
    table: dict[str, list[int]] = defaultdict(list)
    for text in run.texts:
      for skill, point in zip(text.skills, text.points or ()):
        table[skill].append(point)
    tables.append(table)
  return _sorted(tables)


def by_topic(runs: Sequence[RunView]) -> list[Marked]:
  """Share of texts with full marks for each topic, lowest first."""
  tables = []
  for run in runs:
    table: dict[str, list[int]] = defaultdict(list)
    for text in run.texts:
      if text.marks is not None:
        table[text.topic].append(text.marks.full_marks)
    tables.append(table)
  return _sorted(tables)


def _sorted(tables: Sequence[dict[str, list[int]]]) -> list[Marked]:
  found = []
  for name in {name for table in tables for name in table}:
    shares = [float(np.mean(table[name])) if name in table else None for table in tables]
    found.append(Marked(name, sum(len(table[name]) for table in tables if name in table), shares))
  mean = lambda marked: float(np.mean([s for s in marked.shares if s is not None]))
  return sorted(found, key=lambda marked: (mean(marked), marked.name))
