"""What a student has seen: skill sets and authors of its training dialogs, from their own `meta`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from evals.files import read_jsonl
from evals.graders import family
from skillmix_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """What the dialogs of some files show.

  Attributes:
    files: their names, without folders.
    skill_sets: that some dialog combines.
    families: of the models that wrote the dialogs, as far as their names tell.
  """

  files: tuple[str, ...]
  skill_sets: frozenset[frozenset[str]]
  families: frozenset[str]


def read(paths: Sequence[str]) -> TrainingData:
  """Reads JSONL files that evals.select wrote, or others whose meta holds 'skills'.

  Raises:
    InputError: a file or a line is wrong; the message starts with FILE:LINE.
  """
  skill_sets, families = set(), set()
  for path in paths:
    for where, dialog in read_jsonl(path):
      try:
        meta = dialog['meta']
        skill_sets.add(frozenset(meta['skills']))
      except (KeyError, TypeError):
        raise InputError(f'{where}: no dialog with "skills" in its "meta", as evals.select writes') from None
      if written_by := family(str(meta.get('student', ''))):
        families.add(written_by)
  return TrainingData(tuple(Path(path).name for path in paths), frozenset(skill_sets), frozenset(families))
