"""examples/minimix_science.sh at smoke size: a variant differs from the experiment in what it says, nowhere else."""

import json
import os
import subprocess
import sys

from evals_test import run

from evals.minimix import grader
from evals.results import graded


def test_variants(tmp_path):
  out = tmp_path / 'seed-0'
  env = os.environ | {
    'PYTHON': sys.executable, 'WORLD_FLAGS': '--base_dialogs=120 --base_texts=60 --share=0.02',
    'TRAIN_FLAGS': '--config.held_out.rows=0 --config.steps=2', 'ECHO_FLAGS': '--least=0',
  }  # fmt: skip
  main = ['examples/minimix.sh', str(out), '0', 'D1 D12 D123', '2', '1,2,3,4,5', "('train','held_out')"]
  subprocess.run(main, env=env, check=True)
  for _ in range(2):
    done = subprocess.run(
      ['examples/minimix_science.sh', str(out), '0', '2'], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
  assert 'replies' not in done.stderr, 'something was sampled or graded twice'

  said = run('evals.minimix.findings', f'--seeds={out}')
  for study in ('main', 'one-sentence', 'apart'):
    assert f'Study {study}: 0 of' in said
  for arm in ('D1', 'D12'):  # D(1) and D(2) are the same dialogs with one sentence
    assert (out / 'one-sentence/runs' / arm).samefile(out / 'runs' / arm)
    files = [out / folder / 'world/dialogs' / f'd{arm[-1]}.jsonl' for folder in ('', 'one-sentence')]
    assert files[0].read_bytes() == files[1].read_bytes()
  weights = [(out / folder / 'runs/D123/config.json').read_text() for folder in ('', 'one-sentence')]
  models = [json.loads(text)['data_identity'] for text in weights]
  assert models[0] != models[1]
  for text in graded.load(out / 'one-sentence/evals/D123').texts:
    assert text.votes == (grader.points(text.skills, text.topic, text.text, limit=1),)
  bases = [(out / folder / 'world/base/text.jsonl').read_text() for folder in ('', 'one-sentence', 'apart')]
  assert bases[0] == bases[1] != bases[2]
