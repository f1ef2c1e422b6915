"""What runs or ships the project without being imported: workflow, image, hooks, and what the Makefile installs."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_the_workflow_runs_what_must_pass_with_the_least_rights():
  (path,) = (ROOT / '.github' / 'workflows').iterdir()
  workflow = yaml.safe_load(path.read_text())
  assert workflow['permissions'] == {'contents': 'read'}
  (job,) = workflow['jobs'].values()
  assert 'permissions' not in job and [step['run'] for step in job['steps'] if 'run' in step] == ['.ci/run']
  assert job['strategy']['matrix'] == {'python': ['3.11', '3.12']}  # what the lock and constraints-3.12.txt are for
  for step in job['steps']:
    assert 'run' in step or re.fullmatch(r'actions/[a-z-]+@[0-9a-f]{40}', step['uses']), 'pinned by commit'


def test_an_image_has_only_what_the_commands_need():
  """Neither keys nor data of the folder it is built in get into a layer."""
  lines = [line for line in (ROOT / '.dockerignore').read_text().splitlines() if not line.startswith('#')]
  assert lines[0] == '*'
  for line in lines[1:]:
    if line.startswith('!'):
      assert (ROOT / line[1:]).exists(), line
  text = (ROOT / 'Dockerfile').read_text()
  assert '--require-hashes' in text and not re.search(r'^(ARG|ENV) .*(KEY|TOKEN|SECRET)', text, re.MULTILINE)
  assert re.findall(r'^USER (.*)', text, re.MULTILINE) == ['1000']


def test_make_asks_pip_for_extras_that_are_declared(tmp_path):
  """With a Python that the locks are not for; a comma once cut '.[build,test]' in two."""
  done = subprocess.run(
    ['make', '-n', f'VENV={tmp_path}/venv', f'{tmp_path}/venv/.tools'], cwd=ROOT, capture_output=True, text=True
  )
  declared = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']
  asked = re.findall(r" '(\.\S*)'", done.stdout)
  assert [re.fullmatch(r'\.\[([a-z,]+)\]', name)[1].split(',') for name in asked] == [['build'], ['build', 'test']]
  assert {'build', 'test'} <= declared.keys()


def test_hooks_before_a_commit_are_those_of_make_lint():
  (hooks,) = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
  entries = [hook['entry'].removesuffix(' --force-exclude') for hook in hooks['hooks']]
  assert hooks['repo'] == 'local' and len(entries) == 3
  recipe = re.search(r'^lint:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1]
  commands = recipe.replace('$(VENV)', '.venv').split('\n\t')
  assert [command.strip().removesuffix(' --check') for command in commands] == entries
