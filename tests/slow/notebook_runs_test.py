"""The notebook runs from top to bottom as its first cell says: the environment of the project plus Jupyter.

Needs a package index: what runs notebooks is installed into an environment of its own, on top of ours.
"""

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = 'examples/first_hour.ipynb'
RUN = """
import sys, nbformat
from nbclient import NotebookClient
path, out = sys.argv[1:]
notebook = nbformat.read(path, as_version=4)
where = {'metadata': {'path': path.rpartition('/')[0]}}
NotebookClient(notebook, timeout=1800, kernel_name='python3', record_timing=False, resources=where).execute()
nbformat.write(notebook, out)
"""


@pytest.fixture(scope='module')
def outputs(tmp_path_factory) -> list[list[dict]]:
  """What each cell of code gave."""
  folder = tmp_path_factory.mktemp('notebook')
  python = folder / 'venv' / 'bin' / 'python'
  subprocess.run([sys.executable, '-m', 'venv', folder / 'venv'], check=True)
  packages = Path(sysconfig.get_path('purelib', vars={'base': folder / 'venv'}))
  (packages / 'setup.pth').write_text(f'import site; site.addsitedir({site.getsitepackages()[0]!r})\n')
  install = [python, '-m', 'pip', '--disable-pip-version-check', 'install', '--quiet', 'nbclient', 'ipykernel']
  subprocess.run(install, check=True)
  project = folder / 'project'
  shutil.copytree(ROOT / 'examples', project / 'examples')
  for name in ('configs', 'evals', 'skillmix_jax'):
    (project / name).symlink_to(ROOT / name)
  environment = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  paths = [project / NOTEBOOK, folder / 'out.ipynb']
  subprocess.run([python, '-c', RUN, *paths], cwd=folder, env=environment, check=True)
  cells = json.loads(paths[1].read_text())['cells']
  return [cell['outputs'] for cell in cells if cell['cell_type'] == 'code']


def _said(outputs: list[dict]) -> str:
  return ''.join(''.join(output.get('text', '')) for output in outputs)


def test_every_command_of_the_notebook_succeeds(outputs):
  said = ''.join(map(_said, outputs))
  for word in ('Traceback', 'error:', 'FAILED', 'No module', 'command not found'):
    assert word not in said, said


def test_the_notebook_shows_coloured_tokens_a_picture_and_grades(outputs):
  kinds = {kind for cell in outputs for output in cell for kind in output.get('data', {})}
  said = ''.join(map(_said, outputs))
  assert 'image/svg+xml' in kinds
  assert '\x1b[1;32m' in said and 'done: step 100' in said and 'Ratio of Full Marks' in said and 'full marks: ' in said
