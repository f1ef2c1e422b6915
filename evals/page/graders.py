"""Who graded, on how much, how credulously, and whether the anchor is there."""

from collections.abc import Iterable, Sequence

from evals.page.view import RunView
from evals.results import statistics
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


def anchor(run: RunView, runs: Sequence[RunView]) -> RunView | None:
  """The untouched base model of a run's table under the same grader: what makes it comparable with the paper."""
  alike = lambda base: (base.model, base.grader, base.metrics.exclude_skills)
  return next((base for base in runs if base.row == base.model and base.row and alike(base) == alike(run)), None)


def missing_anchors(some: Sequence[RunView], runs: Sequence[RunView]) -> list[str]:
  """One sentence for each model and grader of `some` whose base model is not among all `runs`."""
  lacking = dict.fromkeys((run.model, run.grader) for run in some if run.row and run.model and not anchor(run, runs))
  return [
    f'The untouched {model} graded by {grader} is not among the runs: the offset of this grader is unknown, and '
    'nothing it graded is comparable with the paper.'
    for model, grader in lacking
  ]
