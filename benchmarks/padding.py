"""How much of a step of 64 dialogs + 16 rows of text is padding, by how rows are laid out; counted, not timed.

    PYTHONPATH=. python benchmarks/padding.py

The dialogs have the paper's prompts, template and numbers of D(k), and Mistral's tokenizer. Their answers are a word
again and again, of lengths that are ours: at k = 3 the averages of 30 published conversations (skill-mix, 213 and 233
tokens), at other k so many fewer pieces of explanation; each varies by a fifth.
"""

import itertools
import json
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import lines
import mistral_common
import numpy as np
from lines import Line

from evals.questions import catalog as catalogs
from evals.questions import combinations, prompts
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.experiment import rows_of_step
from skillmix_jax.models.config import PRESETS
from skillmix_jax.prepare import prepare

TOKENIZER = Path(mistral_common.__file__).parent / 'data' / 'tokenizer.model.v1'
SOURCES = str(Path(os.__file__).parent / '*.py')
SIZES = {1: 4_077, 2: 6_277, 3: 3_603}  # texts with full marks: the paper's appendix C.1
ANSWERS = ((45, 56), (50, 61))  # tokens of the first and of the improved answer, and for each skill so many more
DEVICES = 4  # the paper's
STEPS = 4_000


def write_dialogs(path: Path, k: int):
  """Writes D(k)."""
  rng, catalog = random.Random(k), catalogs.load()
  answer = lambda base, each: ' '.join(['and'] * max(20, round(rng.gauss(base + each * k, 0.2 * (base + each * k)))))
  with path.open('w') as file:
    drawn = combinations.draw(catalog, settings='train', ks=(k,), num_combinations=SIZES[k], seed=0)
    for asked in itertools.islice(itertools.cycle(drawn), SIZES[k]):  # at k = 1 there are fewer, asked several times
      contents = (
        prompts.round1(catalog, asked), answer(*ANSWERS[0]), prompts.round2(catalog, asked), answer(*ANSWERS[1])
      )  # fmt: skip
      roles = ('user', 'assistant') * 2
      messages = [{'role': role, 'content': content} for role, content in zip(roles, contents)]
      file.write(json.dumps({'id': asked.id, 'messages': messages, 'meta': {'k': k}}) + '\n')


def measure_data(folder: Path, ks: Sequence[int]) -> Iterator[Line]:
  dialogs = []
  for k in ks:
    dialogs.append(str(folder / f'D{k}.jsonl'))
    write_dialogs(Path(dialogs[-1]), k)
  name = f'D({",".join(map(str, ks))})'
  prepare(
    out=folder / name, tokenizer_path=TOKENIZER, template='mistral', dialogs=dialogs, code=SOURCES, max_rows=200,
    drop_cut=True,
  )  # fmt: skip
  data, cfg, before = open_data(folder / name), PRESETS['mistral-7b-v0.2'], None
  for row_length, packing in ((1024, False), (1024, True), (2048, True), (3072, True), (4096, True)):
    data.row_length = row_length  # all that prepare --row_length changes
    mixture = Mixture(data, seed=0, dialogs=64, text_rows=16, packing=packing, steps=STEPS)
    used = np.mean([data.lengths[mixture.indices(g)[0]].sum() for g in range(STEPS)]) + 16 * data.length
    rows = rows_of_step(mixture.rows_needed, DEVICES, 1)
    positions = rows * mixture.length
    flops = positions * cfg.train_flops_per_token(mixture.length)
    before = before or (positions, flops)
    note = (
      f'{rows} rows on {DEVICES} devices, {mixture.rows_needed} needed; {1 - used / positions:.1%} padding; 7B: '
      f'{flops / before[1]:.3f} of the FLOPs, with attention over whole rows'
    )
    layout = f'packed in rows of {row_length:,}' if packing else 'a dialog a row of 1,024'
    rival = f'a dialog a row of 1,024: {before[0]:,}' if packing else ''
    yield Line(
      f'positions of a step, {name}, {data.lengths.mean():.0f} tokens a dialog, {layout}', positions, '', rival,
      ratio=before[0] / positions if packing else None, aim='>= 1.1 x' if row_length == 2048 else '', note=note,
    )  # fmt: skip


def measure() -> Iterator[Line]:
  for ks in ((1, 2), (1, 2, 3)):
    with tempfile.TemporaryDirectory() as folder:
      yield from measure_data(Path(folder), ks)


if __name__ == '__main__':
  lines.main(measure)
