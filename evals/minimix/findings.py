"""What the toy experiment shows: every arm and seed in one table, every comparison with its tests, a figure.

    python -m evals.minimix.findings --table=docs/results/minimix.csv --figure=docs/results/minimix.svg \\
        --pages=docs/results/minimix.md,README.md
    python -m evals.minimix.findings --seeds=runs/minimix/seed-20,runs/minimix/seed-21
    python -m evals.minimix.findings --seeds=demo

--table is a file of evals.minimix.record; a seed is a folder as examples/minimix.sh makes it. Numbers are Ratios of
Full Marks: the mean over seeds, and the lowest and highest seed. At k = 2 and 3 of the training skills only skill sets
count that no training dialog asks for; `no pair seen`: those of them no two of whose skills share a sentence of a
dialog.

Studies and their comparisons are named in evals/minimix/studies.py. A comparison is tested over seeds by exact sign
flips, whose p is corrected by Holm over the study, and by Student's t. A verdict needs all planned seeds.

--pages puts what is printed of a study into Markdown files, between <!-- findings: NAME --> and <!-- /findings -->;
NAME may also be `answer`, five sentences on the main study, `brief`, two of them, or `short`, a small table.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from evals.minimix import answer, figure, tally, verdicts
from evals.minimix.studies import MAIN, STUDIES, Study
from evals.minimix.tally import Ratios, Row
from evals.minimix.verdicts import Finding
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file, write_output

FLAGS = flags.FLAGS


def table(ratios: Ratios, study: Study) -> list[str]:
  """Markdown: mean over seeds, and the range where there are several."""
  ks = sorted({k for cells in ratios.values() for _, k in cells})
  lines = ['| model | skills | ' + ' | '.join(f'k={k}' for k in ks) + ' |', '|---|---|' + '---|' * len(ks)]
  for setting in tally.SETTINGS:
    for key, arm in study.arms.items():
      cells = [list(ratios.get(key, {}).get((setting, k), {}).values()) for k in ks]
      if any(cells):
        lines.append(f'| {arm.label} | {_name(setting)} | ' + ' | '.join(map(_range, cells)) + ' |')
  return lines


def _name(setting: str) -> str:
  return {'no_pair_seen': 'train, no pair seen', 'held_out': 'held-out'}.get(setting, setting)


def _range(values: Sequence[float]) -> str:
  if not values:
    return '-'
  middle = f'{np.mean(values):.2f}'
  return middle if len(values) == 1 else f'{middle} ({min(values):.2f}-{max(values):.2f})'


def comparison_table(findings: Sequence[Finding], study: Study) -> list[str]:
  """Markdown: one comparison a line."""
  lines = [
    '| comparison | difference | 95 % (Student) | p, Student | p, exact | Holm, exact | verdict |',
    '|---|---|---|---|---|---|---|',
  ]
  for finding in findings:
    what, arm, other, setting, k = finding.comparison
    where = f'{study.arms[arm].label} - {study.arms[other].label}, {_name(setting)} k={k}'
    tests = '- | - | - | -'
    if len(finding.differences) > 1:
      low, high = finding.ci95
      tests = f'[{low:+.2f}, {high:+.2f}] | {finding.p_student:.2g} | {finding.p_exact:.2g} | {finding.p_holm:.2g}'
    lines.append(f'| {what}: {where} | {finding.mean:+.2f} | {tests} | {finding.verdict} |')
  return lines


def text_losses(rows: Sequence[Row], study: Study) -> str:
  """One line: the mean loss of each arm on text that it was not trained on."""
  losses = {key: [row.value for row in rows if (row.arm, row.metric) == (key, tally.TEXT_LOSS)] for key in study.arms}
  known = [f'{study.arms[key].label} {np.mean(values):.3f}' for key, values in losses.items() if values]
  return f'Loss on held-out text, nats a token: {"; ".join(known) or "not measured"}'


def headline(ratios: Ratios) -> list[str]:
  """A sentence on unseen pairs and triples of training skills; nothing where D(1) or D(1,2,3) is not there."""
  parts = []
  for what, k in (('pairs', 2), ('triples', 3)):
    before, after = (list(ratios.get(arm, {}).get(('train', k), {}).values()) for arm in ('D1', 'D123'))
    if before and after:
      parts.append(f'{what} {np.mean(before):.2f} -> {np.mean(after):.2f}')
  sets = 'On sets of training skills that no dialog asks for, full marks from D(1) to D(1,2,3)'
  return ['', f'{sets}: {", ".join(parts)}.'] if parts else []


def report(rows: Sequence[Row], study: Study) -> list[str]:
  """All that is printed of one study, Markdown."""
  ratios, seeds = tally.ratios(rows), sorted({row.seed for row in rows})
  planned = sum(seed in seeds for seed in study.seeds)
  tests = [*comparison_table(verdicts.find(ratios, study), study), ''] if len(seeds) > 1 else []
  others = f' and {len(seeds) - planned} other' if len(seeds) > planned else ''
  return [
    f'Study {study.name}: {planned} of {len(study.seeds)} planned seeds{others} ({", ".join(map(str, seeds))}).', '',
    *table(ratios, study), '', *tests, text_losses(rows, study), *headline(ratios),
  ]  # fmt: skip


def fill(page: str, rows: Sequence[Row]) -> str:
  """The page with each block as the rows say."""
  blocks = {}
  for study in STUDIES.values():
    of_study = [row for row in rows if row.study == study.name]
    blocks[study.name] = '\n'.join(report(of_study, study)) if of_study else f'Study {study.name}: not run yet.'
  main_rows = [row for row in rows if row.study == MAIN.name]
  blocks |= {'answer': answer.sentences(main_rows), 'brief': answer.brief(main_rows)}
  blocks['short'] = '\n'.join(answer.table(main_rows))
  for name, block in blocks.items():
    start, end = f'<!-- findings: {name} -->', '<!-- /findings -->'
    if start in page:
      head, _, rest = page.partition(start)
      _, _, tail = rest.partition(end)
      page = f'{head}{start}\n{block}\n{end}{tail}'
  return page


def _of_folders(paths: Sequence[str]) -> list[Row]:
  rows = []
  for path in map(Path, paths):
    has = [
      study for study in STUDIES.values() if any((path / arm.folder / 'evals').is_dir() for arm in study.arms.values())
    ]
    for study in has or [MAIN]:
      rows += tally.of_seed(path, study)
  return rows


def main():
  if bool(FLAGS.seeds) == bool(FLAGS.table):
    raise InputError('name either --table=FILE or --seeds=FOLDER,FOLDER, see --help')
  rows = tally.read(Path(FLAGS.table)) if FLAGS.table else _of_folders(FLAGS.seeds)
  for study in STUDIES.values():
    if of_study := [row for row in rows if row.study == study.name]:
      print('\n' + '\n'.join(report(of_study, study)))
  if FLAGS.figure:
    out = output_file('figure', FLAGS.figure, 'minimix.svg')
    figure.draw(tally.ratios(row for row in rows if row.study == MAIN.name), MAIN, out)
  for page in map(Path, FLAGS.pages):
    write_output('pages', page, fill(page.read_text(encoding='utf-8'), rows))


if __name__ == '__main__':
  flags.DEFINE_list('seeds', [], 'folders of examples/minimix.sh')
  flags.DEFINE_string('table', None, 'CSV file of evals.minimix.record')
  flags.DEFINE_list('pages', [], 'Markdown files whose blocks are filled')
  flags.DEFINE_string('figure', None, 'SVG of the main study to write, with the paper beside it')
  command.run(main)
