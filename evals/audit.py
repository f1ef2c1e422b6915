"""People against the grader: a sheet of texts to mark blind, and from the filled sheets the agreement.

  python -m evals.audit --run=RUN --out=sheet.csv                  # 100 texts, without what the grader said
  python -m evals.audit --run=RUN --sheets=ann.csv,ben.csv         # kappa; also to RUN/audit.json, for the report

The texts are drawn evenly over settings, k, and whether the grader gave full marks; run `evals.report` first, which
writes RUN/grades.jsonl. Give every person a copy of the same sheet, to fill in 1 (earned) or 0 for each criterion;
'n/a' stands where a text has fewer skills, and an empty cell is left out. The name of a file is the person's name.
"""

import csv
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.files import write_json
from evals.marking import marks
from evals.questions import catalog as catalogs
from evals.questions import prompts
from evals.results import statistics
from evals.results.graded import GradedText
from evals.results.written import share
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.hidden_characters import visible

FLAGS = flags.FLAGS

# Criteria besides the skills; 'topic' is the column that says which topic it is.
OTHERS = tuple('on_topic' if name == 'topic' else name for name in marks.OTHERS)
CRITERIA = ('skills', *OTHERS)  # as agreement is counted: all skills of a text together
SHOWN = ('id', 'topic', 'skills', 'definitions', 'length_limit', 'text')
RESAMPLES = 2_000

Key = tuple[str, int]  # (combination, generation)
Grades = Mapping[Key, GradedText]
Marks = dict[str, list[int | None]]  # criterion -> points; of 'skills' one for each skill, None: not marked


def read_grades(run: Path) -> dict[Key, GradedText]:
  """The texts of RUN/grades.jsonl that have marks."""
  path = run / 'grades.jsonl'
  try:
    lines = path.read_text(encoding='utf-8').split('\n')  # not splitlines: a text may hold U+2028
  except FileNotFoundError:
    raise InputError(f'{path} is missing: python -m evals.report --runs={run} writes it') from None
  except (OSError, UnicodeDecodeError) as error:
    raise InputError(f'{path}: cannot be read ({error})') from None
  found = {}
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
      if row['points'] is not None:
        text = GradedText.from_json(row)
        found[text.combination, text.generation] = text
    except (json.JSONDecodeError, KeyError, TypeError) as error:
      raise InputError(f'{path}:{number}: not a row of grades ({error})') from None
  if not found:
    raise InputError(f'{path} has no text with marks: python -m evals.grade --run={run} asks for them')
  return found


def draw(grades: Grades, n: int, seed: int) -> list[GradedText]:
  """`n` texts, shuffled: even over (setting, k, full marks), no combination twice while its stratum has others."""
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


def sheet(texts: Sequence[GradedText], catalog: catalogs.Catalog) -> str:
  """The CSV to be filled in. It holds nothing that the grader said, and no cell that a spreadsheet would compute."""
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
      f'at most {prompts.num_sentences_text(text.k)}',
      text.text,
    )
    blank = ['' if i < text.k else 'n/a' for i in range(most)]
    writer.writerow([*map(_harmless, shown), *blank, *[''] * len(OTHERS)])
  return file.getvalue()


def _harmless(cell: str) -> str:
  """A text that a spreadsheet takes for a text, with control characters spelled out."""
  cell = visible(cell)
  return "'" + cell if cell.lstrip()[:1] in ('=', '+', '-', '@') else cell


