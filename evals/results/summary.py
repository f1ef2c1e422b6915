"""All that is known of a graded run: what metrics.json holds."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from evals.replies import cost, waves
from evals.replies.run import Run
from evals.replies.waves import Grader
from evals.results import cells, improving, student_health, trust
from evals.results.cells import Cell
from evals.results.graded import GradedText, as_compared, grader_names
from evals.results.grader_table import GraderTable
from evals.results.improving import Improving
from evals.results.student_health import StudentHealth
from evals.results.training_data import TrainingData
from evals.results.trust import Agreement, Decoys


@dataclasses.dataclass(frozen=True)
class Spent:
  """Requests, tokens and dollars of a run's ledger, student and grader together; of another than the first grader its
  votes alone.

  Attributes:
    dollars: None where the price of a model is not known.
    started: time of the first reply, '' where there is none; ended: of the last.
  """

  requests: int
  prompt_tokens: int
  completion_tokens: int
  dollars: float | None
  started: str
  ended: str

  def to_json(self) -> dict[str, Any]:
    """As metrics.json has it."""
    tokens = {'prompt_tokens': self.prompt_tokens, 'completion_tokens': self.completion_tokens}
    return {
      'requests': self.requests, 'tokens': tokens, 'dollars': self.dollars, 'started': self.started,
      'ended': self.ended,
    }  # fmt: skip

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """From metrics.json."""
    return cls(row['requests'], **row['tokens'], dollars=row['dollars'], started=row['started'], ended=row['ended'])


@dataclasses.dataclass(frozen=True)
class Seen:
  """Cells of skill sets that the training files combine, and of others.

  Attributes:
    train_data: names of the files.
    num_skill_sets: that they combine.
  """

  train_data: tuple[str, ...]
  num_skill_sets: int
  cells: tuple[Cell, ...]

  def to_json(self) -> dict[str, Any]:
    """As metrics.json has it."""
    return {
      'train_data': list(self.train_data), 'num_skill_sets': self.num_skill_sets,
      'cells': [cell.to_json() for cell in self.cells],
    }  # fmt: skip

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """From metrics.json."""
    return cls(tuple(row['train_data']), row['num_skill_sets'], tuple(map(Cell.from_json, row['cells'])))


@dataclasses.dataclass(frozen=True)
class RunMetrics:
  """metrics.json, in the order of its keys; `seen` only where --train_data was given.

  `improving` is there only where first answers were graded, `graders` only where there are several.

  Attributes:
    student_fingerprint: what its replies are filed under.
    student_params: what it was sent besides messages.
    grader: the names that the endpoint gave; '' before the first vote.
    grader_requested: the name that was asked for.
    done: texts whose points are decided, of `wanted`.
    unparsed: votes that no attempt could read.
    student_health: None where an earlier version wrote the file.
    by_generation: Ratio of Full Marks of the first, the second, ... text of a combination.
  """

  student: str
  student_fingerprint: str
  student_params: Mapping[str, Any]
  grader: str
  grader_requested: str
  catalog: str
  prompts_sha256: str
  prompt: str
  seed: int
  votes_mode: str
  length: str
  name_filter: bool
  exclude_skills: tuple[str, ...]
  done: int
  wanted: int
  unparsed: int
  cells: tuple[Cell, ...]
  by_generation: tuple[float, ...]
  agreement: Agreement
  decoys: Decoys | None
  seen: Seen | None
  spent: Spent
  improving: Improving | None = None
  student_health: StudentHealth | None = None
  graders: GraderTable | None = None

  def to_json(self) -> dict[str, Any]:
    """What metrics.json holds."""
    row = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    row |= {
      'cells': [cell.to_json() for cell in self.cells],
      'agreement': dataclasses.asdict(self.agreement),
      'decoys': self.decoys.to_json() if self.decoys else None,
    }
    seen, improving, spent = row.pop('seen'), row.pop('improving'), row.pop('spent')
    row |= {'seen': seen.to_json()} if seen else {}
    health = row.pop('student_health')
    row |= {'student_health': dataclasses.asdict(health)} if health else {}
    several = row.pop('graders')
    row |= {'graders': dataclasses.asdict(several)} if several else {}
    return row | ({'improving': improving.to_json()} if improving else {}) | spent.to_json()

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """From what metrics.json holds; raises KeyError where it is not that."""
    plain = {field.name: row[field.name] for field in dataclasses.fields(cls) if field.name not in _OPTIONAL}
    return cls(**plain | {
      'exclude_skills': tuple(row['exclude_skills']), 'cells': tuple(map(Cell.from_json, row['cells'])),
      'by_generation': tuple(row['by_generation']), 'agreement': Agreement(**row['agreement']),
      'decoys': Decoys.from_json(row['decoys']) if row['decoys'] else None,
      'seen': Seen.from_json(row['seen']) if 'seen' in row else None, 'spent': Spent.from_json(row),
      'improving': Improving.from_json(row['improving']) if 'improving' in row else None,
      'student_health': StudentHealth.from_json(row['student_health']) if 'student_health' in row else None,
      'graders': GraderTable.from_json(row['graders']) if 'graders' in row else None,
    })  # fmt: skip


_OPTIONAL = ('seen', 'improving', 'spent', 'student_health', 'graders')  # not a key of their own in every metrics.json


def count_spent(run: Run, grader: Grader | None, graders: Sequence[Grader]) -> Spent:
  """Counts every reply, at the price of the tier that it was answered at; votes of several graders apart."""
  others = {other.model for other in graders if other != grader}
  is_first = grader in (None, *graders[:1])
  num_requests = num_prompt = num_completion = 0
  spent, known, times = 0.0, True, []
  for row in run.ledger.rows():
    is_vote = row.slot.step not in ('answer1', 'answer2')
    if (is_vote and row.model in others) or not (is_vote or is_first):
      continue
    reply = row.envelope
    tokens = reply.usage['prompt_tokens'], reply.usage['completion_tokens']
    times.append(reply.time)
    num_requests += 1
    num_prompt += tokens[0]
    num_completion += tokens[1]
    price = cost.of_row(row)
    known = known and price is not None
    spent += price or 0.0
  return Spent(
    num_requests, num_prompt, num_completion, spent if known else None, min(times, default=''), max(times, default='')
  )


def summarize(
  run: Run, grader: Grader | None, texts: Sequence[GradedText], data: TrainingData | None,
  firsts: Sequence[GradedText] = (), graders: Sequence[Grader] = (),
) -> RunMetrics:  # fmt: skip
  """The metrics of a run.

  Args:
    texts: every finished text with its votes.
    data: the files that its student was trained on, where they are known.
    firsts: the first answers, where they were graded.
    graders: all of the run.
  """
  settings = run.settings
  asked = settings.generations, settings.votes
  wanted = Counter((combination.setting, combination.k) for combination in run.combinations)
  seen = None
  if data is not None:
    its = tuple(cells.seen_cells(texts, data.skill_sets, *asked))
    seen = Seen(tuple(data.files), len(data.skill_sets), its)
  both = None
  if grader and firsts:
    first, second = as_compared(run, grader, firsts), as_compared(run, grader, texts)
    both = improving.compare(first, second, wanted, settings.votes, data.families if data else ())
  every = [text for text in texts if waves.gets_every_vote(run, text.combination, text.generation)]
  return RunMetrics(
    student=run.student.name, student_fingerprint=run.student.model, student_params=run.student.params,
    grader=grader_names(texts), grader_requested=grader.model if grader else '',
    catalog=run.catalog.name, prompts_sha256=run.catalog.fingerprint, prompt=settings.grading_prompt,
    seed=settings.seed, votes_mode=settings.votes_mode, length=settings.length, name_filter=settings.name_filter,
    exclude_skills=tuple(settings.exclude_skills), done=sum(text.points is not None for text in texts),
    wanted=len(run.combinations) * settings.generations,
    unparsed=sum(bool(reason) and reason != 'not asked yet' for text in texts for reason in text.reasons),
    cells=tuple(cells.cells(texts, wanted, *asked)), by_generation=tuple(trust.by_generation(texts)),
    agreement=trust.agreement(every, settings.votes, run.catalog), decoys=trust.decoys(texts, run.catalog), seen=seen,
    spent=count_spent(run, grader, graders), improving=both, student_health=student_health.examine(run, texts),
  )  # fmt: skip
