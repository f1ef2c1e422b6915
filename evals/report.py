"""From replies to tables: marks, cells with intervals, the paper's numbers beside them, and a page.

    python -m evals.report --runs=runs/base,runs/d123
    python -m evals.report --runs=runs/base,runs/d123 --out=report.html --train_data=D1.jsonl,D2.jsonl
    python -m evals.report --runs=runs/base,runs/d123 --figure=fig2.svg

Costs nothing and needs no network: grades.jsonl and metrics.json of each run are rebuilt from its ledger. Each number
has its 95 % interval, each table its grader. Where several graders have marked a run, these files have the marks of the
first; all of them are shown, a table compares them, and there is a verdict only if all of them give it. --train_data,
the dialogs that the students were trained on, prints the skill sets that they have seen apart from those that they have
not, and refuses verdicts of a grader of the family that wrote them. --out writes one self-contained page with the
samples, --figure figure 2 as a picture: Ratio of Full Marks against k on held-out skills (where no run has these, on
others), the paper's lines beside ours.
"""

import collections
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from evals import graders
from evals.files import write_json, write_jsonl
from evals.page.view import Exchange, RunView
from evals.questions import paper_tables
from evals.replies import waves
from evals.replies.run import Run, open_run
from evals.replies.waves import Grader
from evals.results import (
  agreeing,
  comparable,
  contrasts,
  graded,
  grader_table,
  improving,
  people,
  terminal,
  training_data,
)
from evals.results.contrasts import Contrast
from evals.results.graded import GRADES, GradedText
from evals.results.people import Audit
from evals.results.summary import RunMetrics, summarize
from evals.results.training_data import TrainingData
from evals.results.written import share
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file, write_output, write_pieces
from skillmix_jax.hidden_characters import visible

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Report:
  """One run as one grader marked it, with everything that is told about it; all its graders share `folder`.

  Attributes:
    texts: without the answers that they were taken from, which `raw_replies` looks up.
  """

  name: str
  folder: str
  run: Run
  grader: Grader | None
  texts: list[GradedText]
  metrics: RunMetrics


def report_run(path: Path, data: TrainingData | None, name: str = '') -> Report:
  """Rebuilds grades.jsonl and metrics.json of one run; first_grades.jsonl where first answers were graded."""
  return report_graders(path, data, name)[0]


def report_graders(path: Path, data: TrainingData | None, name: str = '') -> list[Report]:
  """Does the same, and returns a report for each grader; the files have the marks of the first."""
  run, name = open_run(path), name or path.name
  # whoever marked first answers alone is looked at only where nobody marked improved ones
  known = graded.find_graders(run, answers=(2,)) or graded.find_graders(run)[:1]
  if next(waves.texts(run), None) is None:
    raise InputError(f'{path} has no finished text yet: run evals.sample first')
  reports: list[Report] = []
  voters: list[Grader | None] = [*known] or [None]
  for grader in voters:
    texts: list[GradedText] = []
    rows = _keep_light(graded.build(run, grader), texts)
    if reports:
      collections.deque(rows, maxlen=0)
    else:
      write_jsonl(path / GRADES[2], rows)
    firsts = improving.first_answers(run, grader)
    if firsts and not reports:
      write_jsonl(path / GRADES[1], (text.to_json() for text in firsts))
    metrics = summarize(run, grader, texts, data, firsts, known)
    called = graded.under(name, grader, len(known) > 1) if grader else name
    reports.append(Report(called, name, run, grader, texts, metrics))
  if len(known) > 1:
    table = grader_table.compare(run, [(report.grader, report.texts) for report in reports if report.grader])
    reports[0] = dataclasses.replace(reports[0], metrics=dataclasses.replace(reports[0].metrics, graders=table))
  write_json(path / 'metrics.json', reports[0].metrics.to_json())
  return reports


def _keep_light(built: Iterable[GradedText], kept: list[GradedText]) -> Iterator[dict[str, Any]]:
  """Yields rows of grades.jsonl; keeps their texts without the answers, which are most of what a text takes."""
  for text in built:
    kept.append(dataclasses.replace(text, answer1='', answer2=''))
    yield text.to_json()


def raw_replies(report: Report) -> Callable[[str, int], Exchange]:
  """Returns (combination, generation) -> everything that was said, for the page."""
  asked = {combination.id: combination for combination in report.run.combinations}

  def find(combination: str, generation: int) -> Exchange:
    text = waves.text_of(report.run, asked[combination], generation)
    assert text is not None  # only finished texts are looked up
    votes = waves.votes(report.run, report.grader, text) if report.grader else []
    return Exchange(
      text.round1, text.answer1, text.round2, text.answer2, waves.grading_prompt(report.run, text),
      [vote.row.reply.text if vote.row else None for vote in votes],
    )  # fmt: skip

  return find


