"""What the second round changes: a student's first answers against its improved ones, slot by slot."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Self

from evals.replies.run import Run
from evals.replies.waves import Grader
from evals.results import cells, contrasts, graded
from evals.results.cells import METRICS, Cell
from evals.results.contrasts import Contrast
from evals.results.graded import GradedRun, GradedText
from evals.results.trust import CRITERIA

FIRST, IMPROVED = 'first answer', 'improved answer'


@dataclasses.dataclass(frozen=True)
class Change:
  """Points of one criterion that both answers of a slot have, in one setting and k.

  Attributes:
    criterion: one of CRITERIA; 'skill' counts each of the k skills of a text.
    n: points; for a skill k times the texts.
    first: earned by the first answers.
    gained: that only the improved answer earned.
    lost: that only the first answer earned.
  """

  setting: str
  k: int
  criterion: str
  n: int
  first: int
  gained: int
  lost: int

  @property
  def improved(self) -> int:
    """The points that the improved answers earned."""
    return self.first + self.gained - self.lost


@dataclasses.dataclass(frozen=True)
class Improving:
  """First answers against improved ones; `improving` of metrics.json.

  Attributes:
    done: first answers whose points are decided.
    missing: votes on first answers that are not there, or not yet.
    cells: of the first answers.
    gains: improved minus first, on the combinations whose every text has its marks in both rounds.
    changes: by criterion.
  """

  done: int
  missing: int
  cells: tuple[Cell, ...]
  gains: tuple[Contrast, ...]
  changes: tuple[Change, ...]

  def to_json(self) -> dict[str, Any]:
    """Returns what metrics.json holds."""
    return {
      'done': self.done, 'missing': self.missing, 'cells': [cell.to_json() for cell in self.cells],
      'gains': [dataclasses.asdict(gain) for gain in self.gains],
      'changes': [dataclasses.asdict(change) for change in self.changes],
    }  # fmt: skip

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads what metrics.json holds."""
    return cls(
      row['done'], row['missing'], tuple(map(Cell.from_json, row['cells'])),
      tuple(map(Contrast.from_json, row['gains'])), tuple(Change(**change) for change in row['changes']),
    )  # fmt: skip


def first_answers(run: Run, grader: Grader | None) -> list[GradedText]:
  """Returns every first answer with its votes; nothing where no first answer was graded."""
  is_graded = grader in graded.find_graders(run, answers=(1,))
  return list(graded.build(run, grader, answer=1)) if is_graded else []


def compare(
  firsts: GradedRun, improved: GradedRun, wanted: Mapping[tuple[str, int], int], num_votes: int,
  writers: Collection[str] = (),
) -> Improving:  # fmt: skip
  """Compares both answers of one run.

  Args:
    wanted: combinations that were asked for, by setting and k.
    num_votes: asked for, of each text.
    writers: families of the models that wrote the training data, which give no verdict; empty: not known.
  """
  before, after = dataclasses.replace(firsts, name=FIRST), dataclasses.replace(improved, name=IMPROVED)
  refusal = contrasts.refusal([after], writers)
  if before.grader != after.grader:
    refusal = f'first answers were graded by {before.grader} and improved ones by {after.grader}'
  # each metric is a question of its own: Holm corrects over the cells
  gains = [contrasts.decide(contrasts.contrast(after, before, metric), refusal) for metric in METRICS]
  of_first = cells.cells(before.texts, wanted, before.generations, num_votes)
  return Improving(
    done=sum(text.points is not None for text in before.texts),
    missing=sum(cell.missing for cell in of_first),
    cells=tuple(of_first),
    gains=tuple(itertools.chain(*gains)),
    changes=tuple(_changes(before.texts, after.texts)),
  )


def _changes(firsts: Sequence[GradedText], improved: Sequence[GradedText]) -> Iterable[Change]:
  """Returns one for each setting, k and criterion, in the order of the texts."""
  after = {(text.combination, text.generation): text.points for text in improved}
  pairs: dict[tuple[str, int, str], list[tuple[int, int]]] = {}
  for text in firsts:
    points = after.get((text.combination, text.generation))
    if text.points is None or points is None:
      continue
    names = itertools.chain(itertools.repeat(CRITERIA[0], text.k), CRITERIA[1:])
    for criterion, first, second in zip(names, text.points, points, strict=True):
      pairs.setdefault((text.setting, text.k, criterion), []).append((first, second))
  for place, earned in pairs.items():
    yield Change(
      *place, len(earned), sum(first for first, _ in earned), earned.count((0, 1)), earned.count((1, 0))
    )  # fmt: skip
