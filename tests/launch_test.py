"""The files in launch/."""

import shutil
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parent.parent / 'launch'
FILES = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('slurm/*.sbatch')])


def test_bash_reads_them():
  assert len(FILES) == 4
  for path in FILES:
    subprocess.run(['bash', '-n', path], check=True)


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='apt-get install shellcheck')
def test_shellcheck_finds_nothing():
  done = subprocess.run(['shellcheck', *FILES], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


def test_launchers_leave_the_memory_fraction_to_the_commands_and_the_user():
  for path in FILES:
    assert '_MEM_FRACTION=' not in path.read_text(), 'where the user set the other name, jaxlib would refuse the GPU'
