"""SIGTERM while the command samples: what is answered stays, and the same command ends with the same answers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import write_jsonl
from train_test import run

ROOT = Path(__file__).parent.parent.parent


def start(workdir: Path, prompts: Path, answers: Path) -> subprocess.Popen:
  """In bfloat16, four prompts at a time."""
  files = (f'--checkpoint={workdir}', f'--prompts={prompts}', f'--answers={answers}')
  return subprocess.Popen(
    [sys.executable, '-m', 'skillmix_jax.sample', *files, '--max_new_tokens=400', '--batch_size=4'],
    cwd=ROOT, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def read(path: Path) -> dict[str, dict]:
  return {row['id']: row for row in map(json.loads, path.read_text().splitlines())}


def test_sigterm_keeps_what_is_answered_and_the_same_command_goes_on(tmp_path, small_data):
  run(tmp_path / 'run', small_data, steps=1, held_out__rows=0, model__max_positions=512)
  texts = ('moon ' * (1 + 7 * (i % 5)) + str(i) for i in range(40))
  prompts = [{'id': f'p{i}', 'messages': [{'role': 'user', 'content': text}]} for i, text in enumerate(texts)]
  arguments = tmp_path / 'run', write_jsonl(tmp_path / 'p.jsonl', prompts)
  whole = start(*arguments, tmp_path / 'whole.jsonl')
  assert 'answers' in whole.communicate(timeout=500)[1] and whole.returncode == 0
  answers = tmp_path / 'a.jsonl'
  process = start(*arguments, answers)
  deadline = time.monotonic() + 300
  while not (answers.exists() and answers.stat().st_size):
    assert time.monotonic() < deadline and process.poll() is None, process.communicate()
    time.sleep(0.05)
  process.send_signal(signal.SIGTERM)
  said = process.communicate(timeout=60)[1]
  assert process.returncode == 85 and 'Traceback' not in said, said
  num = len(read(answers))
  assert 0 < num < 40 and 'run the same command again' in said
  again = start(*arguments, answers)
  assert f'{num} of 40 are answered' in again.communicate(timeout=500)[1] and again.returncode == 0
  assert read(answers) == read(tmp_path / 'whole.jsonl')
