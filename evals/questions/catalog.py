"""A catalog: skills, topics and prompts, read from a folder and checked before anything is asked or paid for.

    FOLDER/skills.json   {"skills": [{"name", "category", "table", "definition", "example"}, ...]}, if wanted also
                         "language" and "revised_sentences"
    FOLDER/topics.json   {"train": [...], "held_out": [...]}; one half may be empty if no setting asks for it
    FOLDER/prompts/      student_round1.txt, student_round2.txt, grade.txt, optionally grade_claude.txt
    FOLDER/in_almost_any_text.txt   optional: names of skills that make no good decoys, one a line

Other keys and files are ignored. Without prompts/ the paper's are used. Texts are kept verbatim: a trailing blank in a
definition is part of the prompt. docs/guides/skills.md shows how to bring one's own.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import string
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from skillmix_jax.errors import InputError

PAPER = Path(__file__).parent.parent / 'catalogs' / 'paper'
IN_ANY_TEXT = 'in_almost_any_text.txt'
SETTINGS = ('train', 'held_out', 'all', 'generate')
SPLITS = ('category', 'table')
HALVES = ('train', 'held_out')
TRAIN_CATEGORIES = ('literary', 'rhetorical')  # C.1; all other categories are held out

# What a template may contain, and what it must: without these the question or the rubric would be another one.
FIELDS = {
  'student_round1': {'topic', 'skills_str', 'skills_defs_and_examples_simple', 'num_sentences_str'},
  'student_round2': {'topic', 'skills_str', 'skills_defs_and_examples_simple', 'num_sentences_str'},
  'grade': {
    'topic', 'skills_str', 'skills_defs_and_examples_simple', 'num_sentences_str', 'rubric_items', 'student_answer',
  },
}  # fmt: skip
REQUIRED_FIELDS = {
  'student_round1': {'topic', 'skills_str'},
  'student_round2': {'num_sentences_str'},
  'grade': {'topic', 'skills_str', 'num_sentences_str', 'rubric_items', 'student_answer'},
}
FIELDS['grade_claude'], REQUIRED_FIELDS['grade_claude'] = FIELDS['grade'], REQUIRED_FIELDS['grade']


@dataclasses.dataclass(frozen=True)
class Skill:
  """One skill, verbatim; `table` is 'train' or 'held_out': where the paper prints it."""

  name: str
  category: str
  table: str
  definition: str
  example: str


@dataclasses.dataclass(frozen=True)
class Catalog:
  """What can be asked. `fingerprint`: 16 hex digits over skills, topics and prompts, in their order."""

  name: str
  skills: tuple[Skill, ...]
  topics: dict[str, tuple[str, ...]]  # 'train', 'held_out'
  prompts: dict[str, str]  # str.format templates; 'grade_claude' only if the folder has it
  fingerprint: str
  language: str | None = None  # 'minimix' for the toy world, whose grader is exact
  folder: Path = PAPER  # where skills.json and topics.json were read
  # The longest text that earns the length point, for every k; None: the paper's max(1, k - 1). The second prompt and
  # the grader's name it, the first keeps the paper's number.
  revised_sentences: int | None = None
  in_any_text: frozenset[str] = frozenset()  # names of skills that occur in almost any text; empty: nobody said which

  @functools.cached_property
  def _by_name(self) -> dict[str, Skill]:
    return {skill.name: skill for skill in self.skills}

  def skill(self, name: str) -> Skill:
    """Raises InputError with the closest names if there is no such skill."""
    if name not in self._by_name:
      raise InputError(f'catalog {self.name!r} has no skill {name!r}{closest(name, self._by_name)}')
    return self._by_name[name]

  def pool(
    self, setting: str, split: str = 'category', exclude: Collection[str] = (), k: int | None = None
  ) -> tuple[tuple[Skill, ...], tuple[str, ...]]:
    """Skills and topics that a setting draws from, in the catalog's order.

    `generate` is the setting of the training data: training topics, and training skills except at k = 1, where all
    skills are used (D(1), footnote 3).
    """
    if setting not in SETTINGS:
      raise InputError(f'setting {setting!r} is not one of {", ".join(SETTINGS)}{_comma_hint(setting)}')
    if split not in SPLITS:
      raise InputError(f'split {split!r} is not one of {", ".join(SPLITS)}')
    excluded = {self.skill(name).name for name in exclude}
    if setting == 'all' or (setting == 'generate' and k == 1):
      skills = self.skills
    else:
      skills = tuple(skill for skill in self.skills if is_train_skill(skill, split) == (setting != 'held_out'))
      if not skills:
        raise InputError(_empty_half(self.name, setting, split))
    half = 'held_out' if setting == 'held_out' else 'train'
    topics = self.topics[half]
    if setting == 'all':
      topics = tuple(dict.fromkeys(self.topics['train'] + self.topics['held_out']))
    if not topics:
      raise InputError(f'catalog {self.name!r} has no {half} topics: add some to topics.json, or leave {setting} out')
    return tuple(skill for skill in skills if skill.name not in excluded), topics


def is_train_skill(skill: Skill, split: str) -> bool:
  """Says whether a skill is of the training half; `split` says how that is decided."""
  return skill.category in TRAIN_CATEGORIES if split == 'category' else skill.table == 'train'


def closest(name: str, names: Iterable[str]) -> str:
  """Returns ': did you mean ...' or nothing, for the end of an error message."""
  near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
  return ': did you mean ' + ' or '.join(map(repr, near)) + '?' if near else ''


def _comma_hint(value: str) -> str:
  """Explains that ml_collections reads a,b as one string, where that may have happened."""
  if not isinstance(value, str) or ',' not in value:
    return ''
  return '; several are written "(' + ','.join(repr(part.strip()) for part in value.split(',')) + ')"'


def _empty_half(name: str, setting: str, split: str) -> str:
  half = 'held_out' if setting == 'held_out' else 'train'
  if split == 'category':
    rule = f'split=category counts the categories {", ".join(TRAIN_CATEGORIES)} as train and all others as held_out'
    return f'catalog {name!r} leaves no {half} skills: {rule}; use split=table, which goes by the "table" of each skill'
  return f'catalog {name!r} leaves no {half} skills: no skill has "table": "{half}"'


def load(folder: str | Path | None = None) -> Catalog:
  """Reads and checks a folder; None or '' is the paper's. Raises InputError that names file and value."""
  path = Path(folder) if folder else PAPER
  if not path.is_dir():
    raise InputError(f'catalog {path} is not a folder; it needs skills.json and topics.json (docs/guides/skills.md)')
  record = _read_json(path / 'skills.json')
  skills = _skills(path / 'skills.json', record)
  topics = _topics(path / 'topics.json')
  prompts = _prompts(path / 'prompts' if (path / 'prompts').exists() else PAPER / 'prompts')
  language = record.get('language')
  if language is not None and not isinstance(language, str):
    raise InputError(f'{path / "skills.json"}: "language" is {language!r}, not a string')
  revised = record.get('revised_sentences')
  if revised is not None and (type(revised) is not int or revised < 1):
    raise InputError(f'{path / "skills.json"}: "revised_sentences" is {revised!r}, not a whole number of 1 or more')
  parts = [[dataclasses.astuple(skill) for skill in skills], topics, prompts, *([revised] if revised else [])]
  content = json.dumps(parts, sort_keys=True)
  fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]
  in_any_text = _in_any_text(path / IN_ANY_TEXT, skills)
  return Catalog(path.resolve().name, skills, topics, prompts, fingerprint, language, path, revised, in_any_text)


