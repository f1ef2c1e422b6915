"""The folder of one run: what it was made of, and whether a later start may continue it.

W/config.json   the resolved config, the shape of the model, and what identifies the data
W/tokenizer/    the tokenizer of the data
W/run.json      one entry for each start: time, command line, git SHA, package versions, devices
"""

import datetime
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from skillmix_jax.errors import InputError

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')

# What a later start may change: none of it changes what is learned, but for the order of float additions.
MAY_CHANGE = (
  'steps', 'log_every', 'deterministic', 'accumulation', 'held_out.', 'checkpoint.', 'mesh.', 'loss.chunks',
  'model.remat', 'model.attention', 'data.path', 'sample_every', 'sample_prompts',
)  # fmt: skip


def flatten(tree: dict, prefix: str = '') -> dict[str, Any]:
  """{'a': {'b': 1}} -> {'a.b': 1}."""
  flat: dict[str, Any] = {}
  for name, value in tree.items():
    flat |= flatten(value, f'{prefix}{name}.') if isinstance(value, dict) else {prefix + name: value}
  return flat


def read_config(workdir: Path) -> dict:
  """The config that a workdir was made with.

  Raises:
    InputError: there is none, or it is no JSON.
  """
  path = workdir / 'config.json'
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    raise InputError(f'{workdir} is not the folder of a run: it has no config.json') from None
  except json.JSONDecodeError as error:
    raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg})') from None


def data_identity(manifest: dict) -> dict:
  """What of a data manifest must not change between starts of a run."""
  return {name: manifest[name] for name in ('fingerprint', 'template', 'tokenizer', 'length')}


def check_same_data(where: str, theirs: dict, ours: dict, names: tuple[str, ...]):
  """Raises InputError naming the first of fingerprint, template, tokenizer, length that differs."""
  for name in names:
    if theirs[name] != ours[name]:
      raise InputError(
        f'{where} was made with another {name}: {_short(theirs[name])}, but the data has {_short(ours[name])}; '
        'give the data that belongs to it, or choose another --workdir or model.init_from'
      )


def check_continues(workdir: Path, config: dict):
  """Raises InputError where `config` is not a continuation of the run in `workdir`, saying what differs."""
  saved = read_config(workdir)
  check_same_data(str(workdir), saved['data_identity'], config['data_identity'], ('template', 'tokenizer', 'length'))
  check_same_data(str(workdir), saved['data_identity'], config['data_identity'], ('fingerprint',))
  fixed = MAY_CHANGE[1:] if config['optimizer']['schedule'] == 'linear' else MAY_CHANGE  # a decay ends with the run
  old, new = (json.loads(json.dumps(flatten(c))) for c in (saved, config))
  for name in sorted(old.keys() | new.keys()):
    if old.get(name) != new.get(name) and not name.startswith(fixed):
      raise InputError(
        f'{workdir} holds a run with {name}={_short(old.get(name))}, not {_short(new.get(name))}: '
        'give the same value to continue it, or another --workdir'
      )


def record_start(workdir: Path, config: dict, tokenizer: Path, devices: list[jax.Device]):
  """Writes config.json and tokenizer/, and adds this start to run.json."""
  write_json(workdir / 'config.json', config)
  if not (workdir / 'tokenizer').exists():
    shutil.copytree(tokenizer, workdir / 'tokenizer')
  path = workdir / 'run.json'
  starts = json.loads(path.read_text())['starts'] if path.exists() else []
  start = {
    'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'command': sys.argv,
    'git_sha': _git_sha(),
    'python': sys.version.split()[0],
    'packages': {name: importlib.metadata.version(name) for name in PACKAGES},
    'devices': {'kind': devices[0].device_kind, 'num': len(devices), 'processes': jax.process_count()},
  }
  write_json(path, {'starts': [*starts, start]})


def write_json(path: Path, value: dict):
  """Replaces the file at once: whoever reads it finds the old or the new one."""
  temporary = path.with_suffix('.tmp')
  temporary.write_text(json.dumps(value, indent=1) + '\n')
  os.replace(temporary, path)


def _git_sha() -> str | None:
  command = ['git', '-C', str(Path(__file__).parent), 'rev-parse', 'HEAD']
  try:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None  # installed from a wheel


def _short(value: object) -> str:
  text = json.dumps(value)
  return text if len(text) <= 160 else text[:157] + '...'
