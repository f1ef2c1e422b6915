"""The tables of the page as plain values: the paper's beside ours, the anchor, seen and unseen, single generations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.page.graders import anchor, grader_note, graders, missing_anchors, usual_n
from evals.page.view import RunView, by_setting, labels, setting_name, short_model
from evals.questions.printed import ASSUMED_N, Printed, Results
from evals.results import statistics
from evals.results.cells import NAMES as METRICS

Pair = tuple[float, float]


@dataclass(frozen=True)
class Number:
  """One cell of one line."""

  value: float | None
  interval: Pair | None = None
  is_difference: bool = False
  misprint: str = ''
  note: str = ''  # 'n = 97', '3 votes missing'

  @property
  def excludes_zero(self) -> bool:
    """Whether a difference is outside what chance explains."""
    return self.is_difference and self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Line:
  """Numbers of one origin along the columns. `kind`: 'paper', 'ours', 'difference' or 'offset'."""

  kind: str
  label: str
  numbers: Sequence[Number | None]


@dataclass(frozen=True)
class Row:
  """A student and its lines."""

  name: str
  lines: Sequence[Line]


@dataclass(frozen=True)
class Block:
  """Rows under one heading."""

  heading: str
  rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
  """One metric of one table."""

  title: str
  columns: Sequence[str]
  blocks: Sequence[Block]
  first: str = 'student'  # what the rows are


@dataclass(frozen=True)
class Section:
  """One or two of the paper's tables, one `Table` for each metric."""

  title: str
  caption: str
  tables: Sequence[Table]
  graders: str
  warning: str = ''
  has_run: bool = True
  notes: Sequence[str] = ()


def difference(a: float, of_a: Pair, b: float, of_b: Pair) -> Pair:
  """Interval of a - b of independent numbers from their own: of Wilson intervals it is Newcombe's (`statistics`)."""
  low = a - b - math.hypot(a - of_a[0], of_b[1] - b)
  high = a - b + math.hypot(of_a[1] - a, b - of_b[0])
  return max(-1.0, low), min(1.0, high)


def paper_number(printed: Printed | None) -> Number | None:
  """A cell of the paper with the interval it would have at n = 100."""
  if printed is None:
    return None
  return Number(printed.value, statistics.wilson(printed.value, ASSUMED_N), misprint=printed.misprint)


def our_number(cell: dict | None, metric: str, usual_n: int | None, missing: bool = False) -> Number | None:
  """A cell of metrics.json; says n where it is not the usual one, and `missing` votes if asked to."""
  if cell is None:
    return None
  notes = [f'n = {cell["n"]}'] if cell['n'] != usual_n else []
  notes += [f'{cell["missing"]} missing'] if missing and cell.get('missing') else []
  notes += [f'refused: {cell["refused"]}'] if cell.get('refused') else []
  interval = (cell.get('ci95') or {}).get(metric)
  return Number(cell.get(metric), tuple(interval) if interval else None, note=', '.join(notes))


def minus(ours: Number | None, other: Number | None) -> Number | None:
  """ours - other with its interval."""
  if ours is None or other is None or ours.value is None or other.value is None:
    return None
  interval = None
  if ours.interval and other.interval:
    interval = difference(ours.value, ours.interval, other.value, other.interval)
  return Number(ours.value - other.value, interval, is_difference=True, misprint=other.misprint)


def _student(run: RunView, table: int, results: Results) -> tuple[str, str] | None:
  """(model, row) of a table that a run can stand beside."""
  if run.model is None or run.row is None or bool(run.metrics.get('exclude_skills')) != (table == 6):
    return None
  address = run.model, run.row
  return address if address in results.rows(table) else None


def paper_sections(runs: Sequence[RunView], results: Results) -> list[Section]:
  """Tables 1 and 10, 3 and 11, 4, 5, 6: the paper, ours, the difference."""
  plan = (
    (10, 'Tables 1 and 10', 'LLaMA-2-13B-Chat fine-tuned; table 1 is table 10 without the Ratio of All Skills.'),
    (
      11,
      'Tables 3 and 11',
      'Mistral-7B-Instruct-v0.2 fine-tuned; table 3 is table 11 without the Ratio of All Skills.',
    ),
    (4, 'Table 4', 'LLaMA-2-13B-Chat: 8,000 dialogs with k = 3 among them against all dialogs of k = 1 and 2.'),
    (5, 'Table 5', 'LLaMA-2-13B-Chat under two graders of the paper.'),
    (6, 'Table 6', 'k = 5, common skills removed (the paper does not print which).'),
  )
  return [_paper_section(table, title, caption, runs, results) for table, title, caption in plan]


