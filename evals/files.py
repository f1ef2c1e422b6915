"""Files that appear when they are complete: what was there before stays until then."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_json(path: Path, value: dict[str, Any]):
  """One object, indented."""
  _write(path, [json.dumps(value, indent=1, ensure_ascii=False)])


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]):
  """One object a line."""
  _write(path, (json.dumps(record, ensure_ascii=False) for record in records))


def _write(path: Path, lines: Iterable[str]):
  temporary = Path(f'{path}.partial')
  with temporary.open('w', encoding='utf-8', newline='\n') as file:
    file.writelines(line + '\n' for line in lines)
  os.replace(temporary, path)