def find_contrasts(reports: Sequence[Report], data: TrainingData | None) -> tuple[list[Contrast], list[str]]:
  """(every run minus each before it that is comparable with it, in full marks; why the others are not)."""
  runs = [
    graded.as_compared(report.run, report.grader, report.texts, report.name, report.folder)
    for report in reports
    if report.grader
  ]
  differences, refusals = contrasts.between(runs, 'ratio_of_full_marks')
  refusal = contrasts.refusal(runs, data.families if data else ())
  return agreeing.decide(differences, runs, refusal) if differences else [], refusals


def audits(by_run: Sequence[Sequence[Report]]) -> list[Audit]:
  """Returns what people said about these runs; not what they said about other marks than a run has now.

  Raises:
    InputError: a file of theirs is damaged.
  """
  shown = []
  for first, *_ in by_run:
    path = first.run.path / 'audit.json'
    full = [text.marks.full_marks for text in first.texts if text.marks]
    audit = people.read_audit(path)
    then = audit.corrections.ratios[0] if audit and audit.corrections else None
    now = sum(full) / len(full) if full else None
    if then and (then.texts, then.graded.mean) != (len(full), now):
      print(
        f'{path} is of other marks ({then.texts} texts, {share(then.graded.mean)} full) than there are now '
        f'({len(full)}, {share(now)}), and is left out: draw another sheet with evals.audit',
        file=sys.stderr,
      )  # fmt: skip
    elif audit:
      shown.append(audit)
  return shown


def to_view(report: Report, differences: Sequence[Contrast]) -> RunView:
  """Returns the results as the page needs them."""
  model, row = paper_tables.parse_row(report.run.settings.paper_row)
  return RunView(
    name=report.name, metrics=report.metrics, texts=report.texts, raw=raw_replies(report), row=row, model=model,
    family=graders.family(report.grader.model) if report.grader else None,
    contrasts=[contrast for contrast in differences if contrast.a == report.name],
  )  # fmt: skip


def _define_flags():
  flags.DEFINE_list('runs', [], 'folders of runs, the baseline first')
  flags.DEFINE_string('out', None, 'HTML file to write')
  flags.DEFINE_string('figure', None, 'SVG file to write: figure 2 with our lines')
  flags.DEFINE_list('train_data', [], 'dialogs that the students were trained on')


def figure_file(value: str) -> Path:
  """Returns the path of the picture; raises InputError for a kind that is not drawn."""
  if Path(value).suffix.lower() != '.svg':
    raise InputError(f'--figure={value} must end in .svg: browsers open it, and Inkscape makes a PDF or PNG of it')
  return output_file('figure', value, 'fig2.svg')


def draw_figure(views: Sequence[RunView]) -> str:
  """Draws figure 2; raises InputError where no text has its marks yet."""
  from evals.page import figure, view

  settings = figure.settings(views)
  if not settings:
    raise InputError('--figure: no combination of these runs has its marks yet: run evals.grade first')
  series = figure.series(views, paper_tables.printed(), settings[0])
  by_whom = visible(' and '.join(dict.fromkeys(run.grader for run in views)))
  heading = f'{view.setting_name(settings[0]).capitalize()}\nours graded by {by_whom}, 95 % intervals'
  return figure.draw_alone(series, heading)


def main():
  if not FLAGS.runs:
    raise InputError('--runs=RUN is missing, see --help')
  picture = figure_file(FLAGS.figure) if FLAGS.figure else None
  out = output_file('out', FLAGS.out, 'report.html') if FLAGS.out else None
  data = training_data.read(FLAGS.train_data) if FLAGS.train_data else None
  paths = [Path(path) for path in FLAGS.runs]
  by_run = [report_graders(path, data, name) for path, name in zip(paths, comparable.names(paths))]
  reports = [report for of_run in by_run for report in of_run]
  for report in reports:
    terminal.print_run(report.name, report.metrics, report.run.settings.paper_row)
  for first, *_ in by_run:
    if first.metrics.graders:
      terminal.print_graders(first.folder, first.metrics.graders)
  differences, refusals = find_contrasts(reports, data)
  decided = [difference for difference in differences if difference.verdict != 'undecided']
  terminal.print_contrasts(decided)
  terminal.print_refusals(refusals)
  if len(decided) < len(differences):
    undecided = f'{len(differences) - len(decided)} of {len(differences)}'
    print(f'{undecided} differences are undecided: evals.compare corrects for fewer')
  if differences:
    print(f'\n{contrasts.SCOPE}')
  views = [to_view(report, differences) for report in reports] if picture or out else []
  if picture is not None:
    write_output('figure', picture, draw_figure(views))
    print(f'{picture}: figure 2')
  if out is not None:
    from evals import page

    paper = paper_tables.results()
    write_pieces(out, page.pieces(views, paper, title='SKILL-MIX', audits=audits(by_run), refusals=refusals))
    print(f'{out}: {out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
