"""Tables on the terminal: our number with its interval, the paper's beneath it."""

import itertools
from collections.abc import Iterable, Sequence

from evals.questions import paper_tables
from evals.questions.printed import NOVELTY_K, NOVELTY_LINE
from evals.results.cells import METRICS, Cell, Estimate
from evals.results.contrasts import Contrast
from evals.results.grader_table import GraderTable
from evals.results.improving import Improving
from evals.results.over_seeds import FLIPS, STUDENT, OverSeeds
from evals.results.summary import RunMetrics
from evals.results.trust import CRITERIA
from evals.results.written import about, probability, share, signed
from skillmix_jax.hidden_characters import visible

WIDTH = 18
LISTED = 5  # pairs of runs that are not compared


def with_interval(estimate: Estimate | None) -> str:
  """Writes '.87 [.79, .92]'."""
  if estimate is None:
    return '-'
  return f'{share(estimate.mean)} [{share(estimate.ci95.low)}, {share(estimate.ci95.high)}]'


def _say(line: str = ''):
  """Prints a line, with what servers and catalogs wrote (names of models, settings) shown as it is."""
  print(visible(line))


def _line(head: str, values: Sequence[str]) -> str:
  return (f'{head:<24}' + ''.join(f'{value:<{WIDTH}}' for value in values)).rstrip()


def _counted(cell: Cell) -> str:
  """Writes '100'; '76/100' where 24 lack a mark; '100, 10 different' where questions are repeated."""
  n = f'{cell.n}/{cell.wanted}' if cell.n < cell.wanted else str(cell.n)
  return f'{n}, {cell.num_questions} different' if cell.num_questions else n


def print_cells(cells: Iterable[Cell], model: str | None, row: str | None):
  """Prints a block for each setting, with a column for each k."""
  for setting, group in itertools.groupby(cells, key=lambda cell: cell.setting):
    block = list(group)
    _say()
    _say(_line(setting, [f'k={cell.k} (n={_counted(cell)})' for cell in block]))
    for name, metric in METRICS.items():
      _say(_line(f'  {metric.title}', [with_interval(cell.best.get(name)) for cell in block]))
      theirs = [paper_tables.printed().find(model, row, setting, cell.k, name) for cell in block]
      if any(theirs):
        shown = [share(printed.value) + '†' * bool(printed.misprint) if printed else '-' for printed in theirs]
        _say(_line('    the paper (gpt-4)', shown))
    if block[0].num_generations > 1:
      single = [with_interval(cell.mean_of_one.get('ratio_of_full_marks')) for cell in block]
      _say(_line('  full marks, one text', single))
    for cell in block:
      if cell.refused:
        _say(f'  k={cell.k} refused: {cell.refused}')


def print_run(name: str, metrics: RunMetrics, paper_row: str):
  """Prints everything about one run."""
  model, row = paper_tables.parse_row(paper_row)
  _say(f'\n{name}: {metrics.student}, graded by {metrics.grader or "nobody yet"}; 95 % intervals in brackets')
  missing = sum(cell.missing for cell in metrics.cells)
  _say(f'{metrics.done} of {metrics.wanted} texts graded, {missing} votes missing, {metrics.unparsed} unreadable')
  if metrics.student_health and (odd := metrics.student_health.describe()):
    _say(f'the student: {odd}')
  print_cells(metrics.cells, model, row)
  if metrics.exclude_skills and metrics.catalog == 'paper':
    print_novelty(metrics.cells)
  counted, wanted = (sum(getattr(cell, name) for cell in metrics.cells) for name in ('n', 'wanted'))
  if missing and counted < wanted:
    _say(
      f'\n{wanted - counted} of {wanted} combinations do not count, since a text of theirs has no marks: evals.grade '
      'asks for votes that are missing, --attempts=6 also for those that nobody could read'
    )
  if decoys := metrics.decoys:
    _say(
      f'\ndecoys: a skill that was not asked for earned its point in {share(decoys.rate)} '
      f'[{share(decoys.ci95.low)}, {share(decoys.ci95.high)}] of {decoys.n} texts, an upper bound on points for '
      f'nothing, since a text may show a skill by chance; {decoys.drawn_from}'
    )
  for is_seen in (True, False):
    cells = [cell for cell in metrics.seen.cells if cell.seen == is_seen] if metrics.seen else []
    if cells:
      _say(f'\nskill sets that the training data {"holds" if is_seen else "does not hold"}:')
      print_cells(cells, None, None)
  if metrics.improving:
    print_improving(metrics.improving)


def print_novelty(cells: Iterable[Cell]):
  """Prints which cells are beyond the line of appendix E.2."""
  estimates = [(cell.setting, cell.best.get('ratio_of_full_marks')) for cell in cells if cell.k == NOVELTY_K]
  said = []
  for setting, estimate in estimates:
    if estimate is not None:
      low, high = estimate.ci95
      where = 'beyond it' if low > NOVELTY_LINE else 'below it' if high < NOVELTY_LINE else 'undecided'
      said.append(f'{setting} {with_interval(estimate)} {where}')
  if said:
    _say(f'\nfull marks at k={NOVELTY_K} against the {NOVELTY_LINE:.0%} of appendix E.2: {", ".join(said)}')


