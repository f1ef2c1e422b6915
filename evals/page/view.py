"""What the page is made of: one `RunView` per run, and how its names are written."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evals.results.cells import Cell
from evals.results.contrasts import Contrast
from evals.results.graded import GradedText
from evals.results.summary import RunMetrics

SETTINGS = {
  'train': 'training skills and topics',
  'held_out': 'held-out skills and topics',
  'all': 'all skills and topics',
  'generate': 'combinations for training data',
}
_SHORT_MODELS = {'LLaMA-2-13B-Chat': 'LLaMA', 'Mistral-7B-Instruct-v0.2': 'Mistral'}


@dataclass(frozen=True)
class Exchange:
  """Everything that was said about one text: both prompts and answers, the grading prompt, a reply for each vote."""

  round1: str
  answer1: str
  round2: str
  answer2: str
  grading: str
  votes: Sequence[str | None]


@dataclass(frozen=True)
class RunView:
  """One run: one student, marked by one grader.

  Attributes:
    name: the run's folder.
    raw: (combination, generation) -> what was said.
    row: which row of the paper's tables the student is: 'LLaMA-2-13B-Chat', 'D(1)', 'D(1,2,3)', ...
    model: whose tables: 'LLaMA-2-13B-Chat', 'Mistral-7B-Instruct-v0.2'.
    family: of the grader.
    contrasts: of this run and others of the page.
  """

  name: str
  metrics: RunMetrics
  texts: Sequence[GradedText]
  raw: Callable[[str, int], Exchange] = field(repr=False)
  row: str | None
  model: str | None
  family: str | None
  contrasts: Sequence[Contrast] = ()

  @property
  def grader(self) -> str:
    """The grader as the endpoint named it."""
    return self.metrics.grader or 'nobody yet'

  @property
  def is_base(self) -> bool:
    """Whether this is the untouched model of the paper's tables, without any skill left out: the anchor."""
    return self.row is not None and self.row == self.model and not self.metrics.exclude_skills

  @property
  def hosted(self) -> str:
    """The name of a hosted student, '' of a checkpoint."""
    kind, _, name = self.metrics.student.partition(':')
    return name if kind == 'openai' else ''

  @property
  def is_other_student(self) -> bool:
    """Whether this is a student that the paper does not have, asked the paper's questions of all skills."""
    return self.row is None and self.metrics.catalog == 'paper' and not self.metrics.exclude_skills

  @property
  def cells(self) -> dict[tuple[str, int], Cell]:
    """By (setting, k)."""
    return {(cell.setting, cell.k): cell for cell in self.metrics.cells}


def labels(runs: Sequence[RunView]) -> list[str]:
  """A short name for each run, no two alike: its row in the paper, a hosted student's name, or its folder.

  Where they are needed to tell runs apart, model and grader are added.
  """
  several_models = len({run.model for run in runs if run.model}) > 1
  names = []
  for run in runs:
    name = run.row or run.hosted or run.name
    if several_models and run.row and run.model and run.row != run.model:
      name = f'{short_model(run.model)} {name}'
    if run.row and run.metrics.exclude_skills:
      name += ', common skills removed'
    names.append(name)
  for extra in (lambda run: run.grader, lambda run: run.name):
    count = Counter(names)
    names = [f'{name} · {extra(run)}' if count[name] > 1 else name for name, run in zip(names, runs)]
  count = Counter(names)
  return [f'{name} · {i + 1}' if count[name] > 1 else name for i, name in enumerate(names)]


def joined(names: Sequence[str], most: int = 4) -> str:
  """'D(1), D(1,2) and D(1,2,3)'; of many the first ones, 'and 5 more'."""
  shown = [*names] if len(names) <= most else [*names[: most - 1], f'{len(names) - most + 1} more']
  return f'{", ".join(shown[:-1])} and {shown[-1]}' if len(shown) > 1 else ''.join(shown)


def short_model(model: str) -> str:
  """'LLaMA' for 'LLaMA-2-13B-Chat'."""
  return _SHORT_MODELS.get(model, model)


def by_setting(names) -> list[str]:
  """Settings in the order of `SETTINGS`, then others by name."""
  order = list(SETTINGS)
  return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


def setting_name(setting: str) -> str:
  """'held-out skills and topics' for 'held_out'."""
  return SETTINGS.get(setting, setting)


def slug(text: str) -> str:
  """An HTML id."""
  return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')
