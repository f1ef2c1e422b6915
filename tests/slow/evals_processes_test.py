"""Two processes sample together; one keeps what both answer."""

import json

from helpers.processes import codes, said, start


def test_sampling_for_a_run_in_2_processes_gives_the_replies_of_1(tmp_path, small_data):
  from evals_test import ledger, run

  workdir = tmp_path / 'w'
  run(
    'skillmix_jax.train', '--config=configs/tiny.py', f'--config.data.path={small_data}', f'--workdir={workdir}',
    '--config.steps=1', '--config.model.max_positions=4096', '--config.held_out.rows=0',
  )  # fmt: skip
  found = []
  for num in (1, 2):
    path = tmp_path / f'run{num}'
    arguments = (
      '--config=configs/eval_generate.py', '--config.ks=1,2', '--config.num_combinations=2', f'--run={path}',
      f'--student=checkpoint:{workdir}', '--config.student.max_tokens=8', '--dtype=float32',
    )  # fmt: skip
    logs = tmp_path / f'logs{num}'
    assert codes(start(num, 1, '-m', 'evals.sample', *arguments, logs=logs)) == [0] * num, said(logs, 0)
    found.append({row['key']: row['reply'] for row in ledger(path)})
    assert json.loads((path / 'config.json').read_text())['student']['params']['max_tokens'] == 8
  assert len(found[0]) == 8 and found[0] == found[1]
