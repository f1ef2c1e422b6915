"""Every flag of every command with wrong values: one helpful line, never a traceback or Python's own words."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What only who knows Python can read: a traceback, an exception with its arguments, a class, an escaped line break
PYTHON = re.compile(
  r'Traceback|\b\w+(Error|Exception)\b|<class |<\w+[.\w]* object|\\n|\[Errno|invalid literal|could not convert|'
  r"\(\['\"]|^error: [\"']|NoneType"
)
MAX_LINES = 3


def walk(folder: Path, *options: str) -> list[dict]:
  """What every command said to wrong values of its flags; fails where that is not for its users."""
  (folder / 'configs').symlink_to(ROOT / 'configs')
  done = subprocess.run(
    [sys.executable, ROOT / 'tests' / 'helpers' / 'flag_walk.py', folder, *options],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  rows = [json.loads(line) for line in (folder / 'results.jsonl').read_text().splitlines()]
  assert len({row['command'] for row in rows}) >= 15
  bad = [
    row
    for row in rows
    if PYTHON.search(row['said']) or row['said'].count('\n') > MAX_LINES or row['code'] not in (0, 1, 2)
  ]
  shown = [f'{row["command"]} {" ".join(row["arguments"])} -> {row["code"]}\n  {row["said"][-400:]}' for row in bad]
  assert not bad, f'{len(bad)} of {len(rows)}:\n' + '\n'.join(shown[:30])
  return rows


def test_wrong_values_of_flags_are_answered_in_words(tmp_path):
  assert len(walk(tmp_path, 'quick')) > 80
