"""A file that lines are appended to, each whole or not at all, with room kept on the disk for those on their way."""

import contextlib
import errno
import os
import secrets
import tempfile
import threading
from pathlib import Path

from skillmix_jax.errors import InputError

SYNC_EVERY = 0.2  # seconds; what a power cut may cost, a killed process costs nothing
ROOM = 65_536  # bytes kept for each line on its way; a reply and its prompt take a tenth of that
MOST_ROOM = 64 * 2**20  # bytes
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class AppendedFile:
  """A file that exists from its first line on; a thread brings its lines to the disk."""

  def __init__(self, path: Path, num_coming: int):
    """Keeps room for `num_coming` lines.

    When the disk is full, the line that meets it takes the room and so do the lines that were on their way; `append`
    has told the first, so that no more are asked for.

    Raises:
      InputError: the disk has not so much room.
    """
    self._path = path
    self._file: int | None = None
    self._dirty, self._closed = threading.Event(), threading.Event()
    self._sync_error: OSError | None = None
    self._room = None
    if num_coming:
      with self._explained():
        path.parent.mkdir(parents=True, exist_ok=True)
        self._room = _keep_room(path.parent, min(num_coming * ROOM, MOST_ROOM))

  def append(self, line: bytes) -> InputError | None:
    """The line is in the file, in one write, before this returns; then an error means: let no more come.

    Raises:
      InputError: it is not in the file; the disk is full, or fails.
    """
    full = None
    with self._explained():
      if self._sync_error is not None:
        raise self._sync_error
      try:
        self._write(line)
      except OSError as error:
        if self._room is None or error.errno not in NO_SPACE:
          raise
        self._room.close()
        self._room, full = None, self._failed(error)
        self._write(line)
    return full

  def close(self):
    """Ends with everything on the disk; raises InputError where that fails."""
    if self._room is not None:
      self._room.close()
      self._room = None
    if self._file is None:
      return
    self._closed.set()
    self._dirty.set()
    self._syncer.join()
    try:
      with self._explained():
        os.fsync(self._file)
    finally:
      os.close(self._file)
      self._file = None

  def _write(self, line: bytes):
    if self._file is None:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, 0o644)
      self._syncer = threading.Thread(target=self._sync, args=(self._file,), daemon=True)
      self._syncer.start()
      _sync_folder(self._path.parent)
    start = os.fstat(self._file).st_size
    try:
      rest = line[os.write(self._file, line) :]
      while rest:  # the disk is nearly full: the next write says so
        rest = rest[os.write(self._file, rest) :]
    except OSError:
      os.ftruncate(self._file, start)  # no torn line before the rows that may follow
      raise
    self._dirty.set()

  def _sync(self, file: int):
    """The thread: groups the lines of 200 ms, since a flush of the disk takes longer than a reply."""
    while not self._closed.is_set():
      self._dirty.wait()
      self._dirty.clear()
      try:
        os.fsync(file)
      except OSError as error:
        self._sync_error = error
        return
      self._closed.wait(SYNC_EVERY)

  @contextlib.contextmanager
  def _explained(self):
    try:
      yield
    except OSError as error:
      raise self._failed(error) from None

  def _failed(self, error: OSError) -> InputError:
    remedy = 'free some space' if error.errno in NO_SPACE else 'mend the disk'
    return InputError(f'{self._path} cannot be written ({error.strerror}): {remedy} and run the same command again')


def _keep_room(folder: Path, num_bytes: int):
  """A file without a name, which goes with the process however that ends; the disk cannot compress what is in it."""
  room = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as the room is kept
  try:
    rest = secrets.token_bytes(num_bytes)
    while rest:
      rest = rest[room.write(rest) :]
    os.fsync(room.fileno())
  except OSError:
    room.close()
    raise
  return room


def _sync_folder(folder: Path):
  """A new file's name is on the disk only when its folder is; mounts that cannot do that do without."""
  opened = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(opened)
  except OSError as error:
    if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
      raise
  finally:
    os.close(opened)
