"""kill -9 and SIGTERM at random moments lose nothing. Needs no apt packages."""

import random
import signal
import time

import pytest
from survival import end, finish, is_saving, numbers, reached, start, wait_for

from skillmix_jax.errors import PREEMPTED


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
