"""Several graders of the same texts beside each other, cell by cell: what each of them says, is worth and costs."""

import dataclasses
import math
import statistics as plain
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from evals import graders
from evals.marking import marks
from evals.replies import cost, waves
from evals.replies.ledger import Row
from evals.replies.run import Run
from evals.replies.waves import Grader, Text
from evals.results import statistics
from evals.results.graded import GradedText

Place = tuple[str, int]  # setting, k


@dataclasses.dataclass(frozen=True)
class GraderCell:
  """One grader in one setting and k.

  Attributes:
    family: who trained it; None where its name does not say.
    texts: that it has given marks to.
    full_marks: share of these that have full marks; None where it has marked none.
    votes: that could be read.
    agreement: share of the texts with all their votes whose votes, each taken alone, give full marks alike.
    effective_votes: what these votes of a text are worth, see `statistics.effective_number`; None: not known.
    like_others: share of the texts that others marked, too, with the same full marks; the mean over the others.
    readable: share of its replies that could be read.
    seconds: from asking to the reply, the median.
    dollars: for each vote that could be read, with all that was paid for others; None: a price is not known.
  """

  grader: str
  family: str | None
  setting: str
  k: int
  texts: int
  full_marks: float | None
  votes: int
  agreement: float | None
  effective_votes: float | None
  like_others: float | None
  readable: float | None
  seconds: float | None
  dollars: float | None


@dataclasses.dataclass(frozen=True)
class Together:
  """All graders of a run in one setting and k.

  Attributes:
    texts: that all of them have marked.
    kappa: Fleiss', of their full marks; None where all are the same.
    effective_graders: what they are worth, see `statistics.effective_number`.
  """

  setting: str
  k: int
  texts: int
  kappa: float | None
  effective_graders: float | None


@dataclasses.dataclass(frozen=True)
class GraderTable:
  """`graders` of metrics.json; only where a run has several."""

  num_votes: int
  cells: tuple[GraderCell, ...]
  together: tuple[Together, ...]

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads the dict of its fields."""
    cells, together = (GraderCell(**cell) for cell in row['cells']), (Together(**each) for each in row['together'])
    return cls(row['num_votes'], tuple(cells), tuple(together))


def compare(run: Run, by_grader: Sequence[tuple[Grader, Sequence[GradedText]]]) -> GraderTable:
  """Looks at every grader of a run; each comes with the texts as it marked them."""
  places = list(dict.fromkeys((text.setting, text.k) for _, texts in by_grader for text in texts))
  full = [_full_marks(texts) for _, texts in by_grader]
  alone = [_verdicts(run, grader) for grader, _ in by_grader]
  replies = [_replies(run, grader) for grader, _ in by_grader]  # after `_verdicts`, which reads them
  cells = [
    _cell(place, grader.model, full[i][place], full[:i] + full[i + 1 :], alone[i][place], replies[i][place])
    for place in places
    for i, (grader, _) in enumerate(by_grader)
  ]
  return GraderTable(run.settings.votes, tuple(cells), tuple(_together(place, full) for place in places))


def _full_marks(texts: Sequence[GradedText]) -> dict[Place, dict[tuple[str, int], int]]:
  full: dict[Place, dict[tuple[str, int], int]] = defaultdict(dict)
  for text in texts:
    if text.marks is not None:
      full[text.setting, text.k][text.combination, text.generation] = text.marks.full_marks
  return full


def _verdicts(run: Run, grader: Grader) -> dict[Place, list[tuple[int, ...]]]:
  """What each vote of a text says alone about full marks, of the texts that have all their votes."""
  verdicts: dict[Place, list[tuple[int, ...]]] = defaultdict(list)
  for text in waves.texts(run):
    votes = waves.votes(run, grader, text)
    every = waves.gets_every_vote(run, text.combination.id, text.generation)
    if every and len(votes) == run.settings.votes > 1 and all(vote.points for vote in votes):
      verdicts[text.combination.setting, text.combination.k].append(_alone(run, text, votes))
  return verdicts


def _alone(run: Run, text: Text, votes: Sequence[waves.Vote]) -> tuple[int, ...]:
  earned, k = waves.counted(run, text).earned, text.combination.k
  return tuple(marks.marks(earned(vote.points), k).full_marks for vote in votes if vote.points)


def _replies(run: Run, grader: Grader) -> dict[Place, list[tuple[Row, bool]]]:
  """Every reply to a vote of the grader that was looked at, and whether it could be read."""
  places = {combination.id: (combination.setting, combination.k) for combination in run.combinations}
  replies: dict[Place, list[tuple[Row, bool]]] = defaultdict(list)
  for row, (points, _) in run.gradings.items():
    if (row.slot.step, row.model) == (waves.VOTE_STEPS[2], grader.model):
      replies[places[row.slot.combination]].append((row, points is not None))
  return replies


def _cell(
  place: Place, model: str, full: Mapping[tuple, int], others: Sequence[Mapping[Place, Mapping[tuple, int]]],
  alone: Sequence[tuple[int, ...]], replies: Sequence[tuple[Row, bool]],
) -> GraderCell:  # fmt: skip
  prices = [cost.of_row(row) for row, _ in replies]
  num_read = sum(is_read for _, is_read in replies)
  known = num_read and None not in prices
  alike = [_alike(full, other[place]) for other in others if place in other]
  return GraderCell(
    grader=model, family=graders.family(model), setting=place[0], k=place[1], texts=len(full),
    full_marks=sum(full.values()) / len(full) if full else None, votes=num_read,
    agreement=sum(len(set(votes)) == 1 for votes in alone) / len(alone) if alone else None,
    effective_votes=_worth(alone),
    like_others=plain.mean(shares) if (shares := [share for share in alike if share is not None]) else None,
    readable=num_read / len(replies) if replies else None,
    seconds=plain.median(row.envelope.seconds for row, _ in replies) if replies else None,
    dollars=sum(price or 0.0 for price in prices) / num_read if known else None,
  )  # fmt: skip


def _alike(a: Mapping[tuple, int], b: Mapping[tuple, int]) -> float | None:
  shared = a.keys() & b.keys()
  return sum(a[key] == b[key] for key in shared) / len(shared) if shared else None


def _kappa(verdicts: Sequence[tuple[int, ...]]) -> float | None:
  kappa = statistics.fleiss_kappa(verdicts) if verdicts else math.nan
  return None if math.isnan(kappa) else kappa


def _worth(verdicts: Sequence[tuple[int, ...]]) -> float | None:
  kappa = _kappa(verdicts)
  return None if kappa is None else statistics.effective_number(len(verdicts[0]), kappa)


def _together(place: Place, full: Sequence[Mapping[Place, Mapping[tuple, int]]]) -> Together:
  marked = [of[place] for of in full if place in of]
  shared = sorted(set.intersection(*(set(of) for of in marked))) if len(marked) > 1 else []
  verdicts = [tuple(of[key] for of in marked) for key in shared]
  return Together(*place, len(shared), _kappa(verdicts), _worth(verdicts))
