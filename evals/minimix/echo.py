"""Whether a base model of the toy world copies: the share of echo prompts that it answers word for word.

    python -m skillmix_jax.sample --checkpoint=runs/base --prompts=world/base/echo.jsonl --answers=echo.jsonl \\
        --temperature=0 --max_new_tokens=32 --dtype=float32
    python -m evals.minimix.echo --prompts=world/base/echo.jsonl --answers=echo.jsonl

A base that has not learned to copy the words it was given cannot be taught to combine skills in a few hundred steps,
and whether one has after a fixed number of steps differs between seeds. Below --least the exit code is 1: train it
further or do not use it. examples/minimix.sh does the former once, and stops if that was not enough.
"""

from pathlib import Path

from absl import flags

from evals.minimix.echo_gate import count_exact
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS


def main() -> int:
  for name in ('prompts', 'answers'):
    if not FLAGS[name].value:
      raise InputError(f'--{name} is missing, see --help')
  exact, total = count_exact(Path(FLAGS.prompts), Path(FLAGS.answers))
  passed = exact >= FLAGS.least * total
  print(
    f'echo: {exact} of {total} exact' + ('' if passed else f', fewer than {FLAGS.least:.0%}: train this base further')
  )
  return 0 if passed else 1


if __name__ == '__main__':
  flags.DEFINE_string('prompts', None, 'base/echo.jsonl of a world')
  flags.DEFINE_string('answers', None, 'what skillmix_jax.sample made of them')
  flags.DEFINE_float('least', 0.9, 'share that must be exact', lower_bound=0, upper_bound=1)
  command.run(main)
