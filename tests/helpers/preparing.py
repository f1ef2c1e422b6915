"""Inputs of every kind for `prepare`, and a call of it that takes them all."""

import hashlib
import random
from pathlib import Path

from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl, write_wet

from skillmix_jax.prepare import prepare

LENGTH = 200


def write_inputs(folder: Path) -> Path:
  """One file of every source, and a tokenizer."""
  rng = random.Random(0)
  write_jsonl(folder / 'dialogs.jsonl', [two_rounds(rng, i, k=1 + i % 3, words=8) for i in range(60)])
  write_jsonl(folder / 'text.jsonl', [{'text': f'document {i} ' + 'moon river ' * 40} for i in range(80)])
  (folder / 'src' / 'deep').mkdir(parents=True)
  for i in range(30):
    (folder / 'src' / 'deep' / f'f{i:02}.py').write_text(f'def f{i}(x):\n  return  x + {i}\n' * 20)
  (folder / 'src' / 'latin1.py').write_bytes(b'# caf\xe9\n')
  (folder / 'src' / 'empty.py').write_text('')
  languages = ['eng', 'deu', 'fra,eng', None]
  write_wet(folder / 'crawl.warc.wet.gz', [(f'page {i} ' + 'héllo ' * 60, languages[i % 4]) for i in range(40)])
  bpe_folder(folder / 'tokenizer')
  return folder


def make_data(inputs: Path, out: Path, **changes) -> dict:
  """The manifest of a folder that was prepared from all of `write_inputs`, up to arguments that change."""
  arguments = {
    'dialogs': [str(inputs / 'dialogs.jsonl')],
    'code': str(inputs / 'src' / '**' / '*.py'),
    'wet': str(inputs / '*.wet.gz'),
    'text': [str(inputs / 'text.jsonl')],
    'tokenizer_path': inputs / 'tokenizer',
    'template': 'mistral',
    'length': LENGTH,
    'held_out': 0.1,
    **changes,
  }
  return prepare(out=out, **arguments)


def only(**source) -> dict:
  """Changes for `make_data`: no other source than this."""
  return {'dialogs': [], 'code': '', 'wet': '', 'text': [], **source}


def hashes(folder: Path) -> dict[str, str]:
  """SHA-256 of every file."""
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