def _paper_section(table: int, title: str, caption: str, runs: Sequence[RunView], results: Results) -> Section:
  matching = [run for run in runs if _student(run, table, results)]
  of_paper = results.graders if table == 5 else ('gpt-4',)
  columns = results.columns(table)
  settings = by_setting(setting for setting, _ in columns)
  metrics = [m for m in METRICS if table in (10, 11) or m != 'ratio_of_all_skills']
  tables: list[Table] = []
  misprints: dict[str, None] = {}
  for metric in metrics:
    if table == 6:
      rows = [_row(table, student, columns, metric, of_paper, matching, runs, results) for student in results.rows(6)]
      blocks, heads = [Block('k = 5', rows)], [s.replace('_', '-') for s, _ in columns]
    else:
      blocks = []
      for setting in settings:
        its = [column for column in columns if column[0] == setting]
        rows = [_row(table, student, its, metric, of_paper, matching, runs, results) for student in results.rows(table)]
        if table == 4 and matching:  # it lacks the row that tells the grader's offset
          base = results.rows(4)[0][0]
          rows.insert(0, _row(10, (base, base), its, metric, of_paper, [r for r in runs if r.is_base], runs, results))
        blocks.append(Block(setting_name(setting), rows))
      heads = [f'k = {k}' for k in dict.fromkeys(k for _, k in columns)]
    tables.append(Table(METRICS[metric], heads, blocks))
    numbers = [n for b in blocks for r in b.rows for line in r.lines for n in line.numbers]
    misprints |= {n.misprint: None for n in numbers if n and n.misprint}
  note = f'The paper: graded by {" and ".join(of_paper)}'
  if matching:
    note = f'{grader_note(matching)}. {note}'
  warning = ' '.join(missing_anchors(matching, runs))
  return Section(title, caption, tables, note, warning, bool(matching), [f'† {text}.' for text in misprints])


def _row(table, student, columns, metric, of_paper, matching, runs, results: Results) -> Row:
  model, name = student
  lines, printed = [], {}
  for grader in of_paper:
    printed[grader] = [
      paper_number(results.get(table, grader, model, name, setting, k, metric)) for setting, k in columns
    ]
    if any(printed[grader]):
      label = 'paper' if len(of_paper) == 1 else f'paper, {grader}'
      lines.append(Line('paper', label, printed[grader]))
  its = [run for run in matching if (run.model, run.row) == student]
  for run in its:
    ours = [our_number(run.cells.get(column), metric, usual_n(run)) for column in columns]
    if not any(ours):
      continue
    several = len(graders(runs)) > 1
    lines.append(Line('ours', f'ours, {run.grader}' if several or len(of_paper) > 1 else 'ours', ours))
    for grader, theirs in printed.items():
      if not any(theirs):
        continue
      base = anchor(run, runs)
      what = 'grader’s offset' if run is base else 'difference' if base else 'difference, no anchor'
      versus = f' to {grader}' if len(of_paper) > 1 else ''
      lines.append(Line('offset' if run is base else 'difference', what + versus, list(map(minus, ours, theirs))))
  prefix = f'{short_model(model)} ' if table == 6 and name != model else ''
  return Row(prefix + name, lines)


def anchor_tables(runs: Sequence[RunView], results: Results) -> list[Table]:
  """The untouched base models today against the paper's base rows: what the grader alone changes."""
  tables = []
  bases = [run for run in runs if run.is_base]
  for metric, title in METRICS.items():
    blocks = []
    for run in bases:
      rows, columns = [], sorted({k for _, k in run.cells})
      for setting in by_setting(setting for setting, _ in run.cells):
        theirs = [paper_number(results.find(run.model, run.row, setting, k, metric)) for k in columns]
        if not any(theirs):
          continue
        ours = [our_number(run.cells.get((setting, k)), metric, usual_n(run)) for k in columns]
        offset = Line('offset', 'grader’s offset', list(map(minus, ours, theirs)))
        rows.append(
          Row(setting_name(setting), [Line('paper', 'paper, gpt-4', theirs), Line('ours', 'ours', ours), offset])
        )
      if rows:
        blocks.append((columns, Block(f'{run.row}, graded by {run.grader}', rows)))
    for ks in dict.fromkeys(tuple(of) for of, _ in blocks):
      its = [block for of, block in blocks if tuple(of) == ks]
      tables.append(Table(title, [f'k = {k}' for k in ks], its, first='setting'))
  return tables


def our_tables(runs: Sequence[RunView]) -> list[Table]:
  """Every cell of every run, without the paper."""
  return [
    _cells_table(runs, title, lambda run, cell, m=metric: _plain(run, cell, m)) for metric, title in METRICS.items()
  ]


def _plain(run: RunView, cell: dict | None, metric: str) -> list[tuple[str, str, Number | None]]:
  lines = [('ours', '', our_number(cell, metric, usual_n(run), missing=True))]
  wide = ((cell or {}).get('by_skill_ci95') or {}).get(metric)
  if any((c.get('by_skill_ci95') or {}).get(metric) for c in run.metrics['cells']):
    value = cell.get(metric) if cell else None
    lines.append(('paper', 'for other skills', Number(value, tuple(wide)) if wide else None))
  return lines


