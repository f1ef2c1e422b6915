"""Who graded, on how much, how credulously, graders of one run side by side, and whether the anchor is there."""

from collections.abc import Iterable, Sequence

from evals.page.grid import Block, Line, Number, Row, Table
from evals.page.view import RunView, by_setting, setting_name
from evals.results import statistics
from evals.results.grader_table import GraderCell, GraderTable
from evals.results.written import share


def usual_n(run: RunView) -> int | None:
  """The most frequent number of combinations in a cell."""
  ns = [cell.n for cell in run.metrics.cells]
  return max(set(ns), key=lambda n: (ns.count(n), n)) if ns else None


def decoy_counts(runs: Sequence[RunView]) -> tuple[int, int]:
  """(points given to skills that were not asked for, decoys) over all runs."""
  found = [run.metrics.decoys for run in runs if run.metrics.decoys]
  return sum(decoys.points for decoys in found), sum(decoys.n for decoys in found)


def decoy_rates(runs: Sequence[RunView]) -> list[str]:
  """One share for each grader, 'none' where it was shown no decoys."""
  counts = [decoy_counts([run for run in runs if run.grader == grader]) for grader in graders(runs)]
  return [share(points / n) if n else 'none' for points, n in counts]


def decoys(runs: Sequence[RunView]) -> str:
  """'decoys accepted: .04 of 120 [.02, .09]': how often the grader praised a skill that was not asked for."""
  points, n = decoy_counts(runs)
  if not n:
    return 'no decoys asked'
  low, high = statistics.wilson(points / n, n)
  return f'decoys accepted: {share(points / n)} of {n} [{share(low)}, {share(high)}]'


def graders(runs: Sequence[RunView]) -> list[str]:
  """Every grader once, as the endpoints named them."""
  return list(dict.fromkeys(run.grader for run in runs))


def sizes(ns: Iterable[int | None]) -> str:
  """'n = 100', 'n = 97 to 100'."""
  found = sorted({n for n in ns if n is not None})
  return f'n = {found[0]}' + (f' to {found[-1]}' if len(found) > 1 else '') if found else 'n unknown'


def grader_note(runs: Sequence[RunView]) -> str:
  """Who graded these runs, on what n, and how often each grader accepted a decoy."""
  parts = []
  for grader in graders(runs):
    its = [run for run in runs if run.grader == grader]
    parts.append(f'{grader} ({sizes(map(usual_n, its))} a cell; {decoys(its)})')
  return 'Graded by ' + ' and '.join(parts)


def side_by_side(table: GraderTable) -> Table:
  """The graders of one run: a block for each setting, a column for each k."""
  ks = sorted({cell.k for cell in table.cells})
  by_place = {(cell.setting, cell.k, cell.grader): cell for cell in table.cells}
  together = {(one.setting, one.k): one for one in table.together}
  blocks = []
  for setting in by_setting(cell.setting for cell in table.cells):
    names = list(dict.fromkeys(cell.grader for cell in table.cells))
    rows = [Row(name, _of_grader([by_place.get((setting, k, name)) for k in ks], table.num_votes)) for name in names]
    found = [together.get((setting, k)) for k in ks]
    worth = [Number(None, note=_number(one.effective_graders) if one else '–') for one in found]
    texts = [Number(None, note=f'{one.texts:,}' if one else '–') for one in found]
    rows.append(Row('all together', [Line('p', 'texts marked by all', texts), Line('p', 'effective graders', worth)]))
    blocks.append(Block(setting_name(setting), rows))
  return Table('Graders of the same texts', [f'k = {k}' for k in ks], blocks, 'grader')


def _of_grader(cells: Sequence[GraderCell | None], num_votes: int) -> list[Line]:
  notes = {
    'texts': lambda cell: f'{cell.texts:,}',
    'votes agree': lambda cell: share(cell.agreement),
    f'effective votes of {num_votes}': lambda cell: _number(cell.effective_votes),
    'same mark as others': lambda cell: share(cell.like_others),
    'readable replies': lambda cell: share(cell.readable),
    'seconds a vote': lambda cell: _number(cell.seconds),
    'dollars a vote': lambda cell: _number(cell.dollars, 5),
  }
  ratios = [Number(cell.full_marks) if cell and cell.full_marks is not None else None for cell in cells]
  lines = [
    Line('p', name, [Number(None, note=of(cell)) if cell else None for cell in cells]) for name, of in notes.items()
  ]
  return [Line('ours', 'full marks, one text', ratios), *lines]


def _number(value: float | None, digits: int = 1) -> str:
  return '–' if value is None else f'{value:.{digits}f}'


def anchor(run: RunView, runs: Sequence[RunView]) -> RunView | None:
  """The untouched base model of a run's table, sampled and marked alike: what makes it comparable with the paper."""
  return next((base for base in runs if base.row == base.model and base.row and _alike(base) == _alike(run)), None)


def _alike(run: RunView) -> tuple:
  of = run.metrics
  sent = tuple(of.student_params.get(name) for name in ('temperature', 'top_p', 'max_tokens'))
  generations = {cell.num_generations for cell in of.cells}
  counted = of.prompts_sha256, of.prompt, of.length, of.name_filter
  return run.model, run.grader, of.exclude_skills, sent, generations, counted


def missing_anchors(some: Sequence[RunView], runs: Sequence[RunView]) -> list[str]:
  """One sentence for each model and grader of `some` whose base model is not among all `runs`."""
  lacking = dict.fromkeys((run.model, run.grader) for run in some if run.row and run.model and not anchor(run, runs))
  return [
    f'The untouched {model} graded by {grader} with the same settings is not among the runs: the offset of this grader '
    'is unknown, and nothing it graded is comparable with the paper.'
    for model, grader in lacking
  ]
