"""Whether two runs may be compared: what marks depend on besides the student must be alike in both."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from evals.replies.run import Run
from evals.replies.waves import Grader
from skillmix_jax.errors import InputError

_SAMPLING = ('temperature', 'top_p', 'max_tokens')
_COUNTING = ('generations', 'votes', 'length', 'name_filter', 'grading_prompt')


@dataclasses.dataclass(frozen=True)
class Conditions:
  """What marks depend on besides student, grader and questions.

  How many votes an adaptive run saves is not of it: they decide what all would have.

  Attributes:
    catalog: name and fingerprint; every prompt is part of it.
    temperature, top_p, max_tokens: sent to the student; None: not sent. top_p is 1 where nobody sets it.
    generations: texts for each combination, of which the best counts.
    votes: that a majority is taken of.
    length, name_filter, grading_prompt: see `Settings`.
    grader_params: what the grader was sent besides messages, as JSON.
  """

  catalog: str = ''
  temperature: float | None = None
  top_p: float | None = 1.0
  max_tokens: int | None = None
  generations: int = 1
  votes: int = 3
  length: str = 'count'
  name_filter: bool = True
  grading_prompt: str = 'grade'
  grader_params: str = '{}'

  @classmethod
  def of(cls, run: Run, grader: Grader) -> Self:
    """Those of a run."""
    sent, settings = run.student.params, run.settings
    return cls(
      catalog=f'{run.catalog.name} {run.catalog.fingerprint[:8]}', temperature=sent.get('temperature'),
      top_p=sent.get('top_p', 1.0), max_tokens=sent.get('max_tokens'),
      **{name: getattr(settings, name) for name in _COUNTING},
      grader_params=json.dumps(grader.params, sort_keys=True),
    )  # fmt: skip


class Graded(Protocol):
  """As much of a `GradedRun` as is looked at here."""

  @property
  def name(self) -> str: ...
  @property
  def grader(self) -> str: ...
  @property
  def conditions(self) -> Conditions: ...


def refusal(a: Graded, b: Graded, but: Sequence[str] = ()) -> str:
  """Why two runs are not comparable and how to make them so; '' where they are.

  Graders are compared by the names that the endpoint gave. Where a run has several of them, each cell is looked at when
  it is compared.

  Args:
    but: conditions that may differ.
  """
  of_a, of_b = dataclasses.asdict(a.conditions), dataclasses.asdict(b.conditions)
  differing = [name for name in of_a if of_a[name] != of_b[name] and name not in but]
  said = [f'{name.replace("_", " ")} ({_value(of_b[name])} and {_value(of_a[name])})' for name in differing]
  if other_grader := not same_grader(a, b):
    said.append(f'grader ({b.grader} and {a.grader})')
  if not said:
    return ''
  remedies = []
  if odd := [name for name in differing if name in _SAMPLING]:
    remedies.append(f'sample {a.name} again, into another --run, with {_flags(odd, of_b, "student.")}')
  if 'catalog' in differing:
    remedies.append('sample one of them again, into another --run, from the catalog of the other')
  if odd := [name for name in differing if name in _COUNTING]:
    remedies.append(
      f'repeat evals.sample and evals.grade of {a.name} with {_flags(odd, of_b)}: they ask only for what is missing'
    )
  if other_grader or 'grader_params' in differing:
    remedies.append('grade both with the same grader and its parameters')
  return f'{b.name} and {a.name} are not comparable: they differ in {", ".join(said)}; {"; ".join(remedies)}'


def same_grader(a: Graded, b: Graded) -> bool:
  """Says whether two runs have a grader in common, by the names that its endpoint gave."""
  return bool(set(a.grader.split(', ')) & set(b.grader.split(', ')))


def _value(value: Any) -> str:
  return 'not sent' if value is None else str(value)


def _flags(names: Sequence[str], values: Mapping[str, Any], prefix: str = '') -> str:
  return ' '.join(f'--config.{prefix}{name}={values[name]}' for name in names)


def names(paths: Sequence[Path]) -> list[str]:
  """What to call runs: of each path the fewest last parts that no other ends in ('base', or 's1/base' and 's2/base').

  Raises InputError where two paths are the same folder.
  """
  full = [path.resolve() for path in paths]
  if twice := [path for path, where in zip(paths, full) if full.count(where) > 1]:
    raise InputError(f'{twice[0]} is given twice')
  tails = lambda parts: [parts[-depth:] for depth in range(1, len(parts) + 1)]
  shortest = []
  for where in full:
    others = [other.parts for other in full if other != where]
    shortest.append(next(tail for tail in tails(where.parts) if all(other[-len(tail) :] != tail for other in others)))
  return ['/'.join(tail) for tail in shortest]
