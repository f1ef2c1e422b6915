"""Whether to trust a grader: how far its votes agree, and how often it praised a skill that was never asked for."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from evals.marking.marks import OTHERS
from evals.questions import prompts
from evals.questions.catalog import Catalog
from evals.results import statistics
from evals.results.cells import marks_of
from evals.results.graded import GradedText
from evals.results.statistics import Interval

CRITERIA = ('skill', *OTHERS)  # as agreement is counted: all skills of all texts together


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far the votes of a text agree; `agreement` of metrics.json.

  Attributes:
    n: texts that have all their votes.
    criteria: criterion -> share of unanimous votes.
    fleiss_kappa: criterion -> agreement beyond chance; None where all votes are the same and it is not defined.
    length_vs_count: share of votes whose length point is what our counter says; None without votes.
  """

  n: int = 0
  criteria: Mapping[str, float] = dataclasses.field(default_factory=dict)
  fleiss_kappa: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
  length_vs_count: float | None = None


@dataclasses.dataclass(frozen=True)
class Decoys:
  """How often a skill that was not asked for got its point; `decoys` of metrics.json.

  It is an upper bound on how often the grader gives a point for nothing: a text may show a skill by chance.

  Attributes:
    left_out: skills that were not used, since they occur in almost any text; 0 where the catalog does not say which.
  """

  n: int
  points: int
  rate: float
  ci95: Interval
  left_out: int = 0

  def to_json(self) -> dict[str, Any]:
    """As metrics.json has it."""
    row = dataclasses.asdict(self)
    return row if self.left_out else {name: value for name, value in row.items() if name != 'left_out'}

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """From metrics.json."""
    return cls(**dict(row) | {'ci95': Interval(*row['ci95'])})

  @property
  def drawn_from(self) -> str:
    """Says which skills decoys are."""
    if self.left_out:
      return f'{self.left_out} skills that occur in almost any text are no decoys'
    return 'the catalog does not say which skills occur in almost any text, so every skill may be a decoy'


def _kappa(votes: Sequence[tuple[int, ...]]) -> float | None:
  kappa = statistics.fleiss_kappa(votes)
  return None if math.isnan(kappa) else kappa


def agreement(texts: Sequence[GradedText], num_votes: int, catalog: Catalog) -> Agreement:
  """Of the votes on texts that have all of theirs; and of our counter with the grader's length on all votes."""
  given: dict[str, list[tuple[int, ...]]] = {name: [] for name in CRITERIA}
  num_full = 0
  for text in texts:
    votes = [vote for vote in text.votes if vote is not None]
    if num_votes > 1 and len(votes) == len(text.votes) == num_votes:
      num_full += 1
      for name, points in zip(('skill',) * text.k + OTHERS, zip(*votes)):
        given[name].append(points)
  length = [
    vote[-1] == (0 < text.num_sentences <= prompts.limit(catalog, text.k))
    for text in texts
    for vote in text.votes
    if vote
  ]
  return Agreement(
    num_full,
    {name: float(np.mean([len(set(v)) == 1 for v in votes])) for name, votes in given.items() if votes},
    {name: _kappa(votes) for name, votes in given.items() if votes},
    float(np.mean(length)) if length else None,
  )


def decoys(texts: Sequence[GradedText], catalog: Catalog) -> Decoys | None:
  """Counts how often decoys earned their point; None where no decoys were graded."""
  points = [text.decoy.point for text in texts if text.decoy]
  if not points:
    return None
  rate = sum(points) / len(points)
  return Decoys(
    len(points), sum(points), rate, statistics.wilson(rate, len(points)), len(catalog.in_any_text)
  )  # fmt: skip


def by_generation(texts: Sequence[GradedText]) -> list[float]:
  """Returns the Ratio of Full Marks of the first, the second, ... text of a combination."""
  ordered = sorted((text for text in texts if text.marks), key=lambda text: text.generation)
  groups = itertools.groupby(ordered, key=lambda text: text.generation)
  return [float(np.mean([earned.full_marks for earned in marks_of(group)])) for _, group in groups]
