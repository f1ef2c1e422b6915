"""Files that appear when they are complete: what was there before stays until then."""

import os
from collections.abc import Iterable
from pathlib import Path

from skillmix_jax.errors import InputError


def write_text(path: Path, text: str):
  """Replaces a file; on a full disk the old one stays and nothing is left beside it."""
  write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]):
  """The same for a text that need not be in memory as a whole."""
  temporary = Path(f'{path}.partial')
  try:
    with temporary.open('w', encoding='utf-8', newline='\n') as file:
      file.writelines(pieces)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def output_file(flag: str, value: str, example: str) -> Path:
  """The path of a file to be written, whose folder is there after this; found before anything is computed.

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
  """`write_text` of what a command was asked for.

  Raises:
    InputError: the disk is full, or the folder is not ours to write.
  """
  try:
    write_text(path, text)
  except OSError as error:
    raise InputError(f'cannot write --{flag}={path}: {error.strerror}') from error
