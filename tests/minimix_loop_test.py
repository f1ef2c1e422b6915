"""The whole loop at smoke size: a world, a base, a fine-tune, both rounds, exact marks, findings, a page."""

import json
import os
import subprocess
import sys

import pytest
from evals_test import run

from evals.minimix import findings, grader
from evals.minimix.studies import MAIN


def test_the_loop_runs_and_runs_again_for_nothing(tmp_path):
  out = tmp_path / 'demo'
  env = os.environ | {
    'PYTHON': sys.executable, 'WORLD_FLAGS': '--base_dialogs=120 --base_texts=60 --share=0.02',
    'TRAIN_FLAGS': '--config.steps=2 --config.held_out.rows=0',
  }  # fmt: skip
  command = ['sh', 'examples/minimix.sh', str(out), '0', 'D1 D12', '3', '1,2', "('train','held_out')"]
  for _ in range(2):
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
  assert 'replies' not in done.stderr, 'something was sampled or graded twice'
  dialogs = ','.join(str(path) for path in sorted((out / 'world/dialogs').glob('d?.jsonl')))
  page = tmp_path / 'report.html'
  run('evals.report', f'--runs={out}/evals/D1,{out}/evals/D12', f'--train_data={dialogs}', f'--out={page}')
  cells = json.loads((out / 'evals/D12/metrics.json').read_text())['cells']
  assert [(cell['setting'], cell['k'], cell['n'], cell['missing']) for cell in cells] == [
    ('train', 1, 3, 0), ('train', 2, 3, 0), ('held_out', 1, 3, 0), ('held_out', 2, 3, 0),
  ]  # fmt: skip
  said = run('evals.minimix.findings', f'--seeds={out}', '--ks=1,2', f'--figure={tmp_path / "f.svg"}')
  assert '| D(1,2) | held-out |' in said
  # prompt, table, ledger and parser leave the grader's points as they are
  for row in map(json.loads, (out / 'evals/D12/grades.jsonl').open()):
    assert row['votes'] == [list(grader.points(row['skills'], row['topic'], row['text']))]


def seed(name, **arms):
  """A seed whose arms answered 20 questions of each cell; a number is how many got full marks."""
  cells = {}
  for arm, by_cell in arms.items():
    cells[arm] = {
      cell: {(*cell, ('a', 'b'), f't{i}'): float(i < won) for i in range(20)} for cell, won in by_cell.items()
    }
  return findings.Seed(name, cells)


def test_findings_of_one_seed_are_paired_questions():
  one = seed('s', D1={('train', 2): 0, ('train', 3): 1}, D123={('train', 2): 16, ('train', 3): 2})
  found = findings.find([one], MAIN, [1, 2, 3])
  assert [(f.comparison[3:], f.difference, f.verdict) for f in found] == [
    (('train', 2), pytest.approx(0.8), 'holds'), (('train', 3), pytest.approx(0.05), 'undecided'),
  ]  # fmt: skip
  assert found[0].p == pytest.approx(2 * 0.5**16) and found[0].p_holm == pytest.approx(4 * 0.5**16)
  assert 'pairs 0.00 -> 0.80' in findings.headline([one], found)


def test_findings_of_several_seeds_are_students():
  seeds = [seed(f's{i}', D1={('train', 2): 0}, D123={('train', 2): won}) for i, won in enumerate((10, 12, 14))]
  (found,) = findings.find(seeds, MAIN, [2])
  # differences .5, .6, .7: mean .6, standard error .1 / sqrt 3, t(.975, 2) = 4.303
  assert found.difference == pytest.approx(0.6)
  assert found.ci95 == pytest.approx((0.6 - 0.2484, 0.6 + 0.2484), abs=1e-3)
  assert found.p == pytest.approx(0.00917, abs=1e-4)  # t = 10.39 with 2 degrees of freedom
  none = [seed(f's{i}', D1={('train', 2): 1}, D123={('train', 2): 1}) for i in range(3)]
  assert findings.find(none, MAIN, [2])[0].verdict == 'fails'
