"""Reads a checkpoint and compares it with what was saved; says in one line what is wrong with one that is damaged."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from skillmix_jax.checksum import Sums, checksums, differing
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import on_every_process


class DamagedCheckpoint(InputError):
  """A checkpoint cannot be read, or its arrays are not those that were saved."""


def read(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
  """Reads some of what a checkpoint holds and compares it with its checksums.

  Raises:
    DamagedCheckpoint: on all processes together, whichever of them could not read its part.
  """
  got: dict[str, Any] = {}
  saved: dict[str, Sums] = {}
  reason = None
  context = ocp.Context()
  if jax.process_count() > 1:  # orbax would leave the others waiting for the process that fails
    context.multiprocessing.active_processes = {jax.process_index()}
    context.multiprocessing.primary_host = jax.process_index()
    context.multiprocessing.barrier_sync_key_prefix = f'process{jax.process_index()}'
  try:
    saved = _saved_checksums(path)
    with context:
      got = ocp.load_checkpointables(path, wanted)
  except Exception as error:  # orbax and tensorstore raise a dozen kinds
    reason = _reason(error, path)
    if jax.process_index():  # process 0 speaks for itself
      print(f'process {jax.process_index()}: {path} cannot be read: {reason}', file=sys.stderr, flush=True)
  if not on_every_process(reason is None):
    got = {}  # its memory is needed for another one
    raise DamagedCheckpoint(f'step {path.name} in {path.parent} cannot be read: {reason or "another process says why"}')
  if not saved:
    if jax.process_index() == 0:
      print(f'{path} was saved without checksums, by an earlier version: damage is not noticed', file=sys.stderr)
    return got
  for name, arrays in got.items():
    changed = differing(checksums(arrays, rounded=name == 'params'), saved.get(name, {}))  # as compiled for saving
    if changed:
      got, arrays = {}, None
      raise DamagedCheckpoint(
        f'step {path.name} in {path.parent} is damaged: {name}/{changed[0]}'
        f'{f" and {len(changed) - 1} more arrays are" if changed[1:] else " is"} not what was saved'
      )
  return got


def _saved_checksums(path: Path) -> dict[str, Sums]:
  """Returns the checksums of params and opt; empty where an earlier version saved."""
  metadata = json.loads((path / '_CHECKPOINT_METADATA').read_text())
  return (metadata.get('custom_metadata') or {}).get('checksums', {})


def _reason(error: BaseException, path: Path) -> str:
  """Says in a few words where reading failed; raises an error that has nothing to do with the files."""
  chain = [error]
  while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
    chain.append(inner)
  if any(isinstance(cause, jax.errors.JaxRuntimeError | MemoryError) for cause in chain):
    raise error
  text = ' '.join(str(chain[-1]).split(' [tensorstore_spec')[0].split())
  files = [name for name in re.findall(rf'{re.escape(str(path))}/([^"\s,:]+)', text) if not name.endswith('/')]
  where = f'{files[-1].removesuffix(".")}: ' if files else ''
  return f'{where}{text.rpartition(": ")[2][-200:] if where else text[-200:]}'
