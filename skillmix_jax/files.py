"""Files that appear when they are complete: what was there before stays until then."""

import os
from pathlib import Path


def write_text(path: Path, text: str):
  """Replaces a file; on a full disk the old one stays and nothing is left beside it."""
  temporary = Path(f'{path}.partial')
  try:
    temporary.write_text(text, encoding='utf-8')
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
