"""The paper's tables with our runs beside them, and the anchor: what the grader alone changes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from evals.page.graders import anchor, grader_note, graders, missing_anchors, usual_n
from evals.page.grid import Block, Line, Number, Row, Table, minus, our_number, paper_number
from evals.page.view import RunView, by_setting, joined, labels, setting_name, short_model
from evals.questions.printed import Results
from evals.results.cells import METRICS

Student = tuple[str, str]  # (model, row), as the paper names them
Column = tuple[str, int]  # (setting, k)


@dataclass(frozen=True)
class PaperTable:
  """A table of results.json as the page shows it.

  Attributes:
    number: of the table in the paper.
    one_k: its columns are settings at one k; else they are ks, in a block for each setting.
    without_common_skills: beside it stand the runs that were asked for no common skill; else the others.
    offset_from: a table that has the base model's row, which this one lacks: without it the grader's offset is unknown.
    has_others: students that the paper does not have get rows of their own in it.
  """

  number: int
  title: str
  caption: str
  one_k: bool = False
  without_common_skills: bool = False
  offset_from: int | None = None
  has_others: bool = False


TABLES = (
  PaperTable(
    10, 'Tables 1 and 10', 'LLaMA-2-13B-Chat fine-tuned; table 1 is table 10 without the Ratio of All Skills.',
    has_others=True,
  ),
  PaperTable(
    11, 'Tables 3 and 11', 'Mistral-7B-Instruct-v0.2 fine-tuned; table 3 is table 11 without the Ratio of All Skills.'
  ),
  PaperTable(
    4, 'Table 4', 'LLaMA-2-13B-Chat: 8,000 dialogs with k = 3 among them against all dialogs of k = 1 and 2.',
    offset_from=10,
  ),
  PaperTable(5, 'Table 5', 'LLaMA-2-13B-Chat under two graders of the paper.'),
  PaperTable(
    6, 'Table 6', 'k = 5, common skills removed (the paper does not print which).', one_k=True,
    without_common_skills=True,
  ),
)  # fmt: skip


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


@dataclass(frozen=True)
class _Beside:
  """One metric of one table, and the runs that may stand beside it."""

  plan: PaperTable
  metric: str
  runs: Sequence[RunView]
  results: Results

  def matching(self) -> list[RunView]:
    """Runs whose student the table has."""
    students = self.results.rows(self.plan.number)
    return [run for run in self.runs if any(self.is_of(run, student) for student in students)]

  def others(self) -> dict[str, RunView]:
    """Students that no table of the paper has, by their labels."""
    every = zip(labels(self.runs), self.runs)
    return {label: run for label, run in every if self.plan.has_others and run.is_other_student}

  def is_of(self, run: RunView, student: Student) -> bool:
    """Whether a run is of this student, asked for the skills that the table is about."""
    return (run.model, run.row) == student and bool(run.metrics.exclude_skills) == self.plan.without_common_skills

  def row(self, student: Student, columns: Sequence[Column]) -> Row:
    """The paper's numbers of a student; ours of each run, with the difference."""
    printed = {grader: self._printed(grader, student, columns) for grader in self.results.graders(self.plan.number)}
    several = len(printed) > 1
    lines = [
      Line('paper', f'paper, {grader}' if several else 'paper', theirs)
      for grader, theirs in printed.items()
      if any(theirs)
    ]
    for run in self.runs:
      ours = [our_number(run.cells.get(column), self.metric, usual_n(run)) for column in columns]
      if not self.is_of(run, student) or not any(ours):
        continue
      lines.append(Line('ours', self._ours(run), ours))
      base = anchor(run, self.runs)
      kind = 'offset' if run is base else 'difference'
      what = 'grader’s offset' if run is base else 'difference' if base else 'difference, no anchor'
      lines += [
        Line(kind, f'{what} to {grader}' if several else what, list(map(minus, ours, theirs)))
        for grader, theirs in printed.items()
        if any(theirs)
      ]
    return Row(self._name(*student), lines)

  def _printed(self, grader: str, student: Student, columns: Sequence[Column]) -> list[Number | None]:
    number = self.plan.number
    return [paper_number(self.results.get(number, grader, *student, *column, self.metric)) for column in columns]

  def _ours(self, run: RunView) -> str:
    several = len(self.results.graders(self.plan.number)) > 1 or len(graders(self.runs)) > 1
    return f'ours, {run.grader}' if several else 'ours'

  def _name(self, model: str, row: str) -> str:
    several = len({model for model, _ in self.results.rows(self.plan.number)}) > 1
    return f'{short_model(model)} {row}' if several and row != model else row

  def table(self) -> Table:
    """The whole table for this metric."""
    columns, students = self.results.columns(self.plan.number), self.results.rows(self.plan.number)
    title = METRICS[self.metric].title
    if self.plan.one_k:
      rows = [self.row(student, columns) for student in students]
      return Table(title, [s.replace('_', '-') for s, _ in columns], [Block(f'k = {columns[0][1]}', rows)])
    blocks = []
    for setting in by_setting(setting for setting, _ in columns):
      its = [column for column in columns if column[0] == setting]
      rows = [self.row(student, its) for student in students]
      if self.plan.offset_from and self.matching():
        model = students[0][0]
        with_base = dataclasses.replace(self, plan=dataclasses.replace(self.plan, number=self.plan.offset_from))
        rows.insert(0, with_base.row((model, model), its))
      for label, run in self.others().items():
        ours = [our_number(run.cells.get(column), self.metric, usual_n(run)) for column in its]
        rows += [Row(label, [Line('ours', self._ours(run), ours)])] if any(ours) else []
      blocks.append(Block(setting_name(setting), rows))
    return Table(title, [f'k = {k}' for k in dict.fromkeys(k for _, k in columns)], blocks)


