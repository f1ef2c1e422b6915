"""Compares students on the combinations that their runs share.

    python -m evals.compare --runs=runs/base,runs/d123
    python -m evals.compare --runs=runs/d1,runs/d12,runs/d123 --settings=held_out --ks=2,3
    python -m evals.compare --seeds=s1/d123,s2/d123,s3/d123 --against=s1/d12,s2/d12,s3/d12

Each run is compared with every one before it: the later minus the earlier, for every setting and k in which they share
combinations. The p values are exact (McNemar for 0/1, sign flips for shares) and corrected (Holm) over all contrasts
that are asked for, so ask for what you want to know. With --train_data, the files that a student was trained on, a
verdict is refused when the only grader is of the family that wrote them. Runs of which more differs than the student
(catalog, sampling, generations, votes, how they are counted, the grader) are not compared: the line says what differs
and what to repeat. Where several graders have marked both runs, there is a verdict only if all of them give it.

--seeds and --against compare two recipes: models that were trained alike but for the seed. Each seed is one
observation, the difference of its two models. Up to 20 seeds exact sign flips decide, Student's t beyond; both are
printed. Six seeds are the fewest that can decide one cell.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from evals.questions.settings import parse_ks
from evals.results import agreeing, comparable, contrasts, graded, over_seeds, terminal, training_data
from evals.results.cells import METRICS
from evals.results.contrasts import Contrast
from evals.results.graded import GradedRun
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS
NONE_SHARED = (
  'these runs share no complete combination in the cells asked for: sample both with the same config and seed'
)


def check_cells(runs: Sequence[GradedRun], settings: Sequence[str], ks: Sequence[int]):
  """Raises InputError where no run has a setting or a k that is asked for."""
  for name, asked, there in (
    ('settings', settings, {text.setting for run in runs for text in run.texts}),
    ('ks', ks, {text.k for run in runs for text in run.texts}),
  ):
    if odd := [value for value in asked if value not in there]:
      raise InputError(f'--{name}: no run has {odd[0]}, but {", ".join(map(str, sorted(there)))}')


def within(differences: Sequence[Contrast], settings: Sequence[str], ks: Sequence[int]) -> list[Contrast]:
  """Those in the cells asked for."""
  asked_for = lambda contrast: (not settings or contrast.setting in settings) and (not ks or contrast.k in ks)
  return [contrast for contrast in differences if asked_for(contrast)]


def find(runs: Sequence[GradedRun], metric: str, settings: Sequence[str], ks: Sequence[int]) -> list[Contrast]:
  """Returns all contrasts of the runs in the cells asked for.

  Raises:
    InputError: two runs are not comparable, or share no combination.
  """
  check_cells(runs, settings, ks)
  every, refusals = contrasts.between(runs, metric)
  if refusals:
    raise InputError(refusals[0])
  if not (chosen := within(every, settings, ks)):
    raise InputError(NONE_SHARED)
  return chosen


def find_over_seeds(
  seeds: Sequence[GradedRun], against: Sequence[GradedRun], metric: str, settings: Sequence[str], ks: Sequence[int]
) -> list[list[Contrast]]:
  """The same for the two models of each seed, one list a seed."""
  check_cells([*seeds, *against], settings, ks)
  by_seed = [within(of_seed, settings, ks) for of_seed in over_seeds.pair(seeds, against, metric)]
  if not any(by_seed):
    raise InputError(NONE_SHARED)
  return by_seed


def _define_flags():
  flags.DEFINE_list('runs', [], 'folders of graded runs, the baseline first')
  flags.DEFINE_list('seeds', [], 'runs of one recipe, one for each training seed')
  flags.DEFINE_list('against', [], 'runs of the other, in the same order of seeds')
  flags.DEFINE_enum('metric', 'ratio_of_full_marks', list(METRICS), 'metric to compare')
  flags.DEFINE_list('settings', [], 'settings to compare; default: all')
  flags.DEFINE_list('ks', [], 'numbers of skills to compare; default: all')
  flags.DEFINE_list('train_data', [], 'dialogs that the students were trained on')


def main():
  over = bool(FLAGS.seeds or FLAGS.against)
  if over and (FLAGS.runs or len(FLAGS.seeds) != len(FLAGS.against) or len(FLAGS.seeds) < 2):
    raise InputError(
      f'--seeds has {len(FLAGS.seeds)} runs and --against {len(FLAGS.against)}: give as many, 2 or more, one for each '
      'training seed in the same order, without --runs'
    )
  if not over and len(FLAGS.runs) < 2:
    raise InputError('--runs=A,B needs at least two runs')
  ks = parse_ks(FLAGS.ks)
  paths = [Path(path) for path in (*FLAGS.runs, *FLAGS.seeds, *FLAGS.against)]
  by_path = [graded.load_all(path, name) for path, name in zip(paths, comparable.names(paths))]
  writers = training_data.read(FLAGS.train_data).families if FLAGS.train_data else frozenset()
  runs = [run for of_path in by_path for run in of_path]
  refusal = contrasts.refusal(runs, writers)
  if over:
    half = len(paths) // 2
    by_grader = {
      grader: find_over_seeds(of_all[:half], of_all[half:], FLAGS.metric, FLAGS.settings, ks)
      for grader, of_all in agreeing.by_grader(by_path).items()
    }
    decided = {grader: over_seeds.decide(by_seed, refusal) for grader, by_seed in by_grader.items()}
    for grader, found_over in agreeing.decide_over_seeds(decided).items():
      terminal.print_over_seeds(found_over, by_grader[grader])
  else:
    chosen = find(runs, FLAGS.metric, FLAGS.settings, ks)
    terminal.print_contrasts(agreeing.decide(chosen, runs, refusal))
    print(f'\n{contrasts.SCOPE}')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
