"""JSON and JSONL: written whole or not at all (see skillmix_jax/files.py), read line by line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from skillmix_jax.errors import InputError
from skillmix_jax.files import write_pieces, write_text


def write_json(path: Path, value: dict[str, Any]):
  """One object, indented."""
  write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]):
  """One object a line."""
  write_pieces(path, (json.dumps(record, ensure_ascii=False) + '\n' for record in records))


def read_jsonl(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """('FILE:LINE', the object) of every line that is not blank; only \\n ends a line, for a text may hold U+2028.

  Raises:
    InputError: the file cannot be read, or a line is no JSON object; the message starts with FILE or FILE:LINE.
  """
  try:
    lines = Path(path).read_bytes().split(b'\n')
  except OSError as error:
    raise InputError(f'{path}: {error.strerror or error}') from None
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    where = f'{path}:{number}'
    try:
      record = json.loads(line.decode())
    except UnicodeDecodeError as error:
      raise InputError(f'{where}: not UTF-8 at byte {error.start} of the line') from None
    except json.JSONDecodeError as error:
      raise InputError(f'{where}: not JSON: {error.msg}') from None
    if not isinstance(record, dict):
      raise InputError(f'{where}: not a JSON object')
    yield where, record
