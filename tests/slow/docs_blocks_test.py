"""The shell blocks of README.md and docs/ run, page by page and from top to bottom, as a reader runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_dialog, write_jsonl
from evals_test import reply
from helpers.docs_blocks import PAGES, ROOT, Block, blocks
from helpers.fake_openai import Server

STEPS = 2  # of the checkpoint that stands for one of Mistral's


def python(*arguments: str, folder: Path):
  subprocess.run([sys.executable, '-m', *arguments], cwd=folder, check=True, env=environment(folder))


def environment(folder: Path) -> dict[str, str]:
  """A shell in the folder of the project in which `python` is the one of `.venv`."""
  names = {'JAX_PLATFORMS': 'cpu', 'PATH': f'{folder / ".venv/bin"}:{os.environ["PATH"]}', 'PYTHONPATH': str(folder)}
  return os.environ | names | {'OPENAI_API_KEY': 'none', 'HF_HUB_OFFLINE': '1'}


@pytest.fixture(scope='module')
def stand_ins(small_raw, small_data, tmp_path_factory) -> Path:
  """The folder of the project, with small files under the names that the pages use for what a reader has."""
  folder = tmp_path_factory.mktemp('project')
  for path in ROOT.iterdir():
    if not path.name.startswith('.') and path.name not in ('runs', 'data', 'checkpoints', 'demo', 'build'):
      (folder / path.name).symlink_to(path)
  (folder / '.venv').symlink_to(sys.prefix)
  python(
    'skillmix_jax.prepare', f'--dialogs={small_raw / "dialogs.jsonl"}', f'--text={small_raw / "text.jsonl"}',
    f'--tokenizer={small_raw / "tokenizer"}', '--template=mistral', '--length=576', '--held_out=0.2',
    '--out=data/mine', folder=folder,
  )  # fmt: skip
  shutil.copytree(small_data, folder / 'data/tiny')
  for name in ('D2', 'D123_8000'):
    shutil.copyfile(small_raw / 'dialogs.jsonl', folder / f'data/{name}.jsonl')
  write_jsonl(folder / 'prompts.jsonl', [make_dialog(i) | {'messages': make_dialog(i)['messages'][:3]} for i in (1, 2)])
  run = f'runs/mistral7b-D12@{STEPS}'
  python(
    'skillmix_jax.train', '--config=configs/tiny.py', '--config.data.path=data/mine', f'--config.steps={STEPS}',
    f'--workdir={run.partition("@")[0]}', '--config.held_out.rows=0', folder=folder,
  )  # fmt: skip
  (folder / 'mistralai').mkdir()
  name = '--to_hf=mistralai/Mistral-7B-Instruct-v0.2'
  python('skillmix_jax.convert', f'--checkpoint={run}', name, folder=folder)
  (folder / 'runs/mistral7b-D12/checkpoints' / str(STEPS)).rename(folder / 'runs/mistral7b-D12/checkpoints/4000')
  shutil.copytree(ROOT / 'evals/catalogs/paper', folder / 'mine')
  return folder


@pytest.fixture
def project(stand_ins, tmp_path) -> Path:
  """A copy for one page: pages give the same name to different things."""
  return shutil.copytree(stand_ins, tmp_path / 'project', symlinks=True)


def script(found: list[Block], url: str) -> str:
  """All commands of a page; says which block comes next, and ends what it left in the background."""
  lines = ['set -euo pipefail', "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
  for block in found:
    lines += [f'echo "== {block.page}:{block.line}" >&2', block.text.replace('THE_URL', url)]
  return '\n'.join(lines)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, project):
  found = [block for block in blocks(page) if block.needs is None]
  if not found:
    pytest.skip('every block needs something')
  with Server(served='fake-1-2026-11-01', reply=reply) as server:
    done = subprocess.run(
      ['bash', '-c', script(found, server.base_url)], cwd=project, env=environment(project), text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800,
    )  # fmt: skip
  assert done.returncode == 0, done.stdout[-3000:]
