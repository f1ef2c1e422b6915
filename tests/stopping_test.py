"""Ctrl-C and SIGTERM, without a run around them; tests/slow/kill_test.py has real ones."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skillmix_jax.errors import INTERRUPTED, PREEMPTED

EARLY = 'import signal\nfrom skillmix_jax.stopping import before_training\nbefore_training()\n'
WAIT = 'print("ready", flush=True)\nwhile True: signal.pause()\n'

RUN = """
import ctypes, signal
from skillmix_jax.stopping import CtrlC
signal.signal(signal.SIGTERM, lambda *_: print('saved', flush=True))
"""
# As compiling is: one call that lasts, lets other threads run, and that no signal ends.
LOCKED_UP = """
with CtrlC(lambda: None):
  mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
  libc.pthread_mutex_lock(mutex)
  print('ready', flush=True)
  libc.pthread_mutex_lock(mutex)
"""
STEPPING = """
with CtrlC(lambda: 25) as ctrl_c:
  ctrl_c.saves = True
  print('ready', flush=True)
  while True: signal.pause()
"""


def start(code: str) -> subprocess.Popen:
  process = subprocess.Popen(
    [sys.executable, '-c', code], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    text=True,
  )  # fmt: skip
  assert process.stdout.readline() == 'ready\n'
  return process


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, PREEMPTED), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_while_the_libraries_load_has_its_exit_code_and_one_line(number, code):
  process = start(EARLY + WAIT)
  process.send_signal(number)
  _, said = process.communicate(timeout=30)
  assert process.returncode == code and said.count('\n') == 1 and 'nothing to save yet' in said


def test_ctrl_c_ends_at_once_where_there_is_nothing_to_save_even_inside_of_a_long_call():
  process = start(RUN + LOCKED_UP)
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=30)
  assert process.returncode == INTERRUPTED and said == 'Ctrl-C: ended at once; the same command starts again\n'


def test_the_first_ctrl_c_asks_to_save_and_the_second_ends_at_once():
  process = start(RUN + STEPPING)
  process.send_signal(signal.SIGINT)
  assert 'press it again' in process.stderr.readline()
  assert process.stdout.readline() == 'saved\n'
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=30)
  assert process.returncode == INTERRUPTED and said.endswith('the same command continues after step 25\n')


def test_a_command_in_the_background_of_a_script_ignores_ctrl_c():
  process = start('import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n' + EARLY + WAIT)
  process.send_signal(signal.SIGINT)
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=30)
  assert process.returncode == PREEMPTED
