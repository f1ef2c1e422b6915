"""Checkpoints of a run: `W/checkpoints/<step>/{params,opt}`. Only this file and restoring.py touch orbax.

Weights and optimizer state are saved apart, so whoever samples or evaluates never reads the moments. No data
iterator is saved: batch g is a function of g, so the step number is the state.

Every array has a checksum in `<step>/_CHECKPOINT_METADATA`, which is compared when it is read. A checkpoint that cannot
be read, or is not what was saved, is never deleted for that: `Checkpoints.restore_latest` goes back to the one before
and gives the folder another name, `<step>.damaged`; it is removed when that step or a later one is complete again.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import TypeVar

import jax
from absl import logging
from flax import nnx
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp
from orbax.checkpoint._src.serialization import types as serialization  # v1 wants these types and does not name them

from skillmix_jax.checksum import all_finite, checksums
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import on_mesh
from skillmix_jax.models.decoder import Decoder
from skillmix_jax.restoring import DamagedCheckpoint, read
from skillmix_jax.step import State

Tree = TypeVar('Tree')

FOLDER = 'checkpoints'
DAMAGED = '.damaged'  # after the step in the name of a folder that could not be read


def _to_dict(tree):
  """Returns the same arrays with the plain names of dicts instead of modules, as the checkpoint has them."""
  is_module = lambda node: isinstance(node, nnx.Module)
  return jax.tree.map(lambda x: nnx.to_pure_dict(nnx.state(x)) if is_module(x) else x, tree, is_leaf=is_module)


def _from_dict(tree, like):
  """Undoes `_to_dict`; both flatten their leaves in the order of their names."""
  return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(tree))


def steps_in(workdir: Path) -> list[int]:
  """Lists the steps of the finished checkpoints of a run, ascending."""
  folder = workdir / FOLDER
  return sorted(int(path.name) for path in folder.glob('*') if path.name.isdigit()) if folder.is_dir() else []


def parse_reference(reference: str) -> tuple[Path, int]:
  """Reads `W` or `W@step` and returns the folder and the step, the latest by default.

  Raises:
    InputError: the folder or the checkpoint does not exist.
  """
  name, _, step = reference.rpartition('@') if re.search(r'@\d+$', reference) else (reference, '', None)
  workdir = Path(name)
  steps = steps_in(workdir)
  if not steps:
    raise InputError(
      f'{workdir}: no checkpoint there (expected {workdir / FOLDER}/<step>); train one, or make it from Hugging Face '
      f'weights: python -m skillmix_jax.convert --from_hf=ORG/NAME-or-DIR --checkpoint={workdir}'
    )
  if step is not None and int(step) not in steps:
    raise InputError(f'{workdir} has no checkpoint of step {step}, only of {", ".join(map(str, steps))}')
  return workdir, steps[-1] if step is None else int(step)


def load_params(workdir: Path, step: int, like: Tree, mesh: jax.sharding.Mesh) -> Tree:
  """Reads the weights of one checkpoint straight into the shardings of `like`, the abstract form of what trained.

  Raises:
    DamagedCheckpoint: it cannot be read; the message names the other steps.
  """
  folder = workdir.absolute() / FOLDER
  try:
    return _from_dict(read(folder / str(step), {'params': _to_dict(on_mesh(like, mesh))})['params'], like)
  except DamagedCheckpoint as error:
    others = ', '.join(f'{workdir}@{other}' for other in steps_in(workdir) if other != step)
    raise DamagedCheckpoint(f'{error}; {f"use {others}" if others else "no other step is there"}') from None


def _saving() -> ocp.Context:
  """Returns the context that says how arrays go to disk.

  Never through pinned host memory, which orbax documents as its default on GPUs: XLA gives a process 64 GiB of it at
  most, and the state of 7B weights takes 81. Not compressed: that saves 7 % of the room and takes most of the time.
  """
  context = ocp.Context()
  context.array.saving.enable_pinned_host_transfer = False
  context.array.saving.use_compression = False
  return context


class _InTurn(serialization.DefaultSerializationStatusCallback):
  """Lets arrays wait for room; otherwise orbax copies all of them to the host at once, whatever the limit."""

  def key_priority(self, keypath):
    return serialization.TransferPriority.ASYNCHRONOUS_DEPRIORITIZED


def save_params(workdir: Path, step: int, params: Decoder):
  """Writes weights without optimizer state as a checkpoint that others may start from; returns when it is done."""
  # Room for the largest array, and to write for the largest part of one: orbax would copy all of them to the host.
  arrays = jax.tree.leaves(params)
  context = _saving()
  context.memory.serialization_status_callback = _InTurn()  # only where nobody overwrites the arrays while they wait
  context.memory.transfer_concurrent_bytes = 1 + max(x.nbytes for x in arrays)
  context.memory.write_concurrent_bytes = 1 + max(part.data.nbytes for x in arrays for part in x.addressable_shards)
  context.memory.deepcopy_host_arrays = False
  arrays = _to_dict(params)
  metadata = {'checksums': {'params': checksums(arrays, rounded=True)}}
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)  # orbax warns that arrays wait
  try:
    with context:
      ocp.save_checkpointables(workdir.absolute() / FOLDER / str(step), {'params': arrays}, custom_metadata=metadata)
  finally:
    logging.set_verbosity(verbosity)


class Checkpoints:
  """The checkpoints of one run; a context manager, since the last save ends in the background."""

  def __init__(self, workdir: Path, keep: int):
    """Opens the folder and clears away what an interrupted save left; `keep` is how many of the last are kept."""
    if keep < 1:
      raise InputError(f'checkpoint.keep={keep} must be at least 1')
    self._workdir = workdir
    self._folder = workdir.absolute() / FOLDER
    self._policy = ocp.training.preservation_policies.LatestN(keep)
    self._checkpointer = ocp.training.Checkpointer(
      self._folder,
      save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),  # the loop decides
      preservation_policy=self._policy,
      cleanup_tmp_directories=True,
      context=_saving(),
    )

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._checkpointer.close()

  @property
  def latest(self) -> int | None:
    """The step of the latest finished checkpoint; None where the run has none."""
    return max(steps_in(self._workdir), default=None)

  def check_disk(self, like: State):
    """Keeps one checkpoint where the folder's disk cannot hold more; raises InputError where it cannot hold that."""
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(like))
    there = len(steps_in(self._workdir))
    # An old one is deleted only when the new one is complete.
    needed = lambda keep: size * max(1, keep + 1 - there)
    free = shutil.disk_usage(self._folder).free
    gib = 2.0**30
    if free < needed(1):
      raise InputError(
        f'{self._folder}: {free / gib:.2f} GiB free, but a checkpoint and the next one being written need '
        f'{needed(1) / gib:.2f} GiB more; free the space or choose another --workdir'
      )
    if free < needed(self._policy.n):
      if jax.process_index() == 0:
        print(
          f'{self._folder}: {free / gib:.2f} GiB free, and checkpoint.keep={self._policy.n} needs '
          f'{needed(self._policy.n) / gib:.2f} GiB more: only the last checkpoint is kept', file=sys.stderr,
        )  # fmt: skip
      self._policy.n = 1

  def save(self, step: int, state: State):
    """Starts to save; returns as soon as the arrays may be overwritten.

    Raises:
      FloatingPointError: a weight is not finite; nothing is saved then.
    """
    if not all_finite(state.params):
      raise FloatingPointError(f'step {step}: a weight after its update')
    items = {'params': _to_dict(state.params), 'opt': _to_dict(state.opt)}
    sums = {'params': checksums(items['params'], rounded=True), 'opt': checksums(items['opt'])}
    if jax.process_index() == 0:
      for path in self._folder.glob(f'*{DAMAGED}'):
        if int(path.stem) <= (self.latest or 0):
          shutil.rmtree(path)
    self._checkpointer.save_checkpointables_async(step, items, force=True, custom_metadata={'checksums': sums})

  def wait(self):
    """Waits until the last save is complete."""
    self._checkpointer.wait()

  def restore(self, step: int, like: State, mesh: jax.sharding.Mesh) -> State:
    """Reads one checkpoint onto any mesh; `like` has the shapes, dtypes and shardings.

    Raises:
      DamagedCheckpoint: it cannot be read.
    """
    like = on_mesh(like, mesh)
    got = read(self._folder / str(step), {'params': _to_dict(like.params), 'opt': _to_dict(like.opt)})
    return State(_from_dict(got['params'], like.params), _from_dict(got['opt'], like.opt))

  def restore_latest(self, like: State, mesh: jax.sharding.Mesh) -> tuple[State, int]:
    """Returns the latest checkpoint that can be read and its step; says which ones cannot, and renames them.

    Raises:
      DamagedCheckpoint: none can be read.
    """
    damaged: dict[int, str] = {}
    for step in reversed(steps_in(self._workdir)):
      try:
        state = self.restore(step, like, mesh)
      except DamagedCheckpoint as error:
        damaged[step] = str(error)
        continue
      self._set_aside(damaged, step)
      return state, step
    first, *others = damaged.values()
    more = f' ({len(others)} more there cannot be read either)' if others else ' (no other step is there)'
    raise DamagedCheckpoint(f'{first}{more}: put a copy in its place, or start again in another --workdir')

  def last_good(self, like: State, mesh: jax.sharding.Mesh) -> int | None:
    """Returns the latest step whose weights are finite when read back and compared now."""
    self.wait()
    for step in reversed(steps_in(self._workdir)):
      try:
        if all_finite(self.restore(step, like, mesh).params):
          return step
      except DamagedCheckpoint:
        continue
    return None

  def _set_aside(self, damaged: dict[int, str], step: int):
    if not damaged:
      return
    if jax.process_index() == 0:
      for bad, reason in damaged.items():
        path = self._folder / str(bad)
        aside = path.with_name(f'{bad}{DAMAGED}')
        if aside.exists():
          shutil.rmtree(aside)
        path.rename(aside)
        print(f'warning: {reason}; going on from step {step}, {path} is now {aside.name}', file=sys.stderr, flush=True)
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices('damaged checkpoints are set aside')
    self._checkpointer.reload()
