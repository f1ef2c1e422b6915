"""One run in several processes on this machine: it stops together, moves to other counts, and ends when one is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import write_jsonl
from helpers.processes import HEARTBEAT, ROOT, codes, losses, said, start, train, wait_for_step

from skillmix_jax.checkpoint import steps_in
from skillmix_jax.errors import PREEMPTED

STEPS = 400


@pytest.fixture(scope='module')
def stopped(tmp_path_factory, small_data):
  """A run of 4 processes of which one got SIGTERM: (its folder, the step that was saved)."""
  folder = tmp_path_factory.mktemp('stopped') / 'run'
  processes = train(4, 1, folder, small_data, f'--config.steps={STEPS}')
  wait_for_step(processes, folder, 3)
  processes[2].send_signal(signal.SIGTERM)
  assert codes(processes) == [PREEMPTED] * 4, said(folder, 2)
  (step,) = steps_in(folder)
  return folder, step


def test_sigterm_to_one_of_four_processes_stops_all_at_the_same_step(stopped):
  folder, step = stopped
  assert all(f'SIGTERM: step {step} is being saved' in said(folder, index) for index in range(4))
  assert list(losses(folder)) == list(range(1, step + 1))  # one writer


def test_a_checkpoint_of_4_processes_restores_bit_equal_on_2_on_1_and_on_1_with_8_devices(tmp_path, stopped):
  folder, step = stopped
  hashes = []
  for num, devices in ((4, 1), (2, 1), (1, 1), (1, 8)):
    logs = tmp_path / f'{num}x{devices}'
    processes = start(num, devices, 'tests/helpers/restored.py', str(folder), str(step), logs=logs)
    assert codes(processes) == [0] * num, said(logs, 0)
    hashes.append(re.search('restored (.*)', said(logs, 0))[1])
  assert len(set(hashes)) == 1


def test_the_run_goes_on_with_the_same_batches_in_2_processes_and_in_1_with_8_devices(tmp_path, stopped, small_data):
  folder, step = stopped
  results = []
  for num, devices in ((4, 1), (2, 1), (1, 8)):
    copy = tmp_path / f'{num}x{devices}'
    shutil.copytree(folder, copy)
    processes = train(num, devices, copy, small_data, f'--config.steps={step + 2}')
    assert codes(processes) == [0] * num, said(copy, 0)
    results.append([losses(copy)[s] for s in (step + 1, step + 2)])
  for other in results[1:]:  # but for the order of additions
    np.testing.assert_allclose(other, results[0], rtol=1e-4)


def test_a_killed_process_ends_all_in_the_stated_time_by_its_number(tmp_path, small_data):
  folder = tmp_path / 'run'
  processes = train(4, 1, folder, small_data, '--config.steps=100000')
  wait_for_step(processes, folder, 3)
  began = time.monotonic()
  processes[1].kill()
  assert codes(processes, timeout=2 * HEARTBEAT) == [134, 137, 134, 134]
  assert time.monotonic() - began < HEARTBEAT + 10
  texts = [said(folder, index) for index in (0, 2, 3)]
  assert all('unhealthy' in text.replace('\n', ' ') and '\n1\n' in text for text in texts[:1])
  assert any('another process of this run is lost' in text for text in texts)
  assert 'process 1 of 4 is on' in said(folder, 1)


def test_sampling_on_2_processes_gives_the_answers_of_1(tmp_path, stopped):
  folder, _ = stopped
  prompts = [{'id': f'p{i}', 'messages': [{'role': 'user', 'content': f'moon {i}'}]} for i in range(5)]
  path = write_jsonl(tmp_path / 'prompts.jsonl', prompts)
  answers = []
  for num in (1, 2):
    out = tmp_path / f'answers{num}.jsonl'
    arguments = (f'--checkpoint={folder}', f'--prompts={path}', f'--answers={out}', '--max_new_tokens=8')
    options = ('--dtype=float32', '--seed=1')
    processes = start(num, 1, '-m', 'skillmix_jax.sample', *arguments, *options, logs=tmp_path / f'sample{num}')
    assert codes(processes) == [0] * num, said(tmp_path / f'sample{num}', 0)
    answers.append({(row := json.loads(line))['id']: row for line in out.read_text().splitlines()})
  assert len(answers[0]) == 5 and answers[0] == answers[1]


def test_a_damaged_part_sends_all_processes_back_to_the_same_step(tmp_path, small_data):
  folder = tmp_path / 'run'
  options = ('--config.checkpoint.every=2', '--config.mesh.fsdp=2')
  assert codes(train(2, 1, folder, small_data, '--config.steps=4', *options)) == [0, 0], said(folder, 0)
  parts = sorted((folder / 'checkpoints' / '4' / 'params' / 'ocdbt.process_1' / 'd').iterdir())
  for path in parts:  # what process 1 wrote, and alone reads
    os.truncate(path, path.stat().st_size // 2)
  processes = train(2, 1, folder, small_data, '--config.steps=6', *options)
  assert codes(processes) == [0, 0], said(folder, 0) + said(folder, 1)
  assert 'going on from step 2' in said(folder, 0) and 'continues after step 2' in said(folder, 0)
  assert steps_in(folder) == [4, 6] and list(losses(folder)) == list(range(1, 7))


def test_all_processes_of_a_second_run_are_refused(tmp_path, small_data):
  first, second = tmp_path / 'run', tmp_path / 'second'
  processes = train(2, 1, first, small_data, '--config.steps=100000')
  wait_for_step(processes, first, 2)
  refused = train(2, 1, second, small_data, '--config.steps=100000', f'--workdir={first}')
  assert codes(refused) == [2, 2], said(second, 0)
  assert f'in use by process {processes[0].pid} on' in said(second, 0) and 'in use' in said(second, 1)
  for process in processes:
    process.send_signal(signal.SIGINT)
  assert codes(processes) == [130, 130], said(first, 0)
  assert steps_in(first) and all('Ctrl-C: step' in said(first, index) for index in (0, 1))


def test_the_local_launcher(tmp_path, small_data):
  folder = tmp_path / 'run'
  command = [ROOT / 'launch' / 'local.sh', '2', 'skillmix_jax.train', '--config=configs/tiny.py', '--config.steps=2']
  paths = (f'--config.data.path={small_data}', f'--workdir={folder}', '--config.held_out.rows=0')
  environment = os.environ | {'PYTHON': sys.executable, 'PORT': '51519'}
  done = subprocess.run([*command, *paths], cwd=ROOT, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'process 1 of 2 is on' in done.stderr and f'done: step 2 in {folder}' in done.stderr
