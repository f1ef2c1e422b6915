"""The file that `sample` appends answers to, and beside it what they were made with.

A.jsonl                 a line {"id", "answer", "num_tokens", "finish_reason"} for each answer
A.jsonl.settings.json   the checkpoint, the flags and the batch size of all of them, and a hash of each prompt

So a command that would add answers of another kind is refused, and one that goes on uses the batch size of the first.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skillmix_jax.batches import Prompt
from skillmix_jax.errors import InputError
from skillmix_jax.workdir import write_json

FLAGS = ('template', 'dtype', 'temperature', 'top_p', 'max_new_tokens', 'seed', 'batch_size')


def prompt_hash(ids: Sequence[int]) -> str:
  """Hashes the tokens of a prompt to 16 hex digits."""
  return hashlib.sha256(np.asarray(ids, '<i4').tobytes()).hexdigest()[:16]


class Answers:
  """An answers file that grows; a last line that a kill cut short is dropped.

  Attributes:
    ids: what the file answers already.
    batch_size: that its answers were made with; None where there are none, or an earlier version made them.
  """

  def __init__(self, path: Path):
    """Reads the answers in the file; raises InputError where a line is not an answer."""
    self._path, self._settings_path = path, path.with_name(f'{path.name}.settings.json')
    self._complete = 0  # bytes
    self.ids: set[str] = set()
    if path.is_dir():
      raise InputError(f'{path} is a folder: give a file as --answers')
    content = path.read_bytes() if path.is_file() else b''
    for number, line in enumerate(content.splitlines(keepends=True), 1):
      if not line.endswith(b'\n'):
        break
      try:
        row = json.loads(line)
        if 'answer' not in row:  # such as a prompt
          raise KeyError('answer')
        self.ids.add(row['id'])
      except (ValueError, KeyError, TypeError):
        raise InputError(f'{path}:{number}: not an answer of this command; give another --answers') from None
      self._complete += len(line)
    self._saved = self._read_settings() if self.ids else None
    self.batch_size: int | None = self._saved['batch_size'] if self._saved else None

  def _read_settings(self) -> dict[str, Any] | None:
    try:
      saved = json.loads(self._settings_path.read_text(encoding='utf-8'))
      # Reading all of it here finds what a later look would stumble over.
      wanted = {name: saved[name] for name in ('checkpoint', 'fingerprint', 'mesh', *FLAGS)}
      return wanted | {'batch_size': int(saved['batch_size']), 'prompts': dict(saved['prompts'])}
    except FileNotFoundError:
      return None
    except (ValueError, KeyError, TypeError):
      raise InputError(
        f'{self._settings_path} is damaged: restore it, or give another --answers (without it nobody knows what made '
        f'the answers in {self._path})'
      ) from None

  def check(self, settings: Mapping[str, Any], prompts: Sequence[Prompt]):
    """Raises InputError where the file has answers of another checkpoint, other flags or another prompt of an id.

    Args:
      settings: checkpoint, fingerprint, mesh and each of FLAGS; batch_size None: any.
      prompts: all that are to be answered.
    """
    if not self.ids:
      return
    if self._saved is None:
      print(
        f'warning: {self._path} has {len(self.ids)} answers of an earlier version, which did not store what made them: '
        'they are kept as answers of this command; if they are not, give another --answers',
        file=sys.stderr, flush=True,
      )  # fmt: skip
      return
    saved = self._saved
    if saved['fingerprint'] != settings['fingerprint']:
      old, new = saved['checkpoint'], settings['checkpoint']
      if old == new:
        raise InputError(f'{self._path} holds answers of other weights that were in {old}: give another --answers')
      raise InputError(
        f'{self._path} holds answers with --checkpoint={old}, not {new}: give the same, or another --answers'
      )
    given = [name for name in FLAGS if settings[name] is not None and settings[name] != saved[name]]
    if given:
      flags = lambda values: ' '.join(f'--{name}={values[name]}' for name in given)
      raise InputError(
        f'{self._path} holds answers with {flags(saved)}, not {flags(settings)}: give the same, or another --answers'
      )
    for name, ids in prompts:
      if name in self.ids and saved['prompts'].get(name, prompt_hash(ids)) != prompt_hash(ids):
        raise InputError(
          f'prompt {name!r} is another text than the one that {self._path} answers: give it another id, or give '
          'another --answers'
        )

  def bind(self, settings: Mapping[str, Any], prompts: Sequence[Prompt]):
    """Stores what the answers are made with; to be called before the first is added."""
    before = {} if self._saved is None else self._saved['prompts']
    hashes = before | {name: prompt_hash(ids) for name, ids in prompts}
    if self._saved is not None and self._saved['mesh'] != settings['mesh'] and settings['dtype'] != 'float32':
      print(
        f'note: the first answers in {self._path} were made on {self._saved["mesh"]}, the next ones are made on '
        f'{settings["mesh"]}: in {settings["dtype"]} some may differ from those that the first would have given',
        file=sys.stderr, flush=True,
      )  # fmt: skip
    self._path.parent.mkdir(parents=True, exist_ok=True)
    write_json(self._settings_path, {**settings, 'prompts': hashes})

  def open(self):
    """Opens the file to append to it."""
    file = self._path.open('ab')
    file.truncate(self._complete)
    return file