def read_sheet(path: Path, grades: Grades) -> dict[Key, Marks]:
  """What a person marked.

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
  found: dict[Key, Marks] = {}
  columns: list[str] = []
  line = 1
  try:
    for cells in reader:
      if not columns:
        columns = [cell.strip() for cell in cells]
        _check_columns(path, columns)
      elif any(cell.strip() for cell in cells):
        key, points = _read_row(f'{path}:{line}', dict(zip(columns, cells)), grades)
        if key in found:
          raise InputError(f'{path}:{line}: {key[0]}/{key[1]} is there twice')
        found[key] = points
      line = reader.line_num + 1
  except csv.Error as error:
    raise InputError(f'{path}:{line}: no CSV ({error})') from None
  if not any(point is not None for points in found.values() for marked in points.values() for point in marked):
    raise InputError(f'{path}:1: nothing is marked: fill in 1 or 0 in the columns {", ".join(columns[len(SHOWN) :])}')
  return found


def _check_columns(path: Path, columns: Sequence[str]):
  missing = [name for name in ('id', 'skill1', *OTHERS) if name not in columns]
  if missing:
    raise InputError(f'{path}:1: column {missing[0]!r} is missing: is this a sheet that --out wrote?')


def _read_row(where: str, row: dict[str, str], grades: Grades) -> tuple[Key, Marks]:
  name = row['id'].strip().removeprefix("'")
  combination, _, generation = name.rpartition('/')
  key = combination, int(generation) if generation.isdecimal() else -1
  if key not in grades:
    raise InputError(f'{where}: the run has no marked text {name!r}')
  k = grades[key].k
  points: Marks = {name: [_point(where, name, row.get(name, ''))] for name in OTHERS}
  points['skills'] = [_point(where, f'skill{i + 1}', row.get(f'skill{i + 1}', '')) for i in range(k)]
  return key, points


def _point(where: str, column: str, cell: str) -> int | None:
  cell = cell.strip()
  if cell not in ('', '0', '1'):
    raise InputError(f'{where}: {column} is {cell!r}, not 0, 1 or empty')
  return int(cell) if cell else None


def grader_marks(text: GradedText) -> Marks | None:
  """The majority of the votes as the grader gave them: before names were filtered and sentences counted."""
  k, given = text.k, [vote for vote in text.votes if vote]
  points = marks.majority(given, len(text.votes)) if given else None
  if points is None:
    return None
  found: Marks = {'skills': list(points[:k])}
  return found | {name: [points[k + i]] for i, name in enumerate(OTHERS)}


def compare(a: dict[Key, Marks], b: dict[Key, Marks], seed: int) -> dict[str, dict[str, Any]]:
  """Agreement on what both marked, for each criterion.

  Returns:
    criterion -> {'n': points both marked, 'agreement': share of equal ones, 'kappa': Cohen's, 'ci95': bootstrap over
    texts}; kappa is None where both always gave the same one point.
  """
  shared = sorted(a.keys() & b.keys())
  found = {}
  for criterion in CRITERIA:
    texts = []
    for key in shared:
      pairs = [(x, y) for x, y in zip(a[key][criterion], b[key][criterion]) if x is not None and y is not None]
      texts += [pairs] if pairs else []
    points = list(itertools.chain(*texts))
    if points:
      kappa = _finite(statistics.cohen_kappa(*zip(*points)))
      equal = sum(x == y for x, y in points) / len(points)
      interval = _interval(texts, seed) if kappa is not None else None
      found[criterion] = {'n': len(points), 'agreement': equal, 'kappa': kappa, 'ci95': interval}
    else:
      found[criterion] = {'n': 0, 'agreement': None, 'kappa': None, 'ci95': None}
  return found


def _finite(value: float | None) -> float | None:
  return None if value is None or not np.isfinite(value) else float(value)


def _interval(texts: Sequence[Sequence[tuple[int, int]]], seed: int) -> list[float] | None:
  """95 % of kappa when texts (not points: those of a text belong together) are drawn again, from counts per text."""
  counts_Tc = np.array([np.bincount([2 * x + y for x, y in pairs], minlength=4) for pairs in texts])
  drawn_RT = np.random.default_rng(seed).integers(len(texts), size=(RESAMPLES, len(texts)))
  both_no, b_only, a_only, both = np.moveaxis(counts_Tc[drawn_RT].sum(1) / 1.0, -1, 0)
  total = both_no + b_only + a_only + both
  equal = (both_no + both) / total
  chance = ((both + a_only) * (both + b_only) + (both_no + a_only) * (both_no + b_only)) / total**2
  kappas = (equal - chance)[chance < 1] / (1 - chance[chance < 1])
  return [float(bound) for bound in np.quantile(kappas, (0.025, 0.975))] if len(kappas) else None


def audit(run: Path, sheets: Sequence[Path], seed: int) -> dict[str, Any]:
  """What RUN/audit.json holds: each person against the grader, then each two people."""
  grades = read_grades(run)
  names = [path.stem for path in sheets]
  for name in names:
    if names.count(name) > 1 or name == 'grader':
      raise InputError(f'--sheets: two are named {name!r}: the name of a file is the name of the person')
  people = {path.stem: read_sheet(path, grades) for path in sheets}
  keys = set().union(*people.values())
  graders = sorted({grades[key].grader for key in keys})
  given = {key: points for key in keys if (points := grader_marks(grades[key]))}
  pairs = [{'a': name, 'b': 'grader', 'criteria': compare(marked, given, seed)} for name, marked in people.items()]
  for (a, of_a), (b, of_b) in itertools.combinations(people.items(), 2):
    pairs.append({'a': a, 'b': b, 'criteria': compare(of_a, of_b, seed)})
  return {
    'run': run.resolve().name, 'grader': ', '.join(graders), 'texts': len(keys), 'people': names,
    'criteria': list(CRITERIA), 'pairs': pairs,
  }  # fmt: skip


def show(found: dict[str, Any], console: Console):
  """The table on the terminal."""
  title = f'{found["run"]}: {found["texts"]} texts; the grader is {found["grader"]}'
  table = Table(title=Text(visible(title)), title_justify='left', box=box.SIMPLE_HEAD)
  table.add_column('criterion')
  for pair in found['pairs']:
    table.add_column(Text(visible(f'{pair["a"]} and {pair["b"]}')))
  for criterion in found['criteria']:
    table.add_row(criterion, *(_cell(pair['criteria'][criterion]) for pair in found['pairs']))
  console.print(table)
  console.print("Cohen's kappa [95 %, bootstrap over texts], n points, share of equal ones")


def _cell(one: dict[str, Any]) -> str:
  if not one['n']:
    return '–'
  span = f' \\[{share(one["ci95"][0])}, {share(one["ci95"][1])}]' if one['ci95'] else ''
  return f'{share(one["kappa"])}{span}  n = {one["n"]}, {share(one["agreement"])}'


def _write_new(path: Path, content: str):
  """Never over a sheet that someone may have filled in."""
  try:
    with path.open('x', encoding='utf-8-sig', newline='') as file:
      file.write(content)
  except FileExistsError:
    raise InputError(f'--out={path} exists, perhaps with marks in it: give another name') from None
  except OSError as error:
    raise InputError(f'cannot write --out={path}: {error.strerror}') from None


def main():
  if not FLAGS.run:
    raise InputError('--run is missing: the folder of a graded run')
  run = Path(FLAGS.run)
  if FLAGS.sheets:
    found = audit(run, [Path(path) for path in FLAGS.sheets], FLAGS.seed)
    show(found, Console())
    write_json(run / 'audit.json', found)
  elif FLAGS.out:
    texts = draw(read_grades(run), FLAGS.n, FLAGS.seed)
    _write_new(Path(FLAGS.out), sheet(texts, catalogs.load(run / 'catalog')))
    print(f'{FLAGS.out}: {len(texts)} texts; fill in 1 or 0, then run again with --sheets={FLAGS.out}')
  else:
    raise InputError('--out=SHEET.csv (to be filled in) or --sheets=A.csv,B.csv (filled in) is missing')


if __name__ == '__main__':
  flags.DEFINE_string('run', None, 'folder of the run')
  flags.DEFINE_string('out', None, 'the sheet to write')
  flags.DEFINE_list('sheets', [], 'filled sheets, one per person')
  flags.DEFINE_integer('n', 100, 'how many texts', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'of the draw and of the intervals')
  command.run(main)
