"""Whether a student's replies are whole: a text that was cut or refused is marked as it is, and nobody would know."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from evals.replies.canary import REFUSED
from evals.replies.ledger import Reply
from evals.replies.run import Run
from evals.results.graded import GradedText

ODD = ('refused', 'cut', 'unfinished', 'empty')


@dataclasses.dataclass(frozen=True)
class StudentHealth:
  """The student's replies of both rounds; `student_health` of metrics.json. A reply has at most one of ODD.

  Attributes:
    replies: all of them.
    refused: by the model or a filter.
    cut: at the cap of tokens.
    unfinished: a thought that begins with <think> and never ends.
    empty: without a character.
    no_text: finished texts in which there is nothing to grade; they earn no point.
    names: that the endpoint gave; two where the model was renamed in between.
  """

  replies: int
  refused: int
  cut: int
  unfinished: int
  empty: int
  no_text: int
  names: tuple[str, ...]

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads it from metrics.json."""
    return cls(**dict(row) | {'names': tuple(row['names'])})

  def describe(self) -> str:
    """Writes '20 cut, 3 empty of 80 replies; 20 texts without a word to grade'; '' where nothing is odd."""
    odd = ', '.join(f'{getattr(self, name):,} {name}' for name in ODD if getattr(self, name))
    parts = [f'{odd} of {self.replies:,} replies'] if odd else []
    parts += [f'{self.no_text:,} texts without a word to grade, which earn no point'] if self.no_text else []
    parts += [f'renamed in between: {", ".join(self.names)}'] if len(self.names) > 1 else []
    return '; '.join(parts)


def examine(run: Run, texts: Sequence[GradedText]) -> StudentHealth:
  """Looks at every reply of the run's student, and at what is graded of them."""
  rows = [
    row for row in run.ledger.rows() if row.slot.step in ('answer1', 'answer2') and row.model == run.student.model
  ]
  kinds = [_odd(row.reply) for row in rows]
  return StudentHealth(
    replies=len(rows), refused=kinds.count('refused'), cut=kinds.count('cut'),
    unfinished=kinds.count('unfinished'), empty=kinds.count('empty'),
    no_text=sum(not text.text.strip() for text in texts),
    names=tuple(sorted({name for row in rows if (name := row.envelope.model)})),
  )  # fmt: skip


def _odd(reply: Reply) -> str:
  """Returns one of ODD, or ''."""
  if reply.finish_reason in REFUSED:
    return 'refused'
  if reply.finish_reason == 'length':
    return 'cut'
  if '<think>' in reply.text and '</think>' not in reply.text:
    return 'unfinished'
  return '' if reply.text.strip() else 'empty'
