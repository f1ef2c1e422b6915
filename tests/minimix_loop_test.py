"""The whole loop at smoke size: a world, a base, a fine-tune, both rounds, exact marks, findings, a page."""

import json
import os
import subprocess
import sys

from evals_test import run

from evals.minimix import findings, grader, tally
from evals.minimix.studies import MAIN


def test_the_loop_runs_and_runs_again_for_nothing(tmp_path):
  out = tmp_path / 'demo'
  env = os.environ | {
    'PYTHON': sys.executable, 'WORLD_FLAGS': '--base_dialogs=120 --base_texts=60 --share=0.02',
    'TRAIN_FLAGS': '--config.steps=2 --config.held_out.rows=0', 'ECHO_FLAGS': '--least=0',
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
  table = tmp_path / 'table.csv'
  tally.write(table, [tally.Row('main', 0, 'D123', tally.FULL_MARKS, 'train', 1, 3, 3)])
  run('evals.minimix.record', f'--seed={out}', f'--table={table}', '--seconds=9')  # in the place of rows of this seed
  rows = tally.read(table)
  assert len(rows) == len({(row.arm, row.metric, row.setting, row.k) for row in rows}) == 2 * 4 + 1
  said = run('evals.minimix.findings', f'--seeds={out}', f'--figure={tmp_path / "f.svg"}')
  assert '| D(1,2) | held-out |' in said
  assert said.strip().splitlines() == findings.report([row for row in rows if row.metric != tally.SECONDS], MAIN)
  # prompt, table, ledger and parser leave the grader's points as they are
  for row in map(json.loads, (out / 'evals/D12/grades.jsonl').open()):
    assert row['votes'] == [list(grader.points(row['skills'], row['topic'], row['text']))]