def single_tables(runs: Sequence[RunView]) -> list[Table]:
  """The best of the generations beside the mean of one: what a user of the model meets."""

  def lines(run, cell, metric):
    best, one = our_number(cell, metric, usual_n(run)), ((cell or {}).get('mean_of_one') or {}).get(metric)
    num = (cell or {}).get('num_generations')
    one_interval = (((cell or {}).get('mean_of_one') or {}).get('ci95') or {}).get(metric)
    gain = best.value - one if best and best.value is not None and one is not None else None
    return [
      ('ours', f'best of {num}' if num else 'best of all', best),
      (
        'paper',
        'one generation',
        Number(one, tuple(one_interval) if one_interval else None) if one is not None else None,
      ),
      ('difference', 'gain', Number(gain, is_difference=True) if gain is not None else None),
    ]

  if not any(cell.get('mean_of_one') for run in runs for cell in run.metrics['cells']):
    return []
  return [_cells_table(runs, title, lambda r, c, m=metric: lines(r, c, m)) for metric, title in METRICS.items()]


def _cells_table(runs, title, lines_of) -> Table:
  ks = sorted({k for run in runs for _, k in run.cells})
  blocks = []
  for setting in by_setting(setting for run in runs for setting, _ in run.cells):
    rows = []
    for name, run in zip(labels(runs), runs):
      found = [lines_of(run, run.cells.get((setting, k)), ) for k in ks]  # fmt: skip
      if any(number for lines in found for _, _, number in lines):
        rows.append(Row(name, _transpose(found)))
    blocks.append(Block(setting_name(setting), rows))
  return Table(title, [f'k = {k}' for k in ks], blocks)


def _transpose(columns: Sequence[Sequence[tuple[str, str, Number | None]]]) -> list[Line]:
  """One list of (kind, label, number) per column -> lines. A label is taken from a column that has a number."""
  lines = []
  for parts in zip(*columns):
    kind, label, _ = next((part for part in parts if part[2] is not None), parts[0])
    lines.append(Line(kind, label, [number for _, _, number in parts]))
  return lines


def seen_tables(runs: Sequence[RunView]) -> list[Table]:
  """Skill sets that stand in the training files against those that do not."""
  runs = [run for run in runs if (run.metrics.get('seen') or {}).get('cells')]
  if not runs:
    return []

  def cell_lines(run, setting, k, metric):
    cells = {c['seen']: c for c in run.metrics['seen']['cells'] if (c['setting'], c['k']) == (setting, k) and c['n']}
    seen, unseen = (our_number(cells.get(flag), metric, None) for flag in (True, False))
    return [
      ('ours', 'seen in training', seen),
      ('ours', 'unseen', unseen),
      ('difference', 'unseen − seen', minus(unseen, seen)),
    ]

  tables = []
  for metric, title in METRICS.items():
    ks = sorted({cell['k'] for run in runs for cell in run.metrics['seen']['cells']})
    blocks = []
    for setting in by_setting(cell['setting'] for run in runs for cell in run.metrics['seen']['cells']):
      found = [(name, [cell_lines(run, setting, k, metric) for k in ks]) for name, run in zip(labels(runs), runs)]
      rows = [Row(name, _transpose(lines)) for name, lines in found if any(n for c in lines for *_, n in c)]
      blocks.append(Block(setting_name(setting), rows))
    tables.append(Table(title, [f'k = {k}' for k in ks], blocks))
  return tables


def answer_tables(runs: Sequence[RunView]) -> list[Table]:
  """The first answer against the improved one, where both were graded.

  metrics.json may hold 'by_answer': [{'setting', 'k', 'n', 'answer1': {metric: value, 'ci95': {...}}, 'answer2': the
  same, 'difference': {metric: value}, 'difference_ci95': {metric: [low, high]}}].
  """
  runs = [run for run in runs if run.metrics.get('by_answer')]
  tables = []
  for metric, title in METRICS.items() if runs else ():
    cells = {id(run): {(c['setting'], c['k']): c for c in run.metrics['by_answer']} for run in runs}

    def lines(run, setting, k, metric=metric, cells=cells):
      cell = cells[id(run)].get((setting, k))
      one, two = (
        our_number({'n': cell['n'], **cell[a]}, metric, None) if cell else None for a in ('answer1', 'answer2')
      )
      gain = None
      if cell and (cell.get('difference') or {}).get(metric) is not None:
        span = (cell.get('difference_ci95') or {}).get(metric)
        gain = Number(cell['difference'][metric], tuple(span) if span else None, is_difference=True)
      return [('ours', 'first answer', one), ('ours', 'improved', two), ('difference', 'gain, paired', gain)]

    ks = sorted({k for of in cells.values() for _, k in of})
    blocks = []
    for setting in by_setting(setting for of in cells.values() for setting, _ in of):
      rows = [Row(n, _transpose([lines(run, setting, k) for k in ks])) for n, run in zip(labels(runs), runs)]
      blocks.append(Block(setting_name(setting), rows))
    tables.append(Table(title, [f'k = {k}' for k in ks], blocks))
  return tables
