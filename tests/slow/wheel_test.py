"""A wheel in an environment of its own, far from the checkout: every command starts, and the loop's upper half runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
  f'{package}.{path.stem if path.stem != "__main__" else path.parent.name}'
  for package in ('skillmix_jax', 'evals')
  for path in sorted((ROOT / package).glob('*.py'))
  if "if __name__ == '__main__'" in path.read_text()
] + [
  f'evals.{path.parent.name}' for path in sorted((ROOT / 'evals').glob('*/__main__.py'))
]  # fmt: skip


@pytest.fixture(scope='module')
def python(tmp_path_factory) -> Path:
  """The interpreter of an environment that has the wheel, and of the checkout's only the other packages."""
  folder = tmp_path_factory.mktemp('wheel')
  build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', folder, ROOT]
  subprocess.run(build, check=True)
  for made in (*ROOT.glob('build/lib'), *ROOT.glob('build/bdist.*')):  # `make lock` has a folder of its own there
    shutil.rmtree(made)
  subprocess.run([sys.executable, '-m', 'venv', folder / 'venv'], check=True)
  python = folder / 'venv' / 'bin' / 'python'
  [wheel] = folder.glob('*.whl')
  subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', wheel], check=True)
  site = Path(sysconfig.get_path('purelib', vars={'base': folder / 'venv'}))
  (site / 'others.pth').write_text(sysconfig.get_path('purelib') + '\n')  # its own .pth files are not followed
  return python


def run(python: Path, cwd: Path, *arguments: str) -> str:
  """Runs a command and returns what it printed."""
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'} | {'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run([python, '-m', *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def test_the_wheel_is_what_runs(python, tmp_path):
  done = subprocess.run(
    [python, '-c', 'import evals, skillmix_jax as s; print(s.__file__, evals.__file__)'], cwd=tmp_path, text=True,
    capture_output=True, check=True,
  )  # fmt: skip
  assert str(ROOT) not in done.stdout.replace(str(python.parent), '')


def test_all_commands_were_found():
  assert {'skillmix_jax.train', 'skillmix_jax.doctor', 'evals.sample', 'evals.paper', 'evals.minimix'} <= set(COMMANDS)
  assert len(COMMANDS) >= 15


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_teaches(python, tmp_path, command):
  assert f'python -m {command}' in run(python, tmp_path, command, '--help')


def test_a_toy_world_is_sampled_graded_and_reported(python, tmp_path):
  shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
  shutil.copytree(ROOT / 'tests' / 'fixtures' / '0.1' / 'workdir', tmp_path / 'w')
  run(python, tmp_path, 'evals.minimix', '--out=world', '--seed=3', '--base_dialogs=8', '--base_texts=8')
  run(
    python, tmp_path, 'evals.sample', '--config=configs/eval_minimix.py', '--config.catalog=world/catalog',
    '--config.ks=1', '--config.num_combinations=2', '--config.student.max_tokens=8', '--run=run',
    '--student=checkpoint:w', '--dtype=float32',
  )  # fmt: skip
  run(python, tmp_path, 'evals.grade', '--run=run', '--grader=exact')
  assert 'Ratio of Full Marks' in run(python, tmp_path, 'evals.report', '--runs=run', '--out=report.html')
  assert (tmp_path / 'report.html').stat().st_size > 50_000
  assert 'Table 1' in run(python, tmp_path, 'evals.paper', '--table=1')
