"""The sheet that people fill in without seeing what the grader said, and what they marked."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evals.files import read_jsonl
from evals.marking import marks
from evals.questions import prompts
from evals.questions.catalog import Catalog
from evals.results.graded import GradedText
from skillmix_jax.errors import InputError
from skillmix_jax.hidden_characters import visible

# Criteria besides the skills; 'topic' is the column that says which topic it is.
OTHERS = tuple('on_topic' if name == 'topic' else name for name in marks.OTHERS)
CRITERIA = ('skills', *OTHERS)  # as agreement is counted: all skills of a text together
SHOWN = ('id', 'topic', 'skills', 'definitions', 'length_limit', 'text')

Key = tuple[str, int]  # (combination, generation)
Grades = Mapping[Key, GradedText]
Marked = dict[str, list[int | None]]  # criterion -> points; of 'skills' one for each skill, None: not marked


def read_grades(run: Path) -> dict[Key, GradedText]:
  """Returns the texts of RUN/grades.jsonl that have marks."""
  path = run / 'grades.jsonl'
  if not path.is_file():
    raise InputError(f'{path} is missing: python -m evals.report --runs={run} writes it')
  texts = {}
  for where, row in read_jsonl(path):
    try:
      if row['points'] is not None:
        text = GradedText.from_json(row)
        texts[text.combination, text.generation] = text
    except (KeyError, TypeError, ValueError) as error:
      raise InputError(f'{where}: not a row of grades ({error})') from None
  if not texts:
    raise InputError(f'{path} has no text with marks: python -m evals.grade --run={run} asks for them')
  return texts


def draw(grades: Grades, n: int, seed: int) -> list[GradedText]:
  """Draws `n` shuffled texts: even over (setting, k, full marks), no combination twice while its stratum has others."""
  chance = np.random.default_rng(seed)
  strata: dict[tuple, list[GradedText]] = defaultdict(list)
  texts = sorted(grades.values(), key=lambda text: (text.combination, text.generation))
  for i in chance.permutation(len(texts)):
    strata[texts[i].setting, texts[i].k, texts[i].marks and texts[i].marks.full_marks].append(texts[i])
  chosen: list[GradedText] = []
  used: set[str] = set()
  queues = [strata[name] for name in sorted(strata)]
  while len(chosen) < n and any(queues):
    for queue in queues:
      if queue and len(chosen) < n:
        i = next((i for i, text in enumerate(queue) if text.combination not in used), 0)
        chosen.append(queue.pop(i))
        used.add(chosen[-1].combination)
  return [chosen[i] for i in chance.permutation(len(chosen))]


def sheet(texts: Sequence[GradedText], catalog: Catalog) -> str:
  """Writes the CSV to be filled in, without anything that the grader said and without a cell that a spreadsheet would
  compute.
  """
  most = max(text.k for text in texts)
  skills = [f'skill{i + 1}' for i in range(most)]
  file = io.StringIO()
  writer = csv.writer(file)
  writer.writerow([*SHOWN, *skills, *OTHERS])
  for text in texts:
    known = [catalog.skill(name) for name in text.skills]
    shown = (
      f'{text.combination}/{text.generation}',
      text.topic,
      '\n'.join(f'{i}. {skill.name}' for i, skill in enumerate(known, 1)),
      '\n'.join(f'{i}. {skill.definition} For example, {skill.example}' for i, skill in enumerate(known, 1)),
      f'at most {prompts.limit_text(catalog, text.k)}',
      text.text,
    )
    blank = ['' if i < text.k else 'n/a' for i in range(most)]
    writer.writerow([*map(_harmless, shown), *blank, *[''] * len(OTHERS)])
  return file.getvalue()


def _harmless(cell: str) -> str:
  """Returns a text that a spreadsheet takes for a text, with control characters spelled out."""
  cell = visible(cell)
  return "'" + cell if cell.lstrip()[:1] in ('=', '+', '-', '@') else cell


def read_sheet(path: Path, grades: Grades) -> dict[Key, Marked]:
  """Reads what a person marked.

  Raises:
    InputError: with FILE:LINE, where a row is of no text of the run, twice there, or marked with anything but 0 and 1.
  """
  try:
    content = path.read_text(encoding='utf-8-sig')
  except OSError as error:
    raise InputError(f'{path}: {error.strerror}') from None
  except UnicodeDecodeError as error:
    line = error.object[: error.start].count(b'\n') + 1
    raise InputError(f'{path}:{line}: not UTF-8; save the sheet as "CSV UTF-8"') from None
  head = content.split('\n', 1)[0]
  reader = csv.reader(io.StringIO(content, newline=''), delimiter=';' if head.count(';') > head.count(',') else ',')
  by_key: dict[Key, Marked] = {}
  columns: list[str] = []
  line = 1
  try:
    for cells in reader:
      if not columns:
        columns = [cell.strip() for cell in cells]
        _check_columns(path, columns)
      elif any(cell.strip() for cell in cells):
        key, points = _read_row(f'{path}:{line}', dict(zip(columns, cells)), grades)
        if key in by_key:
          raise InputError(f'{path}:{line}: {key[0]}/{key[1]} occurs twice')
        by_key[key] = points
      line = reader.line_num + 1
  except csv.Error as error:
    raise InputError(f'{path}:{line}: no CSV ({error})') from None
  if not any(point is not None for points in by_key.values() for marked in points.values() for point in marked):
    raise InputError(f'{path}:1: nothing is marked: fill in 1 or 0 in the columns {", ".join(columns[len(SHOWN) :])}')
  return by_key


def _check_columns(path: Path, columns: Sequence[str]):
  missing = [name for name in ('id', 'skill1', *OTHERS) if name not in columns]
  if missing:
    raise InputError(f'{path}:1: column {missing[0]!r} is missing: is this a sheet that --out wrote?')


def _read_row(where: str, row: dict[str, str], grades: Grades) -> tuple[Key, Marked]:
  name = row.get('id', '').strip().removeprefix("'")
  key = next((key for key in grades if name == f'{key[0]}/{key[1]}'), None)
  if key is None:
    raise InputError(f'{where}: the run has no marked text {name!r}')
  k = grades[key].k
  points: Marked = {name: [_point(where, name, row.get(name, ''))] for name in OTHERS}
  points['skills'] = [_point(where, f'skill{i + 1}', row.get(f'skill{i + 1}', '')) for i in range(k)]
  return key, points


def _point(where: str, column: str, cell: str) -> int | None:
  cell = cell.strip()
  if cell not in ('', '0', '1'):
    raise InputError(f'{where}: {column} is {cell!r}, not 0, 1 or empty')
  return int(cell) if cell else None


def grader_marks(text: GradedText) -> Marked | None:
  """Returns the majority of the votes as the grader gave them: before names were filtered and sentences counted."""
  k, given = text.k, [vote for vote in text.votes if vote]
  points = marks.majority(given, len(text.votes)) if given else None
  if points is None:
    return None
  marked: Marked = {'skills': list(points[:k])}
  return marked | {name: [points[k + i]] for i, name in enumerate(OTHERS)}
