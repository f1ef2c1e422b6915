"""A server that nobody here wrote: `transformers serve` with our export writes and grades. Needs pip; minutes."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import transformers
from helpers import own_environment
from helpers.data_fixtures import bpe_folder
from helpers.from_torch import torch_model

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / 'tests' / 'fixtures' / '0.1' / 'run_exact' / 'catalog'  # with short prompts
NUM, CAP = 20, 12  # texts, tokens of an answer
CONFIG = (
  '--config=configs/eval_minimix.py', f'--config.catalog={CATALOG}', '--config.settings=held_out',
  '--config.ks=2', f'--config.num_combinations={NUM}', '--config.generations=1', '--config.votes=3',
  '--config.student.temperature=0', f'--config.student.max_tokens={CAP}',
)  # fmt: skip


def run(module: str, *arguments: str, code: int = 0) -> str:
  """A command of ours; what it printed."""
  environment = {name: value for name, value in os.environ.items() if not name.endswith('_API_KEY')}
  done = subprocess.run(
    [sys.executable, '-m', module, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
  )
  assert done.returncode == code, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  return done.stdout + done.stderr


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
  """A random model: as a workdir, and exported from there."""
  folder = tmp_path_factory.mktemp('serve')
  torch_model('mistral', vocab_size=400, max_position_embeddings=4096).save_pretrained(folder / 'theirs')
  bpe_folder(folder / 'theirs')
  run('skillmix_jax.convert', f'--from_hf={folder}/theirs', f'--checkpoint={folder}/workdir')
  run('skillmix_jax.convert', f'--checkpoint={folder}/workdir', f'--to_hf={folder}/export', '--dtype=float32')
  return folder


@pytest.fixture(scope='module')
def server(folder):
  """Serves the export as `export`; its base URL."""
  package = f'transformers[serving]=={transformers.__version__}'
  programs = own_environment.make(folder / 'environment', package, seeing_ours=True)
  with socket.socket() as unused:
    unused.bind(('127.0.0.1', 0))
    port = unused.getsockname()[1]
  log = folder / 'serve.log'
  command = [programs / 'python', '-m', 'transformers.cli.transformers', 'serve', 'export', '--host=127.0.0.1']
  offline = os.environ | {'HF_HUB_OFFLINE': '1'}
  offline.pop('PYTHONPATH', None)
  with log.open('w') as file:
    process = subprocess.Popen([*command, f'--port={port}'], cwd=folder, env=offline, stdout=file, stderr=file)
  deadline = time.monotonic() + 240
  try:
    while True:
      assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
      try:
        urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=5)
        break
      except OSError:
        time.sleep(0.5)
    yield f'http://127.0.0.1:{port}/v1'
  finally:
    process.terminate()
    process.wait()


def ledger(path: Path) -> list[dict]:
  return [json.loads(line) for file in sorted((path / 'replies').glob('*.jsonl')) for line in file.open()]


def answers(path: Path, step: str) -> dict[str, dict]:
  return {row['slot']['combination']: row for row in ledger(path) if row['slot']['step'] == step}


@pytest.fixture(scope='module')
def sampled(folder, server) -> Path:
  """A run whose student is the server."""
  path = folder / 'served'
  run('evals.sample', *CONFIG, f'--run={path}', '--student=openai:export', f'--base_url={server}', '--concurrency=4')
  return path


def test_what_a_served_export_writes_is_what_the_checkpoint_writes(folder, server, sampled):
  ours = folder / 'ours'
  run('evals.sample', *CONFIG, f'--run={ours}', f'--student=checkpoint:{folder}/workdir', '--dtype=float32')
  rows = ledger(sampled)
  assert len(rows) == 2 * NUM and {row['model'] for row in rows} == {'export'}
  (name,) = {row['model_returned'] for row in rows}
  assert name.startswith('export') and {row['url'] for row in rows} == {server}
  theirs, mine = (answers(path, 'answer1') for path in (sampled, ours))
  assert theirs.keys() == mine.keys() and len(mine) == NUM
  for combination, row in theirs.items():
    tokens = [one['usage']['prompt_tokens'] for one in (row, mine[combination])]
    assert tokens[0] == tokens[1] > 5, 'the template of the export gives other tokens'
    assert 0 < row['usage']['completion_tokens'] <= CAP and row['finish_reason'] in ('stop', 'length')
    assert row['reply'] == mine[combination]['reply'], 'greedy answers differ'


def test_a_grader_that_talks_nonsense_ends_the_command_and_is_counted_as_missing(server, sampled):
  arguments = (f'--run={sampled}', '--grader=openai:export', f'--base_url={server}', '--concurrency=4',
               f'--grader_params=max_tokens={CAP},temperature=0')  # fmt: skip
  assert f'{3 * NUM} requests' in run('evals.grade', *arguments, '--dry_run')
  said = run('evals.grade', *arguments, code=1)
  assert 'of no use' in said and '--canary=1 goes on' in said and 'max_tokens' in said
  votes = [row for row in ledger(sampled) if row['slot']['step'] == 'vote']
  assert 50 <= len(votes) < 3 * NUM, 'it did not stop'
  said = run('evals.grade', *arguments, '--canary=1', code=1)
  assert f'0 votes by export on {NUM} of {NUM} texts, {3 * NUM} missing' in said
  votes = [row for row in ledger(sampled) if row['slot']['step'] == 'vote']
  assert len(votes) == 3 * 3 * NUM, 'three attempts at each vote'
  said = run('evals.report', f'--runs={sampled}')
  metrics = json.loads((sampled / 'metrics.json').read_text())
  assert [(cell['n'], cell['missing']) for cell in metrics['cells']] == [(0, 3 * NUM)]
  assert metrics['unparsed'] == 3 * NUM and f'0 of {NUM} texts graded' in said
  assert metrics['tokens']['prompt_tokens'] == sum(row['usage']['prompt_tokens'] for row in ledger(sampled))
  assert metrics['student_health']['names'] == [answers(sampled, 'answer1').popitem()[1]['model_returned']]


def test_a_server_that_holds_another_model_is_one_line(server, sampled):
  where = (f'--run={sampled}-other', '--student=openai:another', f'--base_url={server}')
  said = run('evals.sample', *CONFIG, *where, code=2)
  assert 'another' in said.strip().splitlines()[-1]
