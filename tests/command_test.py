"""What is wrong on the command line ends in one line that helps, and exit code 2; SIGTERM ends with 85."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skillmix_jax import command

ROOT = Path(__file__).parent.parent
TINY = '--config=configs/tiny.py'
CASES = {
  'wrong key': ([TINY, '--config.optimizer.learning_rat=1'], 'nearest is --config.optimizer.learning_rate'),
  'wrong group': ([TINY, '--config.optimiser.name=adam'], 'optimiser'),
  'wrong type': ([TINY, '--config.steps=many'], 'steps'),
  'NaN, in any range': ([TINY, '--config.loss.text_weight=nan'], '--config.loss.text_weight=nan is not a number'),
  'unknown flag': ([TINY, '--confg.steps=3'], 'confg'),
  'stray argument': ([TINY, 'steps=3'], "unexpected argument 'steps=3'"),
  'no config': ([], '--config=FILE is missing'),
  'no such config': (['--config=configs/tinny.py'], 'tinny.py'),
  'no data': ([TINY, '--config.data.path=/nowhere/at/all'], 'python -m skillmix_jax.prepare'),
  'wrong value': ([TINY, '--config.optimizer.name=sgd'], "optimizer.name='sgd' is not one of adam, muon"),
}


@pytest.fixture(scope='module')
def answers():
  """Exit code, stdout and stderr of every case; they run side by side."""
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  start = lambda arguments: subprocess.Popen(
    [sys.executable, '-m', 'skillmix_jax.train', *arguments],
    cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip
  running = {name: start(arguments) for name, (arguments, _) in CASES.items()} | {'help': start(['--help'])}
  return {name: (*process.communicate(timeout=120), process.returncode) for name, process in running.items()}


@pytest.mark.parametrize('name', CASES)
def test_bad_command_lines_are_one_line_and_exit_code_2(answers, name):
  _, said, code = answers[name]
  assert code == 2, said
  assert said.startswith('error: ') and said.count('\n') == 1
  assert CASES[name][1] in said


def test_help_teaches_and_is_no_error(answers):
  said, errors, code = answers['help']
  assert code == 0 and not errors
  assert 'The same command again continues' in said and '--workdir' in said


@pytest.mark.parametrize(('stores', 'says'), [(True, 'stored; run the same command again'), (False, 'interrupted')])
def test_ctrl_c_says_what_is_kept(stores, says, monkeypatch, capsys):
  def main():
    if stores:
      command.stop_on_sigterm()
    raise KeyboardInterrupt

  monkeypatch.setattr(command.app, 'run', lambda main, flags_parser: main([]))
  monkeypatch.setattr(sys, 'unraisablehook', sys.unraisablehook)  # the command sets it
  before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
  try:
    with pytest.raises(SystemExit) as ended:
      command.run(main)
  finally:
    signal.signal(signal.SIGTERM, before)
  said = capsys.readouterr().err
  assert ended.value.code == 130 and says in said and said.count('\n') == 1


FULL = {
  'a file': "open('/dev/full', 'w').write('x' * 100_000)",
  'a save': (  # orbax logs what it raises, and tensorstore calls back too late
    "logging.error('Traceback')\n  Late()\n"
    "  raise ValueError('RESOURCE_EXHAUSTED: No space left on device [tensorstore_spec=]')"
  ),
  'a library': "w = ArrayRecordWriter('/dev/full', 'group_size:1'); w.write(b'x' * 10**6); w.close()",
}


@pytest.mark.parametrize('what', FULL)
def test_a_full_disk_is_one_line(what):
  program = f"""
from array_record.python.array_record_module import ArrayRecordWriter
from absl import logging
from skillmix_jax import command
class Late:
  def __del__(self):
    raise RuntimeError('Event loop is closed')
def main():
  {FULL[what]}
command.run(main)
"""
  done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert 'No space left on device' in done.stderr and 'free some space' in done.stderr
  assert 'tensorstore_spec' not in done.stderr


def test_sigterm_ends_a_command_that_stores_as_it_goes_with_its_code():
  before = signal.getsignal(signal.SIGTERM)
  try:
    command.stop_on_sigterm()
    with pytest.raises(SystemExit, match='85'):
      signal.raise_signal(signal.SIGTERM)
  finally:
    signal.signal(signal.SIGTERM, before)
