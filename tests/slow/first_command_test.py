"""The first command on an empty folder, and what it names followed literally, with tiny stand-ins. No apt packages."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.data_fixtures import bpe_folder, write_wet
from helpers.from_torch import torch_model

ROOT = Path(__file__).parent.parent.parent
SHAPE = ('dim', 'num_layers', 'ffn_dim', 'num_heads', 'num_kv_heads', 'head_dim', 'rope_theta', 'norm_eps')


def _shell(folder: Path, line: str) -> subprocess.CompletedProcess:
  environment = os.environ | {'PYTHONPATH': str(ROOT), 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
  return subprocess.run(['sh', '-c', line], cwd=folder, env=environment, capture_output=True, text=True)


def test_following_the_first_command_literally_trains(tmp_path, small_raw):
  (tmp_path / 'configs').symlink_to(ROOT / 'configs')
  first = 'python -m skillmix_jax.train --config=configs/llama13b.py'
  done = _shell(tmp_path, first)
  assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
  way = re.search(r'First run: (.*); then this command again', done.stderr)[1]

  # Stand-ins for what is the user's, in the places that the line names.
  hub = tmp_path / 'meta-llama' / 'Llama-2-13b-chat-hf'
  torch_model('llama', vocab_size=400, max_position_embeddings=1024).save_pretrained(hub)
  bpe_folder(hub)
  (tmp_path / 'data').mkdir()
  lines = (small_raw / 'dialogs.jsonl').read_text()
  for k in (1, 2, 3):
    (tmp_path / 'data' / f'D{k}.jsonl').write_text(lines)
  (tmp_path / 'CODE').mkdir()
  shutil.copy(ROOT / 'skillmix_jax' / 'train.py', tmp_path / 'CODE')
  (tmp_path / 'CRAWL').mkdir()
  write_wet(tmp_path / 'CRAWL' / 'x.warc.wet.gz', [('moon river ' * 2000, 'eng')])

  for command in way.split(' && '):
    done = _shell(tmp_path, command)
    assert done.returncode == 0, f'{command}\n{done.stderr}'
  shape = json.loads((tmp_path / 'checkpoints' / 'llama2-13b-chat' / 'config.json').read_text())['model']
  tiny = ' '.join(f'--config.model.{name}={shape[name]}' for name in SHAPE)
  small = '--config.steps=1 --config.data.dialogs=2 --config.data.text_rows=1 --config.held_out.rows=1'
  done = _shell(tmp_path, f'{first} {tiny} {small}')
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'runs' / 'llama13b' / 'checkpoints' / '1').is_dir()
