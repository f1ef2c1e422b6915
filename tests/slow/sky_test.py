"""SkyPilot reads launch/sky.yaml, in an environment of its own; nothing is rented. Needs pip; minutes."""

import json
import subprocess
import venv
from pathlib import Path

import pytest

from skillmix_jax.errors import PREEMPTED

FILE = Path(__file__).parents[2] / 'launch' / 'sky.yaml'
READ = """
import json, sys
import sky
task = sky.Task.from_yaml(sys.argv[1])
kinds = [resources.to_yaml_config() for resources in task.resources]
mounts = {path: [storage.source, storage.mode.value] for path, storage in task.storage_mounts.items()}
print(json.dumps({'nodes': task.num_nodes, 'kinds': kinds, 'mounts': mounts, 'run': task.run, 'envs': task.envs}))
"""


@pytest.fixture(scope='module')
def python(tmp_path_factory) -> Path:
  """A Python that has SkyPilot."""
  folder = tmp_path_factory.mktemp('sky')
  venv.create(folder, with_pip=True)
  packages = ['skypilot==0.14.1', 'click<8.2']
  subprocess.run([folder / 'bin/pip', 'install', '-q', *packages], check=True, capture_output=True)
  return folder / 'bin/python'


def read(python: Path, path: Path, home: Path) -> subprocess.CompletedProcess:
  environment = {'HOME': str(home), 'PATH': '/usr/bin:/bin'}
  return subprocess.run([python, '-c', READ, path], cwd=home, env=environment, capture_output=True, text=True)


def test_skypilot_reads_the_file(python, tmp_path):
  done = read(python, FILE, tmp_path)
  assert done.returncode == 0, done.stderr
  task = json.loads(done.stdout.splitlines()[-1])
  assert task['nodes'] == 1 and len(task['kinds']) == 2
  for kind in task['kinds']:
    assert kind['use_spot'] and kind['job_recovery']['recover_on_exit_codes'] == [PREEMPTED]
  assert task['mounts'] == {'/bucket': [task['envs']['BUCKET'], 'MOUNT_CACHED']}
  subprocess.run(['bash', '-n'], input=task['run'], text=True, check=True)


@pytest.mark.parametrize(
  ('right', 'wrong'), [('accelerators:', 'acelerators:'), ('[85]', '[many]'), ('mode: MOUNT_CACHED', 'mode: MOUNTED')]
)
def test_a_mistake_would_be_noticed(python, tmp_path, right, wrong):
  text = FILE.read_text()
  assert text.count(right) == 1
  (tmp_path / 'sky.yaml').write_text(text.replace(right, wrong))
  assert read(python, tmp_path / 'sky.yaml', tmp_path).returncode != 0