def paper_sections(runs: Sequence[RunView], results: Results) -> list[Section]:
  """The paper's tables with our runs beside them; those without a run say so."""
  return [_section(plan, runs, results) for plan in TABLES]


def _section(plan: PaperTable, runs: Sequence[RunView], results: Results) -> Section:
  every = [_Beside(plan, metric, runs, results) for metric in results.metrics(plan.number)]
  matching, others = every[0].matching(), every[0].others()
  tables = [beside.table() for beside in every]
  note = f'The paper: graded by {" and ".join(results.graders(plan.number))}'
  if matching or others:
    note = f'{grader_note([*matching, *others.values()])}. {note}'
  misprints = dict.fromkeys(misprint for table in tables for misprint in table.misprints)
  notes = [f'† {text}.' for text in misprints]
  if others:
    notes.append(
      f'{joined(list(others))}: of no student of the paper, and so without a difference from it. What can be compared '
      'are differences between these rows with differences between the paper’s.'
    )
  warning = ' '.join(missing_anchors(matching, runs))
  return Section(plan.title, plan.caption, tables, note, warning, bool(matching or others), notes)


def anchor_tables(runs: Sequence[RunView], results: Results) -> list[Table]:
  """The untouched base models today against the paper's base rows: what the grader alone changes."""
  tables = []
  bases = [run for run in runs if run.is_base]
  for name, metric in METRICS.items():
    blocks: dict[tuple[int, ...], list[Block]] = {}
    for run in bases:
      ks = tuple(sorted({k for _, k in run.cells}))
      rows = _anchor_rows(run, name, ks, results)
      if rows:
        blocks.setdefault(ks, []).append(Block(f'{run.row}, graded by {run.grader}', rows))
    tables += [Table(metric.title, [f'k = {k}' for k in ks], its, first='setting') for ks, its in blocks.items()]
  return tables


def _anchor_rows(run: RunView, metric: str, ks: Sequence[int], results: Results) -> list[Row]:
  rows = []
  for setting in by_setting(setting for setting, _ in run.cells):
    theirs = [paper_number(results.find(run.model, run.row, setting, k, metric)) for k in ks]
    if any(theirs):
      ours = [our_number(run.cells.get((setting, k)), metric, usual_n(run)) for k in ks]
      offset = Line('offset', 'grader’s offset', list(map(minus, ours, theirs)))
      lines = [Line('paper', 'paper, gpt-4', theirs), Line('ours', 'ours', ours), offset]
      rows.append(Row(setting_name(setting), lines))
  return rows
