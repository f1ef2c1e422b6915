"""Writes the numbers of one seed into a table, from which evals.minimix.findings prints everything.

    python -m evals.minimix.record --seed=runs/minimix/seed-20 --table=docs/results/minimix.csv
    python -m evals.minimix.record --seed=runs/minimix/seed-20 --table=docs/results/minimix.csv --study=one-sentence

Rows of the same study and seed that the table has already are replaced.
"""

from pathlib import Path

from absl import flags

from evals.minimix import tally
from evals.minimix.studies import STUDIES
from skillmix_jax import command
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file

FLAGS = flags.FLAGS


def main():
  if not FLAGS.seed or not FLAGS.table:
    raise InputError(f'--{"table" if FLAGS.seed else "seed"} is missing, see --help')
  path = output_file('table', FLAGS.table, 'minimix.csv')
  new = tally.of_seed(Path(FLAGS.seed), STUDIES[FLAGS.study], FLAGS.seconds)
  before = tally.read(path) if path.exists() else []
  replaced = {(row.study, row.seed) for row in new}
  tally.write(path, [row for row in before if (row.study, row.seed) not in replaced] + new)
  print(f'{path}: {len(new)} rows of study {FLAGS.study}, seed {new[0].seed}')


if __name__ == '__main__':
  flags.DEFINE_string('seed', None, 'folder of examples/minimix.sh')
  flags.DEFINE_string('table', None, 'CSV file')
  flags.DEFINE_enum('study', 'main', list(STUDIES), 'which arms of the folder')
  flags.DEFINE_integer('seconds', None, 'that the seed took, to be noted')
  command.run(main)