def _in_any_text(path: Path, skills: Sequence[Skill]) -> frozenset[str]:
  """Reads the names in the file; those that are no skill (remarks, skills that a copy has dropped) are passed over."""
  lines = {line.strip() for line in _read_text(path).splitlines()} if path.is_file() else set()
  return frozenset(skill.name for skill in skills if skill.name.strip() in lines)


def read_exclusions(names: str | Sequence[str], catalog: Catalog) -> frozenset[str]:
  """Names of skills to leave out; '@FILE' means the names in a file, one in each line. Every name is checked."""
  wanted: set[str] = set()
  for name in [names] if isinstance(names, str) else names:
    if not isinstance(name, str):
      raise InputError(f'exclude_skills: {name!r} is not the name of a skill')
    if name.startswith('@'):
      wanted |= _names_in_file(Path(name[1:]), catalog)
    elif name:
      try:
        wanted.add(catalog.skill(name).name)
      except InputError as error:
        raise InputError(f'exclude_skills: {error}{_comma_hint(name)}') from None
  return frozenset(wanted)


def _names_in_file(path: Path, catalog: Catalog) -> set[str]:
  stripped = {skill.name.strip(): skill.name for skill in catalog.skills}
  chosen = set()
  for number, line in enumerate(_read_text(path).split('\n'), 1):
    if line.strip() and line.strip() not in stripped:
      known = closest(line.strip(), stripped)
      raise InputError(f'{path}:{number}: catalog {catalog.name!r} has no skill {line.strip()!r}{known}')
    if line.strip():
      chosen.add(stripped[line.strip()])
  return chosen


