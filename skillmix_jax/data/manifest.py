"""manifest.json of a data folder: written last, and checked against itself and the files beside it when opened.

Folders of earlier versions have neither 'files' nor 'records_sha256': of these the lengths and the counts are checked.
Nor have they 'row_length', which is then 'length'.
"""

import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from skillmix_jax import pieces
from skillmix_jax.data import tokenizer
from skillmix_jax.errors import InputError

FORMAT = 1
NAME = 'manifest.json'
LENGTHS = 'lengths.npy'
PREPARE = 'python -m skillmix_jax.prepare --dialogs=a.jsonl --tokenizer=DIR --template=mistral --out='

TRAINING = ('template', 'tokenizer', 'length', 'vocab_size', 'token_dtype')  # with the records: all that is trained on
KINDS = {'format': int, 'fingerprint': str, 'template': dict, 'tokenizer': dict, 'length': int, 'vocab_size': int,
         'token_dtype': str, 'sources': dict, 'cuts': dict}  # fmt: skip
COUNTS = ('train_rows', 'held_out_rows', 'documents', 'tokens', 'trained_tokens')
SHARES = {'share_wanted': float, 'share_reached': float, 'ran_out': bool}
CUTS = ('dialogs', 'cut', 'lost_tokens')


def fingerprint(training: dict[str, Any], records_sha256: dict[str, list[str]]) -> str:
  """Changes with anything that changes what is trained."""
  training = {name: training[name] for name in TRAINING}
  return hashlib.sha256(json.dumps([training, records_sha256], sort_keys=True).encode()).hexdigest()


def write(folder: pathlib.Path, manifest: dict[str, Any]):
  """Adds what identifies the folder's files to `manifest`, and writes it."""
  manifest['files'] = {file.name: pieces.identity(file) for file in sorted(folder.iterdir()) if file.is_file()}
  (folder / NAME).write_text(json.dumps(manifest, indent=2) + '\n', encoding='utf-8')


def read(folder: pathlib.Path) -> tuple[dict[str, Any], np.ndarray]:
  """Reads the manifest, and the lengths int32 [number of training dialogs].

  Raises:
    InputError: something is missing, damaged, or of another preparation; one line that names the file.
  """
  path = folder / NAME
  if not path.is_file():
    raise InputError(_absent(folder))
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
    _check_kinds(manifest)
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise InputError(f'{path} is damaged ({error}); {_remedy(folder)}') from error
  if manifest['format'] != FORMAT:
    raise InputError(
      f'{folder} has format {manifest["format"]}, this version reads {FORMAT}; prepare again: {PREPARE}{folder}'
    )
  if 'records_sha256' in manifest and fingerprint(manifest, manifest['records_sha256']) != manifest['fingerprint']:
    raise InputError(f'{path} is damaged (its fingerprint belongs to other values); {_remedy(folder)}')
  for name, expected in manifest.get('files', {}).items():
    if not (folder / name).is_file():
      raise InputError(f'{folder / name} is missing; {_remedy(folder)}')
    if pieces.identity(folder / name) != expected:
      raise InputError(f'{folder / name} is damaged or of another preparation; {_remedy(folder)}')
  if tokenizer.load(folder / 'tokenizer').identity != manifest['tokenizer']:
    raise InputError(f'{folder / "tokenizer"} is not the tokenizer that the manifest names; {_remedy(folder)}')
  return manifest, _read_lengths(folder, manifest)


def _absent(folder: pathlib.Path) -> str:
  if folder.is_file():
    dialogs = folder if folder.suffix == '.jsonl' else 'a.jsonl'
    command = PREPARE.replace('a.jsonl', str(dialogs)) + str(folder.with_suffix(''))
    return f'{folder} is a file; what is wanted is the folder that is prepared from it: {command}'
  return f'no prepared data in {folder} ({NAME} is missing); make it: {PREPARE}{folder}'


def _remedy(folder: pathlib.Path) -> str:
  return f'run prepare again: {PREPARE}{folder}'


def _check_kinds(manifest: dict[str, Any]):
  """Raises ValueError where a value is missing or of another kind."""
  for name, kind in KINDS.items():
    if type(manifest.get(name)) is not kind:
      raise ValueError(f'{name} is missing or wrong')
  if manifest['token_dtype'] not in ('uint16', 'uint32') or manifest['length'] < 2 or manifest['vocab_size'] < 1:
    raise ValueError('token_dtype, length or vocab_size is wrong')
  rows = manifest.get('row_length', manifest['length'])
  if type(rows) is not int or rows < 1 or rows % manifest['length']:
    raise ValueError('row_length is no multiple of length')
  whole: list[tuple[str, Any, tuple[str, ...]]] = [('tokenizer', manifest['tokenizer'], ('eos_id',))]
  whole += [(f'sources.{name}', counts, COUNTS) for name, counts in manifest['sources'].items()]
  whole += [(f'cuts.{k}', counts, CUTS) for k, counts in manifest['cuts'].items()]
  for where, counts, names in whole:
    for name in {*names, *(name for name in counts if name.startswith(('skip', 'kept', 'dropped', 'longest')))}:
      if type(counts.get(name)) is not int or counts[name] < 0:
        raise ValueError(f'{where}.{name} is missing or no count')
    for name, kind in SHARES.items() if 'share_wanted' in counts else ():
      if type(counts.get(name)) is not kind:
        raise ValueError(f'{where}.{name} is missing or wrong')
  bos_id = manifest['tokenizer'].get('bos_id')
  if type(bos_id) is not int or bos_id < tokenizer.NO_TOKEN:
    raise ValueError('tokenizer.bos_id is missing or no id')
  if not isinstance(manifest['template'].get('name'), str):
    raise ValueError('template.name is missing')


def _read_lengths(folder: pathlib.Path, manifest: dict[str, Any]) -> np.ndarray:
  path = folder / LENGTHS
  if not path.is_file():
    raise InputError(f'{path} is missing; {_remedy(folder)}')
  try:
    lengths = np.load(path, allow_pickle=False)
  except Exception as error:  # of a damaged header the library raises many kinds
    raise InputError(f'{path} is damaged; {_remedy(folder)}') from error
  counts = manifest['sources'].get('dialogs', {'train_rows': 0, 'tokens': 0})
  expected = (np.dtype(np.int32), (counts['train_rows'],), counts['tokens'])
  if (lengths.dtype, lengths.shape, lengths.sum()) != expected or np.any(
    (lengths < 1) | (lengths > manifest['length'])
  ):
    raise InputError(f'{path} is damaged or of another preparation; {_remedy(folder)}')
  return lengths
