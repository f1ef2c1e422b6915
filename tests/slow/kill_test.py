"""kill -9 and SIGTERM at random moments lose nothing. Needs no apt packages."""

import random
import signal
import time

import pytest
from helpers.survival import end, finish, is_saving, numbers, reached, start, wait_for

from skillmix_jax.checkpoint import steps_in
from skillmix_jax.errors import INTERRUPTED, PREEMPTED


@pytest.fixture(scope='module')
def expected(tmp_path_factory, small_data):
  return finish(tmp_path_factory.mktemp('whole'), small_data)


def test_five_kills_leave_no_trace(tmp_path, small_data, expected):
  chance = random.Random(0)
  for attempt in range(5):
    process = start(tmp_path, small_data)
    before = max((step for step, _ in numbers(tmp_path)), default=0)
    if attempt % 2:  # in the middle of a save
      wait_for(process, reached(tmp_path, before + 1))
      wait_for(process, is_saving(tmp_path))
    else:
      wait_for(process, reached(tmp_path, min(before + chance.randint(1, 60), 290)))
      time.sleep(chance.random() * 0.2)
    code, said = end(process, signal.SIGKILL)
    assert code == -signal.SIGKILL, said
  assert finish(tmp_path, small_data) == expected
  assert not is_saving(tmp_path)()


def test_sigterm_in_the_middle_of_a_save(tmp_path, small_data, expected):
  process = start(tmp_path, small_data)
  wait_for(process, reached(tmp_path, 3))
  wait_for(process, is_saving(tmp_path))
  code, said = end(process, signal.SIGTERM)
  assert code == PREEMPTED, said
  assert finish(tmp_path, small_data) == expected


def test_a_second_sigterm_does_not_break_the_save(tmp_path, small_data, expected):
  process = start(tmp_path, small_data)
  wait_for(process, reached(tmp_path, 3))
  process.send_signal(signal.SIGTERM)
  time.sleep(0.3)
  code, said = end(process, signal.SIGTERM)
  assert code == PREEMPTED, said
  assert finish(tmp_path, small_data) == expected


def test_ctrl_c_saves_says_the_step_and_the_run_resumes_exactly(tmp_path, small_data, expected):
  process = start(tmp_path, small_data, '--config.checkpoint.every=1000')
  wait_for(process, reached(tmp_path, 7))
  code, said = end(process, signal.SIGINT)
  assert code == INTERRUPTED, said
  (step,) = steps_in(tmp_path)
  assert f'Ctrl-C: step {step} is saved' in said and 'Traceback' not in said
  assert finish(tmp_path, small_data) == expected


def test_a_second_ctrl_c_ends_at_once(tmp_path, small_data, expected):
  process = start(tmp_path, small_data, '--config.steps=100000')
  wait_for(process, lambda: steps_in(tmp_path))
  process.send_signal(signal.SIGINT)
  time.sleep(0.05)
  began = time.monotonic()
  code, said = end(process, signal.SIGINT)
  assert code == INTERRUPTED and time.monotonic() - began < 5, said
  assert 'Traceback' not in said


def test_ctrl_c_while_compiling_ends_within_5_seconds(tmp_path, small_data, monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'empty'))
  process = start(tmp_path / 'run', small_data, '--config.held_out.rows=0', '--config.model.num_layers=12')
  lines = iter(process.stderr.readline, '')
  assert any(line.startswith('starts, to step') for line in lines)
  time.sleep(0.5)  # the first step is being traced and compiled
  began = time.monotonic()
  code, said = end(process, signal.SIGINT)
  assert code == INTERRUPTED and time.monotonic() - began < 5, said
  assert said.endswith('Ctrl-C: ended at once; the same command starts again\n') and 'step 1' not in said
