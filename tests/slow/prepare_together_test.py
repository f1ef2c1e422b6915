"""Two `prepare` to one folder, started together: one is refused, what is there is whole. Needs no apt packages."""

import json
import subprocess
import sys

import pytest
from data_damage_test import read_all
from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl


@pytest.mark.parametrize('attempt', range(5))
def test_two_at_once_leave_whole_data(tmp_path, attempt):
  import random

  bpe_folder(tmp_path / 'tokenizer')
  running = []
  for number in (1, 2):
    rng = random.Random(number + 10 * attempt)
    dialogs = write_jsonl(tmp_path / f'{number}.jsonl', [two_rounds(rng, number * 10_000 + i) for i in range(3000)])
    command = [sys.executable, '-m', 'skillmix_jax.prepare', f'--dialogs={dialogs}', f'--out={tmp_path / "data"}',
               f'--tokenizer={tmp_path / "tokenizer"}', '--template=mistral', '--length=512']  # fmt: skip
    running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
  said = [process.communicate()[1] for process in running]
  codes = sorted(process.returncode for process in running)
  assert codes in ([0, 2], [0, 0])  # [0, 0]: the first had ended before the second began
  assert codes == [0, 0] or sum('is in use by process' in text for text in said) == 1
  rows = read_all(tmp_path / 'data')
  numbers = {int(dialog[2].split('-')[1]) // 10_000 for split in rows[:2] for dialog in split}
  assert len(numbers) == 1
  assert json.loads((tmp_path / 'data' / 'manifest.json').read_text())['sources']['dialogs']['documents'] == 3000
