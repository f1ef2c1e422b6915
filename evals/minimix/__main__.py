"""Writes the toy world: everything that an experiment on it starts from.

    python -m evals.minimix --out=demo/world --seed=0

    catalog/       skills.json, topics.json, prompts/: for evals.sample --config.catalog
    tokenizer/     one token for each word: for skillmix_jax.prepare --tokenizer
    dialogs/       d1.jsonl, d2.jsonl, d3.jsonl: D(1), D(2), D(3)
    base/          dialogs.jsonl and text.jsonl for the base model; mix1.jsonl, mix2.jsonl, mix3.jsonl are more of its
                   dialogs, to be mixed in where D(1), D(2), D(3) are fine-tuned on; echo.jsonl asks it to copy
                   (python -m evals.minimix.echo)

The seed decides which skills, topics, pairs and triples are trained on, and every text. A folder that is there is
written over.
"""

from pathlib import Path

from absl import flags

from evals import files
from evals.minimix import dialogs, documents, world
from evals.questions import catalog
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS
MIX = 0.4  # base dialogs for each dialog
NUM_ECHOES = 100
MOST = 10_000_000  # dialogs or documents: more is a slip of the finger that fills the disk


def write(
  out: Path,
  seed: int,
  num_dialogs: int,
  num_texts: int,
  pairs: float,
  share: float,
  *,
  apart: bool = False,
  one_sentence: bool = False,
):
  """Writes the world, with `share` of the dialogs D(k)."""
  world.write_catalog(out / 'catalog', seed, one_sentence)
  world.write_tokenizer(out / 'tokenizer')
  skills = catalog.load(out / 'catalog')
  together = documents.pairs_in_sentences(skills, seed, apart)
  for folder in ('dialogs', 'base'):
    (out / folder).mkdir(parents=True, exist_ok=True)
  for k, size in dialogs.SIZES.items():
    size = round(size * share)
    files.write_jsonl(out / 'dialogs' / f'd{k}.jsonl', dialogs.draw(skills, k, size, seed))
    mixed = documents.Writer(skills, seed, f'mix{k}', pairs, together, repeat_lists=False)
    files.write_jsonl(out / 'base' / f'mix{k}.jsonl', mixed.dialogs(int(MIX * size)))
  files.write_jsonl(out / 'base' / 'echo.jsonl', documents.echo_prompts(seed, NUM_ECHOES))
  base = documents.Writer(skills, seed, 'base', pairs, together, repeat_lists=True)
  files.write_jsonl(out / 'base' / 'dialogs.jsonl', base.dialogs(num_dialogs))
  files.write_jsonl(out / 'base' / 'text.jsonl', base.text(num_texts))


def main():
  if not FLAGS.out:
    raise InputError('--out is missing, see --help')
  write(
    Path(FLAGS.out), FLAGS.seed, FLAGS.base_dialogs, FLAGS.base_texts, FLAGS.pairs, FLAGS.share, apart=FLAGS.apart,
    one_sentence=FLAGS.one_sentence,
  )  # fmt: skip


if __name__ == '__main__':
  flags.DEFINE_string('out', None, 'folder to write')
  flags.DEFINE_integer('seed', 0, 'of everything')
  flags.DEFINE_integer('base_dialogs', 20_000, 'dialogs for the base model', lower_bound=1, upper_bound=MOST)
  flags.DEFINE_integer('base_texts', 5_000, 'documents for the base model', lower_bound=1, upper_bound=MOST)
  flags.DEFINE_float('pairs', 0.15, 'share of its free sentences with two skills', lower_bound=0, upper_bound=0.5)
  flags.DEFINE_boolean('one_sentence', False, 'the improved text has all k skills in one sentence')
  flags.DEFINE_boolean('apart', False, 'no sentence of the base documents has two held-out skills')
  flags.DEFINE_float('share', 1.0, 'of the dialogs D(k)', lower_bound=0.001, upper_bound=1)
  command.run(main)
