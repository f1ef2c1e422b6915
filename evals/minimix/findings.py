"""What the toy experiment shows: every arm and seed in one table, a figure, and a verdict for each finding.

    python -m evals.minimix.findings --seeds=runs/minimix/seed-10,runs/minimix/seed-11
    python -m evals.minimix.findings --seeds=demo --ks=1,2,3,4
    python -m evals.minimix.findings --seeds=runs/minimix/seed-10 --study=science --ks=2,3,4

A seed is a folder as examples/minimix.sh makes it: world/, and evals/ARM with a graded run for each arm. Numbers are
Ratios of Full Marks. At k = 2 and 3 of the training skills only skill sets count that no training dialog combines.
A finding is a difference, named in studies.py, between two arms that answered the same questions; over several seeds
its interval is Student's over the seeds' differences, for one seed it is that of the paired questions. It

    holds       if Holm's p over all findings is at most .05 and the difference has the sign that was expected,
    fails       if the whole 95 % interval lies below +.05,
    undecided   else.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from scipy import stats

from evals.minimix.studies import MAIN, STUDIES, Comparison, Study
from evals.questions.settings import parse_ks
from evals.results import graded, statistics, training_data
from evals.results.contrasts import values
from evals.results.graded import GradedRun
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS

METRIC = 'ratio_of_full_marks'
SETTINGS = ('train', 'held_out')
ALPHA, SMALLEST_EFFECT = 0.05, 0.05

Cell = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Seed:
  """arm -> cell -> marks by question, on questions that no training dialog combines (k >= 2); arm -> loss on text."""

  name: str
  arms: dict[str, dict[Cell, dict[tuple, float]]]
  text_loss: dict[str, float] = dataclasses.field(default_factory=dict)

  def mean(self, arm: str, cell: Cell) -> float:
    """Ratio of Full Marks; nan where the arm has no such cell."""
    marks = self.arms.get(arm, {}).get(cell, {})
    return float(np.mean(list(marks.values()))) if marks else math.nan

  def pairs(self, arm: str, other: str, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Marks of both arms on the questions that both have."""
    ours, theirs = (self.arms.get(name, {}).get(cell, {}) for name in (arm, other))
    shared = [key for key in ours if key in theirs]
    return np.array([ours[key] for key in shared]), np.array([theirs[key] for key in shared])


@dataclasses.dataclass(frozen=True)
class Finding:
  """One difference with its verdict."""

  comparison: Comparison
  difference: float
  ci95: tuple[float, float]
  p: float
  p_holm: float = 1.0
  verdict: str = ''


def read_seed(path: Path, study: Study) -> Seed:
  """The graded runs of one seed; raises InputError where there is none."""
  runs = {key: path / arm.folder / 'evals' / arm.name for key, arm in study.arms.items()}
  runs = {key: run for key, run in runs.items() if (run / 'config.json').is_file()}
  if not runs:
    raise InputError(f'{path} has no graded run in evals/: make one with examples/minimix.sh')
  dialogs = sorted(str(file) for file in (path / 'world' / 'dialogs').glob('d?.jsonl'))
  seen = training_data.read(dialogs).skill_sets
  arms = {key: _cells(graded.load(run), seen) for key, run in runs.items()}
  logs = {key: path / study.arms[key].folder / 'runs' / study.arms[key].name / 'metrics.jsonl' for key in runs}
  return Seed(path.name, arms, {key: _text_loss(log) for key, log in logs.items()})


def _text_loss(log: Path) -> float:
  """The last loss on held-out text, nats a token; nan where none was measured."""
  rows = map(json.loads, log.read_bytes().splitlines()) if log.is_file() else ()
  return ([math.nan] + [row['held_out_loss_text'] for row in rows if 'held_out_loss_text' in row])[-1]


def _cells(run: GradedRun, seen: frozenset[frozenset[str]]) -> dict[Cell, dict[tuple, float]]:
  cells: dict[Cell, dict[tuple, float]] = {}
  for key, mark in values(run, METRIC).items():
    setting, k, skills, _ = key
    if k == 1 or frozenset(skills) not in seen:
      cells.setdefault((setting, k), {})[key] = mark
  return cells


