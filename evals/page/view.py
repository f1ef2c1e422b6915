"""What the page is made of: one `RunView` per run, and how its numbers and names are written."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SETTINGS = {
  'train': 'training skills and topics',
  'held_out': 'held-out skills and topics',
  'all': 'all skills and topics',
  'generate': 'combinations for training data',
}
_SHORT_MODELS = {'LLaMA-2-13B-Chat': 'LLaMA', 'Mistral-7B-Instruct-v0.2': 'Mistral'}
# Cc control, Cf format (right-to-left marks), Cs lone surrogates, Co private, Cn unassigned, Zl and Zp line breaks
_HIDDEN = ('Cc', 'Cf', 'Cs', 'Co', 'Cn', 'Zl', 'Zp')


@dataclass(frozen=True)
class RunView:
  """One run: one student, marked by one grader."""

  name: str  # the run's folder
  metrics: dict  # metrics.json
  grades: Sequence[dict]  # rows of grades.jsonl
  # (combination, generation) -> {'round1', 'answer1', 'round2', 'answer2', 'grading', 'votes': [reply or None, ...]}
  raw: Callable[[str, int], dict] = field(repr=False)
  row: str | None  # which row of the paper's tables the student is: 'LLaMA-2-13B-Chat', 'D(1)', 'D(1,2,3)', ...
  model: str | None  # whose tables: 'LLaMA-2-13B-Chat', 'Mistral-7B-Instruct-v0.2'
  family: str | None  # of the grader

  @property
  def grader(self) -> str:
    """The grader as the endpoint named it."""
    return self.metrics['grader'] or 'nobody yet'

  @property
  def is_base(self) -> bool:
    """Whether this is the untouched model of the paper's tables, without any skill left out: the anchor."""
    return self.row is not None and self.row == self.model and not self.metrics.get('exclude_skills')

  @property
  def cells(self) -> dict[tuple[str, int], dict]:
    """The cells of metrics.json by (setting, k)."""
    return {(cell['setting'], cell['k']): cell for cell in self.metrics['cells']}


def labels(runs: Sequence[RunView]) -> list[str]:
  """A short name for each run, no two alike: its row in the paper or its folder; model and grader where they differ."""
  several_models = len({run.model for run in runs if run.model}) > 1
  names = []
  for run in runs:
    name = run.row or run.name
    if several_models and run.row and run.model and run.row != run.model:
      name = f'{short_model(run.model)} {name}'
    if run.row and run.metrics.get('exclude_skills'):
      name += ', common skills removed'
    names.append(name)
  for extra in (lambda run: run.grader, lambda run: run.name):
    count = Counter(names)
    names = [f'{name} · {extra(run)}' if count[name] > 1 else name for name, run in zip(names, runs)]
  count = Counter(names)
  return [f'{name} · {i + 1}' if count[name] > 1 else name for i, name in enumerate(names)]


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


def share(value: float | None, digits: int = 2) -> str:
  """As the paper prints it: '.37', '1.00'."""
  if value is None or math.isnan(value):
    return '–'
  text = f'{abs(value):.{digits}f}'
  negative = value < 0 and float(text) != 0
  return ('−' if negative else '') + (text[1:] if text.startswith('0') else text)


def signed(value: float | None, digits: int = 2) -> str:
  """'+.05', '−.05', '.00'."""
  text = share(value, digits)
  return '+' + text if value is not None and round(value, digits) > 0 else text


def probability(p: float | None) -> str:
  """'p = .03', 'p < .001'."""
  if p is None:
    return ''
  return 'p < .001' if p < 0.001 else f'p = {share(p, 3 if p < 0.1 else 2)}'


def visible(text: str) -> str:
  """Text that cannot act or hide: control and format characters are spelled out, line breaks and tabs stay."""
  return ''.join(f'\\u{ord(c):04x}' if unicodedata.category(c) in _HIDDEN and c not in '\n\t' else c for c in text)


def slug(text: str) -> str:
  """An HTML id."""
  return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')
