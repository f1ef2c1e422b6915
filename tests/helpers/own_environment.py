"""Environments for programs that want other packages than the tests: thrown away with the test's folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def make(folder: Path, *packages: str, seeing_ours: bool = False) -> Path:
  """Makes an environment with these packages and returns its folder of programs.

  Args:
    seeing_ours: what the tests have counts as installed (torch takes gigabytes), unless `packages` want another one.
  """
  venv.create(folder, with_pip=True)
  programs = folder / 'bin'
  if seeing_ours:
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    (folder / 'lib' / version / 'site-packages' / 'ours.pth').write_text(sysconfig.get_path('purelib') + '\n')
  install = [programs / 'pip', 'install', '-q', '--disable-pip-version-check', *packages]
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
  done = subprocess.run(install, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  assert done.returncode == 0, done.stdout[-2000:]
  return programs
