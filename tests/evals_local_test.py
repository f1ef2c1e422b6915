"""The loop closes: our checkpoint writes, a grader votes, full marks become rows that the checkpoint's kind learns."""

import json
import subprocess
import sys

import pytest
from evals_test import run
from fake_openai import Server

from evals.marking import rubric


@pytest.fixture(scope='module')
def checkpoint(small_data, tmp_path_factory):
  """A model that has learned next to nothing, with room for the paper's prompts."""
  workdir = tmp_path_factory.mktemp('student') / 'w'
  run(
    'skillmix_jax.train', '--config=configs/tiny.py', f'--config.data.path={small_data}', f'--workdir={workdir}',
    '--config.steps=1', '--config.model.max_positions=4096', '--config.held_out.rows=0',
  )  # fmt: skip
  return workdir


def full_marks(body):
  """A grader who likes everything, but for the length."""
  from evals_test import criteria_of

  criteria = criteria_of(body['messages'][-1]['content'])
  return rubric.format_table(criteria, [1] * len(criteria))


def test_a_checkpoint_writes_what_becomes_training_rows(checkpoint, small_raw, tmp_path):
  path, dialogs, data = tmp_path / 'run', tmp_path / 'dialogs.jsonl', tmp_path / 'data'
  sample = [
    'evals.sample', '--config=configs/eval_generate.py', f'--run={path}', f'--student=checkpoint:{checkpoint}',
    '--config.ks=1,2', '--config.num_combinations=2', '--config.student.max_tokens=12', '--config.length=grader',
    '--dtype=float32',
  ]  # fmt: skip
  assert '4 of 4 texts' in run(*sample, OPENAI_API_KEY='')
  rows = [json.loads(line) for file in (path / 'replies').glob('*.jsonl') for line in file.open()]
  assert len(rows) == 8 and {row['finish_reason'] for row in rows} <= {'stop', 'length'}
  assert all(row['model'].startswith('checkpoint:') and row['usage']['prompt_tokens'] > 500 for row in rows)
  assert '4 of 4 texts' in run(*sample), 'nothing is left to sample'
  with Server(reply=full_marks) as server:
    run('evals.grade', f'--run={path}', '--grader=openai:fake-1', url=server.base_url)
  out = run('evals.select', f'--run={path}', f'--out={dialogs}')
  assert '0.82' in out and '0.63' in out
  run(
    'skillmix_jax.prepare', f'--dialogs={dialogs}', f'--tokenizer={small_raw / "tokenizer"}', '--template=mistral',
    '--length=4096', f'--out={data}',
  )  # fmt: skip
  page = tmp_path / 'view.html'
  run('skillmix_jax.view', f'--data={data}', '--rows=4', f'--html={page}')
  written = [json.loads(line) for line in dialogs.open()]
  assert len(written) == 4 and all(len(dialog['messages']) == 4 for dialog in written)
  assert page.read_text().count('dialog') >= 4


def test_grading_imports_no_jax_and_sampling_no_network():
  """Machines without accelerators grade; machines without internet sample."""
  code = 'import sys; import evals.grade, evals.report, evals.select, evals.compare; assert "jax" not in sys.modules'
  subprocess.run([sys.executable, '-c', code], check=True)
  code = 'import sys; import evals.sample, evals.replies.endpoints; assert "openai" not in sys.modules'
  subprocess.run([sys.executable, '-c', code], check=True)
