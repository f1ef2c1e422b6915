"""One writer at a time: a second command on the same folder or file is refused in one line that says who holds it.

The lock is the kernel's (POSIX `fcntl`), on a small file that names its holder. It goes with the process, however that
ends: a run that was killed blocks nobody, and there is no heartbeat that a busy or suspended process could miss.

What it cannot do. NFS 4, GPFS and Lustre (mounted with `flock`) keep it between machines and drop it some 90 s after a
machine has died. NFS 3 drops it only when that machine is back: until then the message says which file to delete. A
mount without locks (some Lustre and FUSE mounts) cannot be protected; a line says so once. Mounts whose locks are only
the machine's own (`localflock`, `local_lock=all`) look protected and let a second machine in. One process does not
exclude itself, and it loses the lock when it opens and closes the lock file elsewhere.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from skillmix_jax.errors import InputError

NAME = '.lock'  # of the lock file in a folder
_HELD = (errno.EAGAIN, errno.EACCES)  # POSIX allows either
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)


@contextlib.contextmanager
def hold(what: Path, file: Path | None = None) -> Iterator[None]:
  """Holds `what` alone while the block runs; the lock file is gone afterwards.

  Args:
    what: the folder or file that is protected, as the message names it.
    file: the lock file; None: `what`/.lock, where `what` is a folder. Its folder is made.

  Raises:
    InputError: another process holds it, or the lock file cannot be written.
  """
  file = what / NAME if file is None else file
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = _open_locked(file)
  except BlockingIOError:
    raise InputError(
      f'{what} is in use by {_holder(file)}: wait for it, end it, or use another place (if that machine is dead, '
      f'delete {file})'
    ) from None
  except OSError as error:
    raise InputError(f'{file} cannot be written: {error.strerror}') from None
  if opened is None:
    print(f'{file}: this file system has no locks, so nothing stops a second command on {what}', file=sys.stderr)
    yield
    return
  try:
    _write_holder(opened)
    yield
  finally:
    with contextlib.suppress(OSError):
      if _is_at(opened, file):
        file.unlink()
    os.close(opened)  # and with it the lock


@contextlib.contextmanager
def hold_together(what: Path, file: Path | None = None) -> Iterator[None]:
  """Takes the lock for all processes of a distributed run: process 0 holds it, and all are refused together.

  JAX's processes must have been joined (mesh.initialize_distributed).

  Raises:
    InputError: another run holds it.
  """
  import jax

  from skillmix_jax.mesh import on_main_process

  if jax.process_count() == 1:
    with hold(what, file):
      yield
    return
  with contextlib.ExitStack() as stack:
    refused = None
    if jax.process_index() == 0:
      try:
        stack.enter_context(hold(what, file))
      except InputError as error:
        refused = error
    if on_main_process(refused is not None):
      raise refused or InputError(f'{what} is in use: process 0 says by whom')
    yield


def _open_locked(file: Path) -> int | None:
  """Opens and locks; None where there are no locks. Raises BlockingIOError where another process has the lock."""
  while True:
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
      fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      os.close(opened)
      if error.errno in _NO_LOCKS:
        file.unlink(missing_ok=True)
        return None
      if error.errno in _HELD:
        raise BlockingIOError from None
      raise
    if _is_at(opened, file):
      return opened
    os.close(opened)  # the holder before has just ended and taken its file away


def _is_at(opened: int, file: Path) -> bool:
  try:
    return os.path.samestat(os.fstat(opened), file.stat())
  except FileNotFoundError:
    return False


def _write_holder(opened: int):
  now = datetime.datetime.now(datetime.UTC)
  command = ' '.join(shlex.join(sys.argv).split())[:200]
  text = f'process {os.getpid()} on {socket.gethostname()} ({command}) since {now:%Y-%m-%d %H:%M:%S} UTC\n'
  with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
    os.ftruncate(opened, 0)
    os.pwrite(opened, text.encode(errors='replace'), 0)


def _holder(file: Path) -> str:
  try:
    return file.read_text(errors='replace').strip() or 'another process'
  except OSError:
    return 'another process'
