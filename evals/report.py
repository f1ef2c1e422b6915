"""From replies to tables: marks, cells with intervals, the paper's numbers beside them, and a page.

    python -m evals.report --runs=runs/base,runs/d123
    python -m evals.report --runs=runs/base,runs/d123 --out=report.html --train_data=D1.jsonl,D2.jsonl

Costs nothing and needs no network: grades.jsonl and metrics.json of each run are rebuilt from its ledger. Each number
has its 95 % interval, each table its grader. --train_data, the dialogs that the students were trained on, prints the
skill sets that they have seen apart from those that they have not, and refuses verdicts of a grader of the family that
wrote them. --out writes one self-contained page with the samples.
"""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from evals import files, graders
from evals.files import write_json, write_jsonl
from evals.page.view import RunView
from evals.questions import paper_tables
from evals.replies import waves
from evals.replies.progress import dollars
from evals.replies.run import Run, open_run
from evals.replies.waves import Grader
from evals.results import cells, contrasts, graded, terminal, training_data
from evals.results.contrasts import Contrast, Graded
from evals.results.training_data import TrainingData
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Report:
  """One run with everything that is told about it."""

  run: Run
  grader: Grader | None
  rows: list[dict[str, Any]]
  metrics: dict[str, Any]

  @property
  def graded(self) -> Graded:
    """As contrasts need it."""
    name = self.grader.model if self.grader else ''
    return Graded(
      self.run.path.name, self.rows, self.run.settings.generations, self.metrics['grader'], graders.family(name),
      self.run.student.params,
    )  # fmt: skip


def spent(run: Run) -> dict[str, Any]:
  """Requests, tokens and dollars of the ledger, student and grader together."""
  total = {'requests': 0, 'prompt_tokens': 0, 'completion_tokens': 0}
  cost, known, times = 0.0, True, []
  for row in run.ledger.rows():
    reply = row.reply
    tokens = reply.usage['prompt_tokens'], reply.usage['completion_tokens']
    times.append(reply.time)
    total['requests'] += 1
    total['prompt_tokens'] += tokens[0]
    total['completion_tokens'] += tokens[1]
    ours = row.model.startswith('checkpoint:') or row.model == 'exact'
    price = dollars((0.0, 0.0) if ours else graders.price(row.model), *tokens)
    known = known and price is not None
    cost += price or 0.0
  return {
    'requests': total['requests'],
    'tokens': {name: total[name] for name in ('prompt_tokens', 'completion_tokens')},
    'dollars': cost if known else None,
    'started': min(times, default=''),
    'ended': max(times, default=''),
  }


def summarize(run: Run, grader: Grader | None, rows: list[dict[str, Any]], data: TrainingData | None) -> dict[str, Any]:
  """metrics.json."""
  settings = run.settings
  wanted = Counter((combination.setting, combination.k) for combination in run.combinations)
  names = sorted({row['grader'] for row in rows if row['grader']})
  found = {
    'student': run.student.name, 'student_fingerprint': run.student.model, 'student_params': run.student.params,
    'grader': ', '.join(names), 'grader_requested': grader.model if grader else '',
    'catalog': run.catalog.name, 'prompts_sha256': run.catalog.fingerprint, 'prompt': settings.grading_prompt,
    'seed': settings.seed, 'votes_mode': settings.votes_mode, 'length': settings.length,
    'name_filter': settings.name_filter, 'exclude_skills': list(settings.exclude_skills),
    'done': sum(row['points'] is not None for row in rows), 'wanted': len(run.combinations) * settings.generations,
    'unparsed': sum(bool(reason) and reason != 'not asked yet' for row in rows for reason in row['reasons']),
    'cells': cells.cells(rows, wanted, settings.generations, settings.votes),
    'by_generation': cells.by_generation(rows),
    'agreement': cells.agreement(rows, settings.votes), 'decoys': cells.decoys(rows),
  }  # fmt: skip
  if data is not None:
    seen = cells.seen_cells(rows, data.skill_sets, settings.generations, settings.votes)
    found['seen'] = {'train_data': list(data.files), 'num_skill_sets': len(data.skill_sets), 'cells': seen}
  return found | spent(run)


