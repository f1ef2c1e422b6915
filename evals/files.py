"""Files that appear when they are complete: what was there before stays until then."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str):
  """The text as it is."""
  _write(path, [text])


def write_json(path: Path, value: dict[str, Any]):
  """One object, indented."""
  _write(path, [json.dumps(value, indent=1, ensure_ascii=False), '\n'])


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]):
  """One object a line."""
  _write(path, (json.dumps(record, ensure_ascii=False) + '\n' for record in records))


def _write(path: Path, pieces: Iterable[str]):
  temporary = Path(f'{path}.partial')
  try:
    with temporary.open('w', encoding='utf-8', newline='\n') as file:
      file.writelines(pieces)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
