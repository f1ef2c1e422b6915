"""`prepare` on dialogs and the standard library's sources, then batches of 64 dialogs + 16 text rows x 1,024."""

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lines
import mistral_common
from lines import Line

from examples.make_data import make_dialog
from skillmix_jax.data.mixture import Mixture, iterate
from skillmix_jax.data.records import open_data
from skillmix_jax.prepare import prepare

TOKENIZER = Path(mistral_common.__file__).parent / 'data' / 'tokenizer.model.v1'
SOURCES = str(Path(os.__file__).parent / '*.py')
DIALOGS = 2_000


def measure() -> Iterator[Line]:
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    dialogs = folder / 'dialogs.jsonl'
    rng = random.Random(0)
    dialogs.write_text(''.join(json.dumps(make_dialog(rng, i)) + '\n' for i in range(DIALOGS)))
    start = time.perf_counter()
    manifest = prepare(
      out=folder / 'data', tokenizer_path=TOKENIZER, template='mistral', dialogs=[str(dialogs)], code=SOURCES
    )
    seconds = time.perf_counter() - start
    tokens = sum(source['tokens'] for source in manifest['sources'].values())
    yield Line(f"`prepare`: Mistral's tokenizer, {DIALOGS:,} dialogs and sources", tokens / seconds / 1e6, 'M tokens/s')
    mixture = Mixture(open_data(folder / 'data'), seed=0, dialogs=64, text_rows=16)
    rates = []
    for _ in range(5):
      start = time.perf_counter()
      positions = sum(batch['tokens'].size for _, batch in iterate(mixture, 0, 60))
      rates.append(positions / (time.perf_counter() - start))
    yield Line('batches of prepared data', statistics.median(rates) / 1e6, 'M positions/s', aim='>= 5')


if __name__ == '__main__':
  lines.main(measure)
