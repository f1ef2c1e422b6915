"""The folder of one run: what it was made of, and whether a later start may continue it.

W/config.json   the resolved config, the shape of the model, and what identifies the data
W/tokenizer/    the tokenizer of the data
W/run.json      one entry for each start: time, command line, git SHA, package versions, devices
"""

import datetime
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from skillmix_jax import files
from skillmix_jax.data import tokenizer as tokenizers
from skillmix_jax.errors import InputError
from skillmix_jax.models.config import Config

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')

# What a later start may change: none of it changes what is learned, but for the order of float additions.
MAY_CHANGE = (
  'steps', 'log_every', 'deterministic', 'accumulation', 'held_out.', 'checkpoint.', 'mesh.', 'loss.chunks',
  'model.remat', 'model.attention', 'data.path', 'sample_every', 'sample_prompts', 'made_by.',
)  # fmt: skip


def flatten(tree: dict, prefix: str = '') -> dict[str, Any]:
  """Flattens {'a': {'b': 1}} to {'a.b': 1}."""
  flat: dict[str, Any] = {}
  for name, value in tree.items():
    flat |= flatten(value, f'{prefix}{name}.') if isinstance(value, dict) else {prefix + name: value}
  return flat


def read_config(workdir: Path) -> dict:
  """Reads the config that a workdir was made with.

  Raises:
    InputError: config.json is missing or damaged.
  """
  path = workdir / 'config.json'
  if not path.exists():
    raise InputError(f'{workdir} is not the folder of a run: it has no config.json')
  return _read_json(path, ('model', 'data_identity'), 'put a copy in its place')


def read_starts(workdir: Path) -> list[dict]:
  """Reads what run.json says of the starts of a run.

  Raises:
    InputError: it is damaged.
  """
  path = workdir / 'run.json'
  if not path.exists():
    return []
  return _read_json(path, ('starts',), 'put a copy in its place or delete it, the run does not need it')['starts']


def _read_json(path: Path, names: tuple[str, ...], remedy: str) -> dict:
  try:
    value = json.loads(path.read_text())
  except json.JSONDecodeError as error:
    raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg}); {remedy}') from None
  except (OSError, UnicodeDecodeError) as error:
    raise InputError(f'{path} cannot be read ({error}); {remedy}') from None
  for name in names:
    if not isinstance(value, dict) or name not in value:
      raise InputError(f'{path} has no {name!r}; {remedy}')
  return value


def saved_model(workdir: Path, saved: dict) -> Config:
  """Returns the decoder in a `read_config` of a workdir.

  Raises:
    InputError: config.json was edited, or another version wrote it.
  """
  try:
    return Config(**{name: value for name, value in saved['model'].items() if name != 'init_from'})
  except (TypeError, KeyError, AttributeError) as error:
    raise InputError(
      f'{workdir / "config.json"}: "model" is damaged, or a later version wrote it ({error}); put a copy in its place'
    ) from None


def open_tokenizer(workdir: Path, saved: dict) -> tokenizers.Tokenizer:
  """Opens the tokenizer of a workdir; `saved` is its `read_config`.

  Raises:
    InputError: it is missing, or not the one that the weights were trained with.
  """
  encoder = tokenizers.load(workdir / 'tokenizer')
  expected = saved['data_identity']['tokenizer']['sha256']
  if encoder.sha256 != expected:
    raise InputError(
      f'{workdir / "tokenizer"} is not the tokenizer that its weights were trained with ({_short(encoder.sha256)}, not '
      f'{_short(expected)}): copy the folder tokenizer/ of the data there'
    )
  return encoder


def data_identity(manifest: dict) -> dict:
  """Returns what of a data manifest must not change between starts of a run."""
  return {name: manifest[name] for name in ('fingerprint', 'template', 'tokenizer', 'length')}