def print_graders(name: str, table: GraderTable):
  """Prints the graders of a run beside each other, cell by cell."""
  _say(f'\nthe graders of {name}: full marks, and what {table.num_votes} votes of a text are worth, how long, how dear')
  width = max(len(cell.grader) for cell in table.cells) + 2
  together = {(of_all.setting, of_all.k): of_all for of_all in table.together}
  for place, group in itertools.groupby(table.cells, key=lambda cell: (cell.setting, cell.k)):
    heads = ('texts', 'full', 'agree', 'worth', 'others', 'readable', 's/vote', '$/vote')
    _say(f'\n{f"{place[0]} k={place[1]}":<{width + 2}}' + ''.join(f'{head:>9}' for head in heads))
    for cell in group:
      shares = [share(value) for value in (cell.full_marks, cell.agreement)]
      worth = '–' if cell.effective_votes is None else f'{cell.effective_votes:.1f}'
      seconds = '–' if cell.seconds is None else f'{cell.seconds:.1f}'
      dollars = '–' if cell.dollars is None else f'{cell.dollars:.5f}'
      said = (f'{cell.texts:,}', *shares, worth, share(cell.like_others), share(cell.readable), seconds, dollars)
      _say(f'  {cell.grader:<{width}}' + ''.join(f'{value:>9}' for value in said))
    if (all_of_them := together[place]).effective_graders is not None:
      _say(f'  all of them on {all_of_them.texts:,} texts are worth {all_of_them.effective_graders:.1f} graders')
  _say(
    '\nagree: texts whose votes, each taken alone, give full marks alike; worth: n / (1 + (n - 1) kappa), Kish;\n'
    'others: texts with the same full marks as under the other graders. Worth says how alike votes are, not how right'
  )


def print_improving(improving: Improving):
  """Prints first answers against improved ones: full marks, then each criterion."""
  _say(
    '\nfirst answers against improved ones on the same combinations, '
    f'{improving.missing} votes on first answers missing'
  )
  gains = [gain for gain in improving.gains if gain.metric == 'ratio_of_full_marks']
  for setting, group in itertools.groupby(gains, key=lambda gain: gain.setting):
    block = list(group)
    _say()
    _say(_line(setting, [f'k={gain.k} (n={gain.n})' for gain in block]))
    _say(_line('  full marks', [f'{share(gain.mean_b)} -> {share(gain.mean_a)}' for gain in block]))
    gained = [f'{signed(gain.difference)} [{signed(gain.ci95.low)}, {signed(gain.ci95.high)}]' for gain in block]
    _say(_line('  gain', gained))
    _say(_line('  p (Holm)', [probability(gain.p_holm).removeprefix('p = ') for gain in block]))
    _say(_line('  verdict', [gain.verdict for gain in block]))
    for criterion in CRITERIA:
      by_k = {
        change.k: change for change in improving.changes if (change.setting, change.criterion) == (setting, criterion)
      }
      its = [by_k[gain.k] for gain in block]
      _say(_line(f'  points for {criterion}', [f'+{change.gained} -{change.lost} of {change.n}' for change in its]))
    for reason in dict.fromkeys(gain.reason for gain in block if gain.reason):
      _say(f'  refused: {reason}')


def of_asked(contrast: Contrast) -> str:
  """'100'; '76 of 100' where 24 lack a mark in one of the runs."""
  return f'{contrast.n} of {contrast.asked} ' if contrast.asked > contrast.n else str(contrast.n)


def print_refusals(refusals: Sequence[str]):
  """Which runs are not compared, and what to do about it."""
  for reason in refusals[:LISTED]:
    _say(f'\nrefused: {reason}')
  if len(refusals) > LISTED:
    _say(f'and {len(refusals) - LISTED} more pairs')


def print_contrasts(differences: Iterable[Contrast]):
  """Prints a line for each; differences of Ratio of Full Marks or what `metric` says."""
  grouped = itertools.groupby(differences, key=lambda contrast: (contrast.metric, contrast.grader))
  for (metric, grader), group in grouped:
    lines = list(group)
    _say(f'\ndifferences in {METRICS[metric].title}, graded by {grader}, on shared combinations')
    width = max(len(f'{line.a} - {line.b}') for line in lines)
    for line in lines:
      low, high = line.ci95
      verdict = f'{line.verdict}: {line.reason}' if line.reason else line.verdict
      if line.needed:
        verdict += f', about {about(line.needed)} combinations would decide it'
      _say(
        f'{f"{line.a} - {line.b}":{width}}  {line.setting:9} k={line.k}  n={of_asked(line):<5}{share(line.mean_b)} -> '
        f'{share(line.mean_a):5} {line.difference:+.2f} [{low:+.2f}, {high:+.2f}]  p={line.p:.2g}, '
        f'Holm {line.p_holm:.2g}: {verdict}'
      )


def print_over_seeds(results: Sequence[OverSeeds], by_seed: Sequence[Sequence[Contrast]]):
  """One line for each cell, after one that names the two models of each seed."""
  pairs = dict.fromkeys(f'{contrast.a} - {contrast.b}' for of_seed in by_seed for contrast in of_seed)
  _say(f'\ndifferences in {METRICS[results[0].metric].title} over {len(by_seed)} training seeds: {", ".join(pairs)}')
  for line in results:
    low, high = line.ci95
    flips = 'too many seeds' if line.p_flips is None else f'p={line.p_flips:.2g}'
    verdict = f'{line.verdict}: {line.reason}' if line.reason else f'{line.verdict} by {line.test}'
    if line.needed:
      verdict += f', which need {line.needed} seeds to decide {len(results)} {"cell" if len(results) == 1 else "cells"}'
    _say(
      f'{line.setting:9} k={line.k}  {line.mean:+.2f} [{low:+.2f}, {high:+.2f}]  each '
      f'{" ".join(f"{difference:+.2f}" for difference in line.differences)}  {FLIPS} {flips}, '
      f'{STUDENT} p={line.p_student:.2g}, Holm {line.p_holm:.2g}: {verdict}'
    )
