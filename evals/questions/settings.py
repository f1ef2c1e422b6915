"""What a run asks for: the keys of configs/eval_paper.py, checked before anything is paid for."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from skillmix_jax.errors import InputError

MOST = 1_000_000  # of anything that is counted: more is a slip of the keyboard, and would be computed for days
MOST_TEXTS = 10_000_000
MOST_SEED = 2**63 - 1

# What may change once answers exist, since no answer depends on it.
MAY_CHANGE = frozenset({
  'settings', 'ks', 'num_combinations', 'generations', 'votes', 'votes_mode', 'grading_prompt', 'length', 'name_filter',
  'paper_row',
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
  """The numbers and names of a run; `from_config` checks them.

  Attributes:
    catalog: folder of skills, topics and prompts; empty: the paper's.
    combinations: a JSONL file of combinations instead of random ones; empty: random.
    settings: of 'train', 'held_out', 'all', 'generate'.
    ks: numbers of skills in a text.
    num_combinations: of each k, in the order of ks.
    generations: texts for each combination.
    votes: gradings of each text.
    votes_mode: 'all', or 'adaptive': the last vote only where those before it cannot decide.
    exclude_skills: names, or '@FILE' with one a line.
    split: how skills are divided into train and held-out: 'category' (the paper's method) or 'table'.
    length: whose point the length is: 'count' (our counter) or 'grader'.
    name_filter: a skill whose name is in the text earns nothing.
    grading_prompt: which template of the catalog the grader gets.
    paper_row: which row of the paper's tables this student is, for example 'LLaMA-2-13B-Chat D(1,2)'; empty: none.
    seed: of combinations and noise.
    student: temperature, top_p, max_tokens; None: not sent to a hosted model.
  """

  catalog: str
  combinations: str
  settings: tuple[str, ...]
  ks: tuple[int, ...]
  num_combinations: tuple[int, ...]
  generations: int
  votes: int
  votes_mode: str
  exclude_skills: tuple[str, ...]
  split: str
  length: str
  name_filter: bool
  grading_prompt: str
  paper_row: str
  seed: int
  student: dict[str, Any]

  def to_dict(self) -> dict[str, Any]:
    """Returns the settings as plain JSON."""
    return dataclasses.asdict(self)


def _names(value: object, key: str) -> tuple[str, ...]:
  values = (value,) if isinstance(value, str) else value
  if not isinstance(values, (list, tuple)) or not all(isinstance(name, str) and name for name in values):
    raise InputError(f"{key}={value!r} must be names, for example --config.{key}=\"('held_out', 'all')\"")
  return tuple(values)


def _whole(value: object, key: str, smallest: int, largest: int = MOST) -> int:
  if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
    raise InputError(f'{key}={value!r} must be a whole number from {smallest} to {largest:,}')
  return value


def _whole_numbers(value: object, key: str) -> tuple[int, ...]:
  values = value if isinstance(value, (list, tuple)) else (value,)
  return tuple(_whole(number, key, 1) for number in values)


def parse_ks(texts: Sequence[str]) -> list[int]:
  """Reads the numbers of a flag --ks=2,3; raises InputError for anything else."""
  if odd := [text for text in texts if not text.isdigit()]:
    raise InputError(f'--ks={",".join(texts)}: {odd[0]!r} is not a number')
  return [int(text) for text in texts]


def _one_of(value: object, key: str, allowed: tuple[str, ...]) -> str:
  if not isinstance(value, str) or value not in allowed:
    raise InputError(f'{key}={value!r} is not one of {", ".join(allowed)}')
  return value


def _number(value: object, key: str, low: float, high: float) -> float | None:
  if value is None:
    return None
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
    raise InputError(f'{key}={value!r} must be a number from {low:g} to {high:g}, or None')
  return float(value)


def from_config(config: Mapping[str, Any]) -> Settings:
  """Checks the plain dict of a config and returns its settings.

  Raises:
    InputError: a key is missing or unknown, or its value makes no sense.
  """
  wanted = {field.name for field in dataclasses.fields(Settings)}
  if wanted != set(config):
    odd = sorted(wanted ^ set(config))[0]
    raise InputError(f'the config has no key {odd!r}' if odd in wanted else f'the config has an unknown key {odd!r}')
  ks = _whole_numbers(config['ks'], 'ks')
  num_combinations = _whole_numbers(config['num_combinations'], 'num_combinations')
  if len(num_combinations) not in (1, len(ks)):
    raise InputError(f'num_combinations={num_combinations} must be one number, or one for each of ks={ks}')
  if len(set(ks)) < len(ks):
    raise InputError(f'ks={ks} names a number twice')
  settings = _names(config['settings'], 'settings')
  if len(set(settings)) < len(settings):
    raise InputError(f'settings={settings} names a setting twice')
  generations = _whole(config['generations'], 'generations', 1)
  num_combinations = num_combinations if len(num_combinations) == len(ks) else num_combinations * len(ks)
  if (num_texts := len(settings) * sum(num_combinations) * generations) > MOST_TEXTS:
    raise InputError(
      f'{num_texts:,} texts are asked for (settings x num_combinations x generations), more than {MOST_TEXTS:,}: '
      'lower num_combinations or generations'
    )
  student = dict(config['student'])
  if student.keys() != {'temperature', 'top_p', 'max_tokens'}:
    raise InputError(f'student has the keys {", ".join(student)}; it needs temperature, top_p and max_tokens')
  max_tokens = student['max_tokens']
  return Settings(
    catalog=config['catalog'] or '',
    combinations=config['combinations'] or '',
    settings=settings,
    ks=ks,
    num_combinations=num_combinations,
    generations=generations,
    votes=_whole(config['votes'], 'votes', 1),
    votes_mode=_one_of(config['votes_mode'], 'votes_mode', ('all', 'adaptive')),
    exclude_skills=_names(config['exclude_skills'], 'exclude_skills') if config['exclude_skills'] else (),
    split=_one_of(config['split'], 'split', ('category', 'table')),
    length=_one_of(config['length'], 'length', ('count', 'grader')),
    name_filter=bool(config['name_filter']),
    grading_prompt=_one_of(config['grading_prompt'], 'grading_prompt', ('grade', 'grade_claude')),
    paper_row=config['paper_row'] or '',
    seed=_whole(config['seed'], 'seed', 0, MOST_SEED),
    student={
      'temperature': _number(student['temperature'], 'student.temperature', 0, 2),
      'top_p': _number(student['top_p'], 'student.top_p', 0, 1),
      'max_tokens': None if max_tokens is None else _whole(max_tokens, 'student.max_tokens', 1),
    },
  )
