"""A line of a file that is read again when it is wanted, so that what it holds needs no memory meanwhile."""

import functools
import os
from typing import NamedTuple

from skillmix_jax.errors import InputError

MOST_OPEN = 8  # files that stay open between two lines: to open one takes long on a network's disk


class StoredFile:
  """A file as it was read once."""

  def __init__(self, path: str):
    """Opens nothing yet."""
    self.path = path


class StoredLine(NamedTuple):
  """A line of a file: `size` bytes from byte `start`."""

  file: StoredFile
  start: int
  size: int

  def read(self) -> bytes:
    """Returns what the file has in this place now; raises InputError where it cannot be read any more."""
    try:
      opened = _open(self.file)
      return os.pread(opened.descriptor, self.size, self.start)
    except OSError as error:
      raise self.changed(os.strerror(error.errno or 0)) from None

  def changed(self, what: str = '') -> InputError:
    """Says that the line is not what it was; to be raised."""
    what = what or f'another line is at byte {self.start:,}'
    return InputError(f'{self.file.path} was changed while this command ran ({what}): give the same command again')


class _Opened:
  """Closes a file when nobody reads it any more."""

  def __init__(self, descriptor: int):
    self.descriptor = descriptor

  def __del__(self, close=os.close):
    close(self.descriptor)


@functools.lru_cache(maxsize=MOST_OPEN)
def _open(file: StoredFile) -> _Opened:
  return _Opened(os.open(file.path, os.O_RDONLY | os.O_CLOEXEC))