def _over_questions(seed: Seed, arm: str, other: str, cell: Cell) -> tuple[float, tuple[float, float], float]:
  """(difference, interval, p) within one seed."""
  ours, theirs = seed.pairs(arm, other, cell)
  gained, lost = int(np.sum(ours > theirs)), int(np.sum(ours < theirs))
  interval = statistics.paired_difference(gained, lost, len(ours))
  return float(ours.mean() - theirs.mean()), (interval.low, interval.high), statistics.mcnemar(gained, lost)


def _over_seeds(seeds: Sequence[Seed], arm: str, other: str, cell: Cell) -> tuple[float, tuple[float, float], float]:
  """(mean difference, Student's interval, p) over seeds; where these are all equal p is that of a sign test."""
  differences = [float(np.subtract(*seed.pairs(arm, other, cell)).mean()) for seed in seeds]
  mean, n = float(np.mean(differences)), len(differences)
  error = float(np.std(differences, ddof=1)) / math.sqrt(n)
  if error == 0:
    return mean, (mean, mean), 1.0 if mean == 0 else 0.5 ** (n - 1)
  half = float(stats.t.ppf(0.975, n - 1)) * error
  return mean, (mean - half, mean + half), 2 * float(stats.t.sf(abs(mean) / error, n - 1))


def find(seeds: Sequence[Seed], study: Study, ks: Sequence[int]) -> list[Finding]:
  """All comparisons that every seed has both arms and the cell for, with verdicts."""
  found = []
  for comparison in study.comparisons:
    _, arm, other, setting, k = comparison
    cell = setting, k
    if k not in ks or not all(len(seed.pairs(arm, other, cell)[0]) for seed in seeds):
      continue
    over = _over_seeds(seeds, arm, other, cell) if len(seeds) > 1 else _over_questions(seeds[0], arm, other, cell)
    found.append(Finding(comparison, *over))
  corrected = statistics.holm([one.p for one in found])
  return [dataclasses.replace(one, p_holm=p, verdict=_verdict(one, p)) for one, p in zip(found, corrected)]


def _verdict(one: Finding, p_holm: float) -> str:
  if p_holm <= ALPHA and one.difference > 0:
    return 'holds'
  return 'fails' if one.ci95[1] < SMALLEST_EFFECT else 'undecided'


def table(seeds: Sequence[Seed], study: Study, ks: Sequence[int]) -> list[str]:
  """Markdown: mean over seeds, and the range where there are several."""
  lines = ['| model | skills | ' + ' | '.join(f'k={k}' for k in ks) + ' |', '|---|---|' + '---|' * len(ks)]
  for setting in SETTINGS:
    for key, arm in study.arms.items():
      means = [[seed.mean(key, (setting, k)) for seed in seeds] for k in ks]
      if not np.isnan(means).all():
        lines.append(f'| {arm.label} | {setting.replace("_", "-")} | ' + ' | '.join(map(_range, means)) + ' |')
  return lines


def text_losses(seeds: Sequence[Seed], study: Study) -> str:
  """One line: the mean loss of each arm on text that it was not trained on."""
  means = {arm.label: np.mean([seed.text_loss.get(key, math.nan) for seed in seeds]) for key, arm in study.arms.items()}
  known = [f'{label} {mean:.3f}' for label, mean in means.items() if not math.isnan(mean)]
  return f'Loss on held-out text, nats a token: {"; ".join(known) or "not measured"}'


def _range(means: Sequence[float]) -> str:
  known = [mean for mean in means if not math.isnan(mean)]
  if not known:
    return '-'
  middle = f'{np.mean(known):.2f}'
  return middle if len(known) == 1 else f'{middle} ({min(known):.2f}-{max(known):.2f})'


