"""examples/minimix_science.sh at smoke size: a variant differs from the experiment in what it says, nowhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path

from evals_test import run

from evals.minimix.studies import SCIENCE


def config(folder: Path, arm: str) -> dict:
  """The config of a training, without its files."""
  found = json.loads((folder / 'runs' / arm / 'config.json').read_text())
  del found['data'], found['data_identity'], found['model']['init_from']
  return found


def test_variants(tmp_path):
  out = tmp_path / 'seed-0'
  env = os.environ | {
    'PYTHON': sys.executable, 'WORLD_FLAGS': '--base_dialogs=120 --base_texts=60',
    'TRAIN_FLAGS': '--config.held_out.rows=0 --config.steps=2',
  }  # fmt: skip
  small = env | {'WORLD_FLAGS': env['WORLD_FLAGS'] + ' --share=0.02'}
  main = ['examples/minimix.sh', str(out), '0', 'D1 D12 D123', '2', '2,3', "('train','held_out')"]
  subprocess.run(main, env=small, check=True)
  for _ in range(2):
    science = ['examples/minimix_science.sh', str(out), '0', '2']
    done = subprocess.run(science, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
  assert 'replies' not in done.stderr, 'something was sampled or graded twice'

  said = run('evals.minimix.findings', f'--seeds={out}', '--study=science', '--ks=2,3,4')
  for arm in SCIENCE.arms.values():
    assert f'| {arm.label} | train | 0.00 |' in said
  usual = config(out, 'D123')
  assert config(out / 'science/control', 'D123') == usual
  assert config(out / 'science/pairs-0', 'D123') == usual
  for weight in ('0', '.1', '1'):
    loss = usual['loss'] | {'kind': 'two_term', 'text_weight': float(weight)}
    assert config(out / f'science/text-{weight}', 'D123') == usual | {'loss': loss}
  sizes = [len((out / f'science/control/world/dialogs/d{k}.jsonl').read_text().splitlines()) for k in (1, 2, 3)]
  assert sum(sizes) == 8004 and sizes[1] + sizes[2] < 6200
  bases = [
    (out / folder / 'world/base/text.jsonl').read_text() for folder in ('', 'science/pairs-0', 'science/control')
  ]
  assert bases[0] != bases[1] and bases[0] == bases[2]
