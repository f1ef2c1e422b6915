"""The loop closes: our checkpoint writes, a grader votes, full marks become rows that the checkpoint's kind learns."""

import json
import subprocess
import sys

import pytest
from evals_test import run
from helpers.fake_openai import Server

from configs import eval_paper
from evals.marking import rubric
from evals.questions.settings import from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.endpoints import Local
from evals.replies.ledger import Reply, Request, Slot
from evals.replies.run import Student
from evals.sample import fix_batch_size
from skillmix_jax.errors import InputError

USAGE = {'prompt_tokens': 1, 'completion_tokens': 1}


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
  assert json.loads((path / 'config.json').read_text())['student']['batch_size'] == 4
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


def test_a_run_keeps_the_batch_size_of_its_first_texts(tmp_path):
  config = eval_paper.get_config().to_dict() | {'settings': 'all', 'ks': 1, 'num_combinations': 2}
  settings, path = from_config(config), tmp_path / 'run'
  of = lambda batch_size: Student('checkpoint:w', 'checkpoint:0', {}, batch_size)

  def begin(batch_size) -> int | None:
    began = runs.start(path, settings, of(batch_size))
    slot = Slot(began.combinations[0].id, 1, 'answer1')
    with began.ledger.open_writer('answers') as writer:
      writer.append(Request(slot, ({'content': ''},)), 'key', 'm', {}, Reply('', '', 'm', USAGE, '', 0.0, ''))
    return began.student.batch_size

  assert begin(None) is None  # as an earlier version
  assert begin(16) == 16 and begin(None) == 16
  assert runs.preview(path, settings, of(None)).student.batch_size == 16
  with pytest.raises(InputError, match='written with --batch_size=16, not 8: give the same, or another --run'):
    runs.preview(path, settings, of(8))


def test_the_memory_that_a_run_needs_is_that_of_its_second_round(tmp_path):
  config = eval_paper.get_config().to_dict() | {'settings': 'all', 'ks': (1, 3), 'num_combinations': 2}
  asked = []

  class Remembers(Local):
    def __init__(self):
      pass

    def fix_batch_size(self, request, num, stored):
      asked.append((request, num, stored))
      return 5

  run = runs.preview(tmp_path / 'run', from_config(config), Student('checkpoint:w', 'checkpoint:0', {}))
  assert fix_batch_size(run, Remembers()).batch_size == 5
  ((request, num, stored),) = asked
  assert request.slot.step == 'answer2' and len(request.messages) == 3 and (num, stored) == (12, None)
  lengths = {c.id: len(waves.round1_request(run, c, 1).messages[0]['content']) for c in run.combinations}
  assert len(request.messages[0]['content']) == max(lengths.values())
