"""A second command is refused with who holds the folder; what died blocks nobody."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skillmix_jax.errors import InputError
from skillmix_jax.lock import hold

HOLDER = (
  'import os, sys\nfrom pathlib import Path\nfrom skillmix_jax.lock import hold\n'
  'with hold(Path(sys.argv[1])):\n  print("held", flush=True)\n  child = os.fork()\n  sys.stdin.read()'
)


def start_holder(folder: Path) -> subprocess.Popen:
  """A process that holds the folder, and has a child that outlives it for as long as the pipe is open."""
  process = subprocess.Popen(
    [sys.executable, '-c', HOLDER, str(folder), 'a word'], cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE,
    stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  assert process.stdout.readline() == 'held\n'
  return process


def test_a_second_process_is_refused_with_who_holds_it_and_goes_on_when_that_was_killed(tmp_path):
  folder = tmp_path / 'run'
  with start_holder(folder) as process:
    said = rf'run is in use by process {process.pid} on \S+ \(.* since 20'
    with pytest.raises(InputError, match=said) as refused, hold(folder):
      raise AssertionError('two hold it')
    assert "'a word'" in str(refused.value) and f'delete {folder}/.lock' in str(refused.value)
    assert str(refused.value).count('\n') == 0
    process.kill()
    process.wait()
    assert (folder / '.lock').exists()  # a dead holder's, of which a child is still there
    with hold(folder):
      assert f'process {os.getpid()} on ' in (folder / '.lock').read_text()
  assert not (folder / '.lock').exists()


def test_the_lock_file_of_a_machine_that_is_gone_may_be_deleted(tmp_path):
  with start_holder(tmp_path) as process:
    (tmp_path / '.lock').unlink()
    with hold(tmp_path):
      pass
    process.kill()


def test_a_holder_that_ends_between_open_and_lock_leaves_no_lock_on_a_file_that_is_gone(tmp_path, monkeypatch):
  lockf, calls = fcntl.lockf, []

  def slow(opened, flags):
    if not calls:
      (tmp_path / '.lock').unlink()
    calls.append(opened)
    return lockf(opened, flags)

  monkeypatch.setattr('skillmix_jax.lock.fcntl.lockf', slow)
  with hold(tmp_path):
    assert len(calls) == 2 and (tmp_path / '.lock').exists()


@pytest.mark.parametrize('number', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys, number):
  def refuse(*args):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr('skillmix_jax.lock.fcntl.lockf', refuse)
  with hold(tmp_path / 'answers.jsonl', tmp_path / '.answers.jsonl.lock'):
    pass
  assert 'has no locks' in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='cannot be written'), hold(tmp_path / 'file'):
    pass
