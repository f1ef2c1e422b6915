"""From replies to graded texts: what every vote gave and what was earned, rebuilt from the ledger whenever wanted."""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from evals import graders
from evals.marking import marks
from evals.marking.marks import Marks
from evals.replies.run import Run, open_run
from evals.replies.waves import VOTE_STEPS, Decoy, Grader, Text, Vote, counted, decoy, texts, votes
from evals.results.comparable import Conditions
from skillmix_jax.errors import InputError

GRADES = {1: 'first_grades.jsonl', 2: 'grades.jsonl'}  # answer -> file of a run with its graded texts
_MARKS = tuple(field.name for field in dataclasses.fields(Marks))


@dataclasses.dataclass(frozen=True)
class GradedDecoy:
  """A skill that was never asked for, put in the place of the skill at `position`, and the point that it earned."""

  position: int
  skill: str
  point: int


@dataclasses.dataclass(frozen=True)
class GradedText:
  """One finished text with its votes; a row of grades.jsonl, in the order of its keys.

  Attributes:
    combination: its id; setting, k, skills and topic are of it.
    grader: as the endpoint named itself; '' before the first vote.
    text: what is graded, taken out of answer2; of a first answer out of answer1, and answer2 is ''.
    votes: each k + 3 points as the grader gave them; None: missing.
    reasons: why a vote is missing, '' where it is not.
    num_sentences: by our own count.
    named: whether each skill is named aloud.
    points: what was earned; None: not decided.
    marks: of these points.
    decoy: of the text's decoy, if it was graded.
  """

  combination: str
  setting: str
  k: int
  skills: tuple[str, ...]
  topic: str
  generation: int
  grader: str
  text: str
  answer1: str
  answer2: str
  votes: tuple[tuple[int, ...] | None, ...]
  reasons: tuple[str, ...]
  num_sentences: int
  named: tuple[bool, ...]
  points: tuple[int, ...] | None
  marks: Marks | None
  decoy: GradedDecoy | None = None

  def to_json(self) -> dict[str, Any]:
    """Returns a row of grades.jsonl."""
    row = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    earned, swapped = row.pop('marks'), row.pop('decoy')
    row |= dataclasses.asdict(earned) if earned else dict.fromkeys(_MARKS)
    return row | {'decoy': dataclasses.asdict(swapped)} if swapped else row

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads a row of grades.jsonl; its marks follow from its points. Raises KeyError, TypeError or ValueError."""
    plain = ('combination', 'setting', 'k', 'topic', 'generation', 'grader', 'text', 'answer1', 'answer2')
    points = None if row['points'] is None else tuple(row['points'])
    return cls(
      **{name: row[name] for name in plain},
      skills=tuple(row['skills']),
      votes=tuple(tuple(vote) if vote else None for vote in row['votes']),
      reasons=tuple(row['reasons']),
      num_sentences=row['num_sentences'],
      named=tuple(row['named']),
      points=points,
      marks=None if points is None else marks.marks(points, row['k']),
      decoy=GradedDecoy(**row['decoy']) if 'decoy' in row else None,
    )


@dataclasses.dataclass(frozen=True)
class GradedRun:
  """A run as far as comparisons need it.

  Attributes:
    name: of the folder, see `comparable.names`.
    texts: all that are finished.
    grader: names that the endpoint gave.
    family: who trained the grader; None where its name does not say.
    conditions: what another run must have in common with it to be compared.
    asked: the grader as it was asked for.
    folder: what the folder is called where several graders marked the run, each a `GradedRun`; '': as `name`.
    students: combination -> the names that the student's endpoint gave.
  """

  name: str
  texts: Sequence[GradedText]
  grader: str
  family: str | None
  conditions: Conditions = dataclasses.field(default_factory=Conditions)
  students: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
  asked: str = ''
  folder: str = ''

  @property
  def generations(self) -> int:
    """Texts for each combination."""
    return self.conditions.generations


def find_graders(run: Run, answers: Collection[int] = (1, 2)) -> list[Grader]:
  """Returns whose votes on these answers the ledger holds, in the order in which their first votes came.

  Raises:
    InputError: a grader was asked with two sets of parameters.
  """
  steps = {VOTE_STEPS[answer] for answer in answers}
  first: dict[tuple[str, str], tuple[str, str]] = {}
  for row in run.ledger.rows():
    if row.slot.step in steps:
      who = (row.model, json.dumps(row.params, sort_keys=True))
      first[who] = min(first.get(who, row.order), row.order)
  models = [model for model, _ in first]
  if twice := sorted(params for model, params in first if models.count(model) > 1):
    raise InputError(
      f'{run.path} holds votes of one grader that was asked with {twice[0]} and with {twice[1]}: move the votes of one '
      'to a copy of the folder'
    )
  return [Grader(model, json.loads(params)) for model, params in sorted(first, key=lambda who: (first[who], who))]


def find_grader(run: Run, answers: Collection[int] = (1, 2)) -> Grader | None:
  """Returns the grader whose marks are the run's: of several that which voted first; None where it has no votes."""
  return next(iter(find_graders(run, answers)), None)


