"""From marks to cells: one for each setting and k, with intervals, and what tells whether to trust them."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from evals.marking import marks
from evals.marking.marks import Marks
from evals.results import statistics

NAMES = {
  'ratio_of_full_marks': 'Ratio of Full Marks',
  'ratio_of_all_skills': 'Ratio of All Skills',
  'skills_fraction': 'Skills Fraction',
}
METRICS = tuple(NAMES)
MARKS = ('full_marks', 'all_skills', 'skills_fraction')  # the same of one text
CRITERIA = ('skill', 'topic', 'sense', 'length')

Rows = Sequence[dict[str, Any]]


def _marks(row: dict[str, Any]) -> Marks:
  return Marks(*(row[name] for name in MARKS))


def by_combination(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """Rows of the same combination, in the order of their generations."""
  groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
  for row in rows:
    groups[row['combination']].append(row)
  return {name: sorted(group, key=lambda row: row['generation']) for name, group in groups.items()}


def complete(rows: Iterable[dict[str, Any]], generations: int) -> dict[str, list[dict[str, Any]]]:
  """Combinations whose every generation has its marks: a maximum of two is not a maximum of three."""
  return {
    name: group
    for name, group in by_combination(rows).items()
    if len(group) == generations and all(row['points'] is not None for row in group)
  }


def interval(values: np.ndarray) -> list[float]:
  """95 % for a mean over combinations: Wilson where values are 0 or 1, or all alike, else bootstrap."""
  if len(values) < 2 or np.all(np.isin(values, (0, 1))) or np.ptp(values) == 0:
    return list(statistics.wilson(float(values.mean()), len(values)))
  return list(statistics.bootstrap(values))


def _intervals(table: dict[str, np.ndarray]) -> dict[str, list[float]]:
  found = {}
  for name, values in table.items():
    if name == 'skills_fraction':
      found[name] = interval(values)
    else:
      found[name] = list(statistics.wilson(float(values.mean()), len(values)))
  return found


def _means(table: dict[str, np.ndarray]) -> dict[str, float]:
  return {name: float(values.mean()) for name, values in table.items()}


def _table(groups: Iterable[Rows], summary: Callable[[Sequence[Marks]], Any]) -> dict[str, np.ndarray]:
  results = [summary([_marks(row) for row in group]) for group in groups]
  return {metric: np.array([getattr(r, mark) for r in results], float) for metric, mark in zip(METRICS, MARKS)}


def cell(rows: Rows, wanted: int, generations: int, num_votes: int) -> dict[str, Any]:
  """The numbers of one setting and k.

  Args:
    rows: of grades.jsonl, all of one setting and k.
    wanted: combinations asked for.
    generations: texts asked for, of each combination.
    num_votes: votes asked for, of each text.
  """
  missing = sum(vote is None for row in rows for vote in row['votes'])
  missing += (wanted * generations - len(rows)) * num_votes  # texts that are not there, or not yet
  missing += sum(num_votes for row in rows if not row['votes'])
  groups = complete(rows, generations)
  result: dict[str, Any] = {
    'setting': rows[0]['setting'], 'k': rows[0]['k'], 'n': len(groups), 'wanted': wanted, 'missing': missing,
    'num_generations': generations,
  }  # fmt: skip
  graders = {row['grader'] for group in groups.values() for row in group}
  if len(graders) > 1 or any(' and ' in grader for grader in graders):
    result |= {'n': 0, 'refused': 'votes of two graders: ' + ', '.join(sorted(graders))}
    groups = {}
  if not groups:
    return result | dict.fromkeys(METRICS) | {'ci95': {}, 'mean_of_one': {}, 'by_skill_ci95': {}}
  best = _table(groups.values(), marks.combine)
  one = _table(groups.values(), marks.mean_of_one)
  skills = [group[0]['skills'] for group in groups.values()]
  return result | _means(best) | {
    'ci95': _intervals(best),
    'mean_of_one': _means(one) | {'ci95': _intervals(one)},
    'by_skill_ci95': {name: list(statistics.clustered(values, skills)) for name, values in best.items()},
  }  # fmt: skip


def cells(rows: Rows, wanted: dict[tuple[str, int], int], generations: int, num_votes: int) -> list[dict[str, Any]]:
  """All cells that have texts, in the order of `wanted`, which counts combinations."""
  groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
  for row in rows:
    groups[row['setting'], row['k']].append(row)
  return [cell(groups[name], wanted[name], generations, num_votes) for name in wanted if name in groups]


def seen_cells(rows: Rows, seen: Collection[frozenset[str]], generations: int, num_votes: int) -> list[dict[str, Any]]:
  """Cells of the skill sets that the training data holds, and of those that it does not."""
  found = []
  for is_seen in (True, False):
    part = [row for row in rows if (frozenset(row['skills']) in seen) == is_seen]
    wanted: dict[tuple[str, int], int] = {}
    for group in by_combination(part).values():
      name = group[0]['setting'], group[0]['k']
      wanted[name] = wanted.get(name, 0) + 1
    found += [one | {'seen': is_seen} for one in cells(part, wanted, generations, num_votes)]
  order = {name: index for index, name in enumerate(dict.fromkeys((row['setting'], row['k']) for row in rows))}
  return sorted(found, key=lambda one: (order[one['setting'], one['k']], not one['seen']))


def _criterion(index: int, k: int) -> str:
  return 'skill' if index < k else CRITERIA[1 + index - k]


def _kappa(votes: Sequence[tuple[int, ...]]) -> float | None:
  """Fleiss' kappa; None where all votes are the same and it is not defined."""
  kappa = statistics.fleiss_kappa(votes)
  return None if math.isnan(kappa) else kappa


def agreement(rows: Rows, num_votes: int) -> dict[str, Any]:
  """How far the votes of a text agree, on texts that have all of theirs; and our counter with the grader's length.

  Returns:
    'n' texts; 'criteria': share of unanimous votes; 'fleiss_kappa'; 'length_vs_count': share of votes whose length
    point is what our counter says.
  """
  full = [row for row in rows if num_votes > 1 and len(row['votes']) == num_votes and None not in row['votes']]
  given: dict[str, list[tuple[int, ...]]] = {name: [] for name in CRITERIA}
  for row in full:
    for index, points in enumerate(zip(*row['votes'])):
      given[_criterion(index, row['k'])].append(points)
  length = [
    vote[-1] == (0 < row['num_sentences'] <= max(1, row['k'] - 1)) for row in rows for vote in row['votes'] if vote
  ]
  return {
    'n': len(full),
    'criteria': {name: float(np.mean([len(set(v)) == 1 for v in votes])) for name, votes in given.items() if votes},
    'fleiss_kappa': {name: _kappa(votes) for name, votes in given.items() if votes},
    'length_vs_count': float(np.mean(length)) if length else None,
  }


def decoys(rows: Rows) -> dict[str, Any] | None:
  """How often a skill that was not asked for got its point; None where no decoys were graded."""
  points = [row['decoy']['point'] for row in rows if 'decoy' in row]
  if not points:
    return None
  rate = sum(points) / len(points)
  return {'n': len(points), 'points': sum(points), 'rate': rate, 'ci95': list(statistics.wilson(rate, len(points)))}


def by_generation(rows: Rows) -> list[float]:
  """Ratio of Full Marks of the first, the second, ... text of a combination."""
  ordered = sorted((row for row in rows if row['points'] is not None), key=lambda row: row['generation'])
  groups = itertools.groupby(ordered, key=lambda row: row['generation'])
  return [float(np.mean([row['full_marks'] for row in group])) for _, group in groups]