def verdict_table(found: Sequence[Finding], study: Study) -> list[str]:
  """Markdown: one finding a line."""
  lines = ['| finding | difference | 95 % | Holm p | verdict |', '|---|---|---|---|---|']
  for one in found:
    what, arm, other, setting, k = one.comparison
    low, high = one.ci95
    where = f'{study.arms[arm].label} - {study.arms[other].label}, {setting.replace("_", "-")} k={k}'
    lines.append(
      f'| {what}: {where} | {one.difference:+.2f} | [{low:+.2f}, {high:+.2f}] | {one.p_holm:.2g} | {one.verdict} |'
    )
  return lines


def headline(seeds: Sequence[Seed], found: Sequence[Finding]) -> str:
  """One sentence: whether unseen pairs and triples of training skills are composed."""
  ours = [one for one in found if one.comparison[1:4] == ('D123', 'D1', 'train') and one.comparison.k in (2, 3)]
  if not ours:
    return 'No arm pair D(1), D(1,2,3) is complete.'
  parts = []
  for one in ours:
    means = [np.mean([seed.mean(arm, ('train', one.comparison.k)) for seed in seeds]) for arm in ('D1', 'D123')]
    what = {2: 'pairs', 3: 'triples'}[one.comparison.k]
    low, high = one.ci95
    parts.append(
      f'{what} {means[0]:.2f} -> {means[1]:.2f} (difference {one.difference:+.2f} [{low:+.2f}, {high:+.2f}])'
    )
  return (
    'On sets of training skills that no dialog combines, full marks from D(1) to D(1,2,3): ' + ', '.join(parts) + '.'
  )


def draw(seeds: Sequence[Seed], ks: Sequence[int], out: Path):
  """An SVG of the main study: every seed a dot, means as lines."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 3.4), layout='constrained', facecolor='white')
  colours = dict(zip(MAIN.arms, ('#8a8a8a', '#d08700', '#2f7fb8', '#1b6e3c')))
  for axes, setting in zip(figure.subplots(1, 2, sharey=True), SETTINGS):
    for shift, (key, arm) in enumerate(MAIN.arms.items()):
      means = np.array([[seed.mean(key, (setting, k)) for k in ks] for seed in seeds])
      if np.isnan(means).all():
        continue
      x = np.array(ks) + (shift - 1.5) * 0.09
      axes.plot(x, np.nanmean(means, axis=0), color=colours[key], lw=1.5, label=arm.label)
      for row in means:
        axes.plot(x, row, 'o', color=colours[key], ms=3.5, alpha=0.75)
    axes.set(xlabel='k', xticks=list(ks), title=f'{setting.replace("_", "-")} skills', ylim=(-0.03, 1.03))
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', lw=0.4, alpha=0.5)
  figure.axes[0].set_ylabel('Ratio of Full Marks')
  figure.axes[1].legend(frameon=False, loc='upper right')
  out.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(out, format='svg', metadata={'Date': None})


def _define_flags():
  flags.DEFINE_list('seeds', [], 'folders of examples/minimix.sh')
  flags.DEFINE_list('ks', ['1', '2', '3', '4', '5'], 'columns')
  flags.DEFINE_enum('study', 'main', list(STUDIES), 'main: of minimix.sh; science: of minimix_science.sh')
  flags.DEFINE_string('figure', None, 'SVG of the main study to write')


def main():
  if not FLAGS.seeds:
    raise InputError('--seeds=FOLDER is missing, see --help')
  ks, study = parse_ks(FLAGS.ks), STUDIES[FLAGS.study]
  seeds = [read_seed(Path(path), study) for path in FLAGS.seeds]
  found = find(seeds, study, ks)
  print(f'\nRatio of Full Marks, exact grader, {len(seeds)} seed{"s" * (len(seeds) > 1)}')
  print('k = 2, 3 of training skills: only sets that no dialog combines\n')
  print('\n'.join(table(seeds, study, ks)))
  print()
  print('\n'.join(verdict_table(found, study)))
  print(f'\n{text_losses(seeds, study)}')
  if FLAGS.figure:
    draw(seeds, ks, Path(FLAGS.figure))
  if study is MAIN:
    print(f'\n{headline(seeds, found)}')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
