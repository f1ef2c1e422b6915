"""Files that appear when they are complete: what was there before stays until then."""

import os
from collections.abc import Iterable
from pathlib import Path

from skillmix_jax.errors import InputError


def write_text(path: Path, text: str):
  """Replaces a file; on a full disk the old one stays and nothing is left beside it."""
  write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]):
  """Writes in the same way a text that need not fit in memory; a pipe or a device is written to, not replaced."""
  is_file = path.is_file() or not path.exists()
  temporary = Path(f'{path}.partial')
  try:
    with (temporary if is_file else path).open('w', encoding='utf-8', newline='\n') as file:
      file.writelines(pieces)
    if is_file:
      os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def output_file(flag: str, value: str, example: str) -> Path:
  """Returns the path of a file to be written and makes its folder, before anything is computed.

  Raises:
    InputError: it is a folder, or lies below a file.
  """
  path = Path(value)
  if path.is_dir():
    raise InputError(f'--{flag}={value} is a folder: name the file, for example --{flag}={path / example}')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f'--{flag}={value}: cannot make the folder {path.parent} ({error.strerror})') from None
  return path


def write_output(flag: str, path: Path, text: str):
  """Writes a text that a command was asked for, see `write_text`.

  Raises:
    InputError: the disk is full, or the folder is not ours to write.
  """
  try:
    write_text(path, text)
  except OSError as error:
    raise InputError(f'cannot write --{flag}={path}: {error.strerror}') from error
