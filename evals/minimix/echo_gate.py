"""Whether a base copies: the answers to its echo prompts, counted."""

from pathlib import Path

from evals import files
from skillmix_jax.errors import InputError


def count_exact(prompts: Path, answers: Path) -> tuple[int, int]:
  """(exact answers, prompts); raises InputError where the files do not fit."""
  wanted = {record['id']: record['meta']['answer'] for _, record in files.read_jsonl(prompts)}
  given = {record['id']: record['answer'] for _, record in files.read_jsonl(answers)}
  if missing := wanted.keys() - given.keys():
    raise InputError(f'{answers}: {len(missing)} of {len(wanted)} prompts are not answered, {min(missing)} for example')
  return sum(given[name].strip() == answer for name, answer in wanted.items()), len(wanted)