def _read_text(path: Path) -> str:
  """Reads a file byte for byte: line ends are part of a prompt."""
  try:
    return path.read_bytes().decode('utf-8')
  except OSError as error:
    raise InputError(f'{path}: {error.strerror or error}') from None
  except UnicodeDecodeError as error:
    raise InputError(f'{path}: not UTF-8 at byte {error.start}') from None


def _read_json(path: Path) -> dict[str, Any]:
  try:
    record = json.loads(_read_text(path))
  except json.JSONDecodeError as error:
    raise InputError(f'{path}:{error.lineno}: not JSON: {error.msg}') from None
  if not isinstance(record, dict):
    raise InputError(f'{path}: a JSON object is needed, not {type(record).__name__}')
  return record


def _list(path: Path, record: dict, key: str) -> list:
  value = record.get(key)
  if not isinstance(value, list) or not value:
    said = 'is missing' if key not in record else 'is empty' if value == [] else f'is {value!r}'[:60]
    raise InputError(f'{path}: "{key}" {said}; it must be a list with at least one entry')
  return value


def _skills(path: Path, record: dict) -> tuple[Skill, ...]:
  skills: list[Skill] = []
  seen: dict[str, str] = {}
  keys = [field.name for field in dataclasses.fields(Skill)]
  for number, entry in enumerate(_list(path, record, 'skills'), 1):
    if not isinstance(entry, dict):
      raise InputError(f'{path}: skill {number} is {entry!r}, not an object with {", ".join(keys)}')
    where = f'{path}: skill {number} ({entry.get("name")!r})'
    for key in keys:
      if not isinstance(entry.get(key), str):
        said = 'is missing' if key not in entry else f'is {entry[key]!r}, not a string'
        raise InputError(f'{where}: "{key}" {said}')
    skill = Skill(**{key: entry[key] for key in keys})
    if not skill.name.strip():
      raise InputError(f'{where}: "name" is blank')
    if skill.table not in HALVES:
      raise InputError(f'{where}: "table" is {skill.table!r}; it must be "train" or "held_out"')
    criterion = skill.name.strip().lower()  # as the rubric prints it: two equal ones could not be told apart
    if criterion in seen:
      raise InputError(f'{where}: the name occurs twice, first as {seen[criterion]!r}')
    seen[criterion] = skill.name
    skills.append(skill)
  return tuple(skills)


def _topics(path: Path) -> dict[str, tuple[str, ...]]:
  record = _read_json(path)
  if not any(record.get(half) for half in HALVES):
    raise InputError(f'{path}: no topics; it needs "train", "held_out" or both, each a list of texts')
  topics = {}
  for half in HALVES:
    names = _list(path, record, half) if record.get(half, []) != [] else []
    for number, name in enumerate(names, 1):
      if not isinstance(name, str) or not name.strip():
        raise InputError(f'{path}: topic {number} of "{half}" is {name!r}, not a text')
      if name in names[: number - 1]:
        raise InputError(f'{path}: topic {name!r} occurs twice in "{half}"')
    topics[half] = tuple(names)
  return topics


def _prompts(folder: Path) -> dict[str, str]:
  prompts = {}
  for name in FIELDS:
    path = folder / f'{name}.txt'
    if name == 'grade_claude' and not path.exists():
      continue
    if not path.exists():
      raise InputError(f'{path} is missing; a prompts folder has all of {", ".join(REQUIRED_PROMPTS)}')
    prompts[name] = _read_text(path)
    _check_template(path, prompts[name], FIELDS[name], REQUIRED_FIELDS[name])
  return prompts


REQUIRED_PROMPTS = tuple(f'{name}.txt' for name in FIELDS if name != 'grade_claude')


def _check_template(path: Path, template: str, allowed: set[str], required: set[str]):
  try:
    parts = list(string.Formatter().parse(template))
  except ValueError as error:
    raise InputError(f'{path}: {error}; a brace that is meant as text is doubled: {{{{ or }}}}') from None
  used = set()
  for _, field, spec, conversion in parts:
    if field is None:
      continue
    if field not in allowed:
      known = ', '.join('{' + name + '}' for name in sorted(allowed))
      raise InputError(f'{path}: field {{{field}}} is unknown; there are {known}; a brace meant as text is doubled')
    if spec or conversion:
      raise InputError(f'{path}: field {{{field}}} has a format or conversion; texts go in verbatim')
    used.add(field)
  if missing := sorted(required - used):
    raise InputError(f'{path}: field {{{missing[0]}}} is missing')