def build(run: Run, grader: Grader | None, answer: int = 2) -> Iterator[GradedText]:
  """Yields every finished text with its votes."""
  decoys = (row.slot for row in run.ledger.rows() if row.slot.step == 'decoy' and answer == 2)
  with_decoy = {(slot.combination, slot.generation) for slot in decoys}
  for text in texts(run, answer):
    given = votes(run, grader, text) if grader else []
    swapped = decoy(run, grader, text) if grader and (text.combination.id, text.generation) in with_decoy else None
    yield _graded(run, text, given, swapped)


def _graded(run: Run, text: Text, given: Sequence[Vote], swapped: Decoy | None) -> GradedText:
  combination, own = text.combination, counted(run, text)
  earned = [own.earned(vote.points) for vote in given if vote.points]
  points = marks.majority(earned, run.settings.votes) if earned else None
  return GradedText(
    combination=combination.id, setting=combination.setting, k=combination.k, skills=tuple(combination.skills),
    topic=combination.topic, generation=text.generation,
    grader=' and '.join(sorted({name for vote in given if vote.row and (name := vote.row.envelope.model)})),
    text=text.text, answer1=text.answer1, answer2=text.answer2,
    votes=tuple(tuple(vote.points) if vote.points else None for vote in given),
    reasons=tuple(vote.reason or ('not asked yet' if vote.pending else '') for vote in given),
    num_sentences=own.num_sentences, named=own.named, points=points,
    marks=marks.marks(points, combination.k) if points else None, decoy=_graded_decoy(swapped),
  )  # fmt: skip


def _graded_decoy(swapped: Decoy | None) -> GradedDecoy | None:
  if swapped is None or not swapped.vote.points:
    return None
  return GradedDecoy(swapped.position, swapped.skill, swapped.vote.points[swapped.position])


def grader_names(graded: Sequence[GradedText]) -> str:
  """Returns the names that the endpoint gave, usually one."""
  return ', '.join(sorted({text.grader for text in graded if text.grader}))


def student_names(run: Run) -> dict[str, set[str]]:
  """Returns combination -> the names that the student's endpoint gave; two where the model was renamed in between."""
  by_combination: dict[str, set[str]] = {}
  for row in run.ledger.rows():
    if row.slot.step in ('answer1', 'answer2') and row.model == run.student.model and (name := row.envelope.model):
      by_combination.setdefault(row.slot.combination, set()).add(name)
  return by_combination


def as_compared(
  run: Run, grader: Grader, graded: Sequence[GradedText], name: str = '', folder: str = ''
) -> GradedRun:  # fmt: skip
  """Returns what comparisons need of a run; its `name` is that of the folder where none is given."""
  return GradedRun(
    name or run.path.name, graded, grader_names(graded), graders.family(grader.model), Conditions.of(run, grader),
    student_names(run), grader.model, folder,
  )  # fmt: skip


def under(name: str, grader: Grader, several: bool) -> str:
  """Returns what to call a run as marked by one of several graders: 'base by gpt-6-luna'."""
  return f'{name} by {grader.model}' if several else name


def load_all(path: Path, name: str = '') -> list[GradedRun]:
  """Returns a run with the marks of each of its graders; raises InputError where it has no votes."""
  run = open_run(path)
  known, name = find_graders(run, answers=(2,)), name or path.name
  if not known:
    raise InputError(f'{path} has no votes yet: run evals.grade first')
  several = len(known) > 1
  return [as_compared(run, grader, list(build(run, grader)), under(name, grader, several), name) for grader in known]


def load(path: Path, name: str = '') -> GradedRun:
  """Returns a run with its marks, of several graders those of the first; raises InputError where it has no votes."""
  return load_all(path, name)[0]
