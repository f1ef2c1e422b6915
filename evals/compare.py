"""Compares students on the combinations that their runs share.

    python -m evals.compare --runs=runs/base,runs/d123
    python -m evals.compare --runs=runs/d1,runs/d12,runs/d123 --settings=held_out --ks=2,3

Each run is compared with every one before it: the later minus the earlier, for every setting and k in which they share
combinations. The p values are exact (McNemar for 0/1, sign flips for shares) and corrected (Holm) over all contrasts
that are asked for, so ask for what you want to know. With --train_data, the files that a student was trained on, a
verdict is refused when the only grader is of the family that wrote them. Runs of which more differs than the student
(catalog, sampling, generations, votes, how they are counted, the grader) are not compared: the line says what differs
and what to repeat.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from evals.questions.settings import parse_ks
from evals.results import comparable, contrasts, graded, terminal, training_data
from evals.results.cells import METRICS
from evals.results.contrasts import Contrast
from evals.results.graded import GradedRun
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS


def find(runs: Sequence[GradedRun], metric: str, settings: Sequence[str], ks: Sequence[int]) -> list[Contrast]:
  """Returns all contrasts of the runs in the cells asked for.

  Raises:
    InputError: two runs are not comparable, or share no combination.
  """
  for name, asked, there in (
    ('settings', settings, {text.setting for run in runs for text in run.texts}),
    ('ks', ks, {text.k for run in runs for text in run.texts}),
  ):
    if odd := [one for one in asked if one not in there]:
      raise InputError(f'--{name}: no run has {odd[0]}, but {", ".join(map(str, sorted(there)))}')
  every, refusals = contrasts.between(runs, metric)
  if refusals:
    raise InputError(refusals[0])
  found = [one for one in every if (not settings or one.setting in settings) and (not ks or one.k in ks)]
  if not found:
    raise InputError(
      'these runs share no complete combination in the cells asked for: sample both with the same config and seed'
    )
  return found


def _define_flags():
  flags.DEFINE_list('runs', [], 'folders of graded runs, the baseline first')
  flags.DEFINE_enum('metric', 'ratio_of_full_marks', list(METRICS), 'metric to compare')
  flags.DEFINE_list('settings', [], 'settings to compare; default: all')
  flags.DEFINE_list('ks', [], 'numbers of skills to compare; default: all')
  flags.DEFINE_list('train_data', [], 'dialogs that the students were trained on')


def main():
  if len(FLAGS.runs) < 2:
    raise InputError('--runs=A,B needs at least two runs')
  ks = parse_ks(FLAGS.ks)
  paths = [Path(path) for path in FLAGS.runs]
  runs = [graded.load(path, name) for path, name in zip(paths, comparable.names(paths))]
  found = find(runs, FLAGS.metric, FLAGS.settings, ks)
  writers = training_data.read(FLAGS.train_data).families if FLAGS.train_data else frozenset()
  terminal.print_contrasts(contrasts.decide(found, contrasts.refusal(runs, writers)))
  print(f'\n{contrasts.SCOPE}')


if __name__ == '__main__':
  _define_flags()
  command.run(main)