def report_run(path: Path, data: TrainingData | None) -> Report:
  """Rebuilds grades.jsonl and metrics.json of one run."""
  run = open_run(path)
  grader = graded.find_grader(run)
  rows = list(graded.build(run, grader))
  if not rows:
    raise InputError(f'{path} has no finished text yet: run evals.sample first')
  found = summarize(run, grader, rows, data)
  write_jsonl(path / 'grades.jsonl', rows)
  write_json(path / 'metrics.json', found)
  return Report(run, grader, rows, found)


def raw_replies(report: Report) -> Callable[[str, int], dict[str, Any]]:
  """(combination, generation) -> everything that was said, for the page."""
  by_slot = {(text.combination.id, text.generation): text for text in waves.texts(report.run)}

  def find(combination: str, generation: int) -> dict[str, Any]:
    text = by_slot[combination, generation]
    votes = waves.votes(report.run, report.grader, text) if report.grader else []
    return {
      'round1': text.round1, 'answer1': text.answer1, 'round2': text.round2, 'answer2': text.answer2,
      'grading': waves.grading_prompt(report.run, text),
      'votes': [vote.row.reply.text if vote.row else None for vote in votes],
    }  # fmt: skip

  return find


def find_contrasts(reports: Sequence[Report], data: TrainingData | None) -> list[Contrast]:
  """Every run minus every one before it that the same grader marked and that was sampled alike; full marks."""
  graded = [report.graded for report in reports if report.grader]
  found = []
  for earlier, later in itertools.combinations(graded, 2):
    if earlier.grader == later.grader and contrasts.sent(earlier) == contrasts.sent(later):
      found += contrasts.contrast(later, earlier, 'ratio_of_full_marks')
  return contrasts.decide(found, contrasts.refusal(graded, data.families if data else ())) if found else []


def to_view(report: Report, found: Sequence[Contrast]) -> RunView:
  """As the page needs it."""
  model, row = paper_tables.parse_row(report.run.settings.paper_row)
  own = [dataclasses.asdict(one) for one in found if one.a == report.run.path.name]
  return RunView(
    report.run.path.name,
    report.metrics | {'contrasts': own},
    report.rows,
    raw_replies(report),
    row,
    model,
    report.graded.family,
  )


def _define_flags():
  flags.DEFINE_list('runs', [], 'folders of runs, the baseline first')
  flags.DEFINE_string('out', None, 'HTML file to write')
  flags.DEFINE_list('train_data', [], 'dialogs that the students were trained on')


def main():
  if not FLAGS.runs:
    raise InputError('--runs=RUN is missing, see --help')
  out = files.output_file('out', FLAGS.out, 'report.html') if FLAGS.out else None
  data = training_data.read(FLAGS.train_data) if FLAGS.train_data else None
  reports = [report_run(Path(path), data) for path in FLAGS.runs]
  for report in reports:
    terminal.print_run(report.run.path.name, report.metrics, report.run.settings.paper_row)
  found = find_contrasts(reports, data)
  decided = [one for one in found if one.verdict != 'undecided']
  terminal.print_contrasts(decided)
  if len(decided) < len(found):
    print(f'{len(found) - len(decided)} of {len(found)} differences are undecided: evals.compare corrects for fewer')
  if out is not None:
    from evals import page

    audits = [json.loads(file.read_text()) for r in reports if (file := r.run.path / 'audit.json').is_file()]
    views = [to_view(report, found) for report in reports]
    html = page.render(views, paper_tables.results(), title='SKILL-MIX', audits=audits)
    files.write_text(out, html)
    print(f'{out}: {out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
