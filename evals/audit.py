"""People against the grader: a sheet of texts to mark blind, and from the filled sheets the agreement.

  python -m evals.audit --run=RUN --out=sheet.csv                  # 100 texts, without what the grader said
  python -m evals.audit --run=RUN --sheets=ann.csv,ben.csv         # kappa, corrected marks; also to RUN/audit.json

The texts are drawn evenly over settings, k, and whether the grader gave full marks; run `evals.report` first, which
writes RUN/grades.jsonl. Give every person a copy of the same sheet, to fill in 1 (earned) or 0 for each criterion;
'n/a' marks a text with fewer skills, and an empty cell is left out. The name of a file is the person's name.

From the same sheets come corrected marks: the share of single texts to which people would give full marks, for the run
and for each cell, with intervals that carry the noise of the sheets (docs/guides/evaluate.md says how).
"""

from pathlib import Path

from absl import flags
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.files import write_json
from evals.questions import catalog
from evals.results import people, sheets
from evals.results.corrected import Corrections
from evals.results.people import Audit, Kappa
from evals.results.terminal import with_interval
from evals.results.written import share
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.hidden_characters import visible

FLAGS = flags.FLAGS


def show(audit: Audit, console: Console):
  """Prints the table on the terminal."""
  title = f'{audit.run}: {audit.texts} texts; the grader is {audit.grader}'
  table = Table(title=Text(visible(title)), title_justify='left', box=box.SIMPLE_HEAD)
  table.add_column('criterion')
  for name in ('kappa', '95 %', 'points', 'equal'):
    table.add_column(name, justify='right', no_wrap=True)
  for pair in audit.pairs:
    table.add_row(Text(visible(f'{pair.a} and {pair.b}'), 'bold'))
    for criterion in audit.criteria:
      table.add_row(f'  {criterion}', *_cells(pair.criteria[criterion]))
  console.print(table)
  console.print("Cohen's kappa; 95 %: bootstrap over texts; equal: share of the points")


def show_corrections(corrections: Corrections, console: Console):
  """Prints the grader's marks and the corrected ones."""
  title = 'Ratio of Full Marks of single texts: as graded, and as people would give it'
  table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD, pad_edge=False)
  table.add_column('', overflow='fold')  # where there is little room, the name is broken and no number is cut
  for name in ('marked', 'as graded', 'Rogan-Gladen', 'prediction-\npowered'):
    table.add_column(name, justify='right' if name == 'marked' else 'left', no_wrap=True)
  for ratio in corrections.ratios:
    name = f'{ratio.setting} k={ratio.k}' if ratio.k else 'the whole run'
    numbers = [Text(with_interval(of)) for of in (ratio.graded, ratio.rogan_gladen, ratio.prediction_powered)]
    table.add_row(Text(visible(name)), f'{sum(ratio.marked)}', *numbers)
  console.print(table)
  if corrections.sensitivity and corrections.specificity:
    rates = f'{with_interval(corrections.sensitivity)}, specificity {with_interval(corrections.specificity)}'
    console.print(Text(f'the grader: sensitivity {rates}'))
  else:
    console.print(f'no Rogan-Gladen number for cells: {corrections.reason}')
  if short := [ratio for ratio in corrections.ratios if ratio.reason]:
    console.print(f'{len(short)} without a prediction-powered number: too few texts marked ({short[0].reason})')


def _cells(of: Kappa) -> tuple[str, ...]:
  if not of.n:
    return '–', '', '', ''
  span = f'\\[{share(of.ci95.low)}, {share(of.ci95.high)}]' if of.ci95 else ''
  return share(of.kappa), span, str(of.n), share(of.agreement)


def _write_new(path: Path, content: str):
  """Writes a file, never over a sheet that someone may have filled in."""
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
    audited = people.audit(run, [Path(path) for path in FLAGS.sheets], FLAGS.seed)
    show(audited, Console())
    if audited.corrections:
      show_corrections(audited.corrections, Console())
    write_json(run / 'audit.json', audited.to_json())
  elif FLAGS.out:
    texts = sheets.draw(sheets.read_grades(run), FLAGS.n, FLAGS.seed)
    _write_new(Path(FLAGS.out), sheets.sheet(texts, catalog.load(run / 'catalog')))
    print(f'{FLAGS.out}: {len(texts)} texts; fill in 1 or 0, then run again with --sheets={FLAGS.out}')
  else:
    raise InputError('--out=SHEET.csv (to be filled in) or --sheets=A.csv,B.csv (filled in) is missing')


if __name__ == '__main__':
  flags.DEFINE_string('run', None, 'folder of the run')
  flags.DEFINE_string('out', None, 'the sheet to write')
  flags.DEFINE_list('sheets', [], 'filled sheets, one per person')
  flags.DEFINE_integer('n', 100, 'how many texts to draw', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'seed of the draw and of the intervals')
  command.run(main)