def check_same_data(where: str, theirs: dict, ours: dict, names: tuple[str, ...]):
  """Raises InputError naming the first of template, tokenizer, length that differs."""
  for name in names:
    if theirs[name] != ours[name]:
      old, new = _apart(theirs[name], ours[name])
      raise InputError(
        f'{where} was made with another {name}: {old}, but the data has {new}; '
        'give the data that belongs to it, or choose another --workdir or model.init_from'
      )


def check_continues(workdir: Path, config: dict):
  """Raises InputError where `config` is not a continuation of the run in `workdir`, saying what differs."""
  saved = read_config(workdir)
  check_same_data(str(workdir), saved['data_identity'], config['data_identity'], ('template', 'tokenizer', 'length'))
  before, now = (c['data_identity']['fingerprint'] for c in (saved, config))
  if before != now:
    raise InputError(
      f'{workdir} was trained on other data (fingerprint {_short(before)}, then in {saved["data"]["path"]}) than '
      f'{config["data"]["path"]} holds (fingerprint {_short(now)}): give --config.data.path=THOSE_DATA to continue it, '
      'or another --workdir'
    )
  fixed = MAY_CHANGE[1:] if config['optimizer']['schedule'] == 'linear' else MAY_CHANGE  # a decay ends with the run
  old, new = (json.loads(json.dumps(flatten(c))) for c in (saved, config))
  rank_first = lambda name: (name != 'model.lora.rank', name)  # without a rank no other key of adapters means anything
  for name in sorted(old.keys() | new.keys(), key=rank_first):
    if old.get(name) != new.get(name) and not name.startswith(fixed):
      raise InputError(
        f'{workdir} holds a run with {name}={_short(old.get(name))}, not {_short(new.get(name))}: '
        'give the same value to continue it, or another --workdir'
      )


def record_start(workdir: Path, config: dict, tokenizer: Path, devices: list[jax.Device]):
  """Writes config.json and tokenizer/, and adds this start to run.json."""
  starts = read_starts(workdir)
  write_json(workdir / 'config.json', config)
  _copy_tokenizer(tokenizer, workdir / 'tokenizer')
  start = {
    'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'command': sys.argv,
    'git_sha': _git_sha(),
    'python': sys.version.split()[0],
    'packages': {name: importlib.metadata.version(name) for name in PACKAGES},
    'devices': {'kind': devices[0].device_kind, 'num': len(devices), 'processes': jax.process_count()},
  }
  write_json(workdir / 'run.json', {'starts': [*starts, start]})


def _copy_tokenizer(source: Path, target: Path):
  """Makes `target` a copy of `source`; a folder that is used again may have one of other data."""
  content = lambda folder: {file.name: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else None
  if content(target) == content(source):
    return
  part, old = (target.with_name(f'.{target.name}.{suffix}') for suffix in ('part', 'old'))
  for left in (part, old):  # by a run that was killed
    shutil.rmtree(left, ignore_errors=True)
  shutil.copytree(source, part)
  if target.exists():
    target.rename(old)
  part.rename(target)
  shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: dict):
  """Replaces the file at once: whoever reads it finds the old or the new one."""
  files.write_text(path, json.dumps(value, indent=1) + '\n')


def _git_sha() -> str | None:
  command = ['git', '-C', str(Path(__file__).parent), 'rev-parse', 'HEAD']
  try:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None  # installed from a wheel


def _apart(old: object, new: object) -> tuple[str, str]:
  """Shows both values; of objects, the first entry that differs."""
  if isinstance(old, dict) and isinstance(new, dict):
    name = next(name for name in {**old, **new} if old.get(name) != new.get(name))
    return f'{name} {_short(old.get(name))}', f'{name} {_short(new.get(name))}'
  return _short(old), _short(new)


def _short(value: object) -> str:
  """Writes a value as JSON, not too long; of a hash its first digits."""
  if isinstance(value, str) and re.fullmatch('[0-9a-f]{64}', value):
    return value[:12]
  text = json.dumps(value)
  return text if len(text) <= 160 else text[:157] + '...'
