"""Checkpoints to damage, and ways to do it."""

import os
import random
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from skillmix_jax.checkpoint import Checkpoints
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.restoring import DamagedCheckpoint
from skillmix_jax.step import State


def array_files(folder: Path) -> list[Path]:
  """Files that hold arrays, not what describes them."""
  return sorted(path for path in folder.rglob('d/*') if path.is_file())


def truncate(folder: Path):
  """Cuts each array file in half."""
  for path in array_files(folder):
    os.truncate(path, path.stat().st_size // 2)


def damage_bytes(folder: Path, chance: random.Random, amount: int = 16) -> str:
  """Overwrites bytes somewhere in the array files, each byte as likely as any other; returns where."""
  files = array_files(folder)
  path = chance.choices(files, [file.stat().st_size for file in files])[0]
  place = chance.randrange(max(1, path.stat().st_size - amount))
  with path.open('r+b') as file:
    file.seek(place)
    file.write(chance.randbytes(amount))
  return f'{path.relative_to(folder)} at {place} of {path.stat().st_size}'


class Saved(NamedTuple):
  """A folder with checkpoints of one state, and what reads them."""

  folder: Path
  mesh: jax.sharding.Mesh
  like: State
  arrays: list[np.ndarray]

  def open(self, folder: Path) -> Checkpoints:
    return Checkpoints(folder, keep=2)

  def restore_latest(self, folder: Path) -> tuple[State, int]:
    with jax.set_mesh(self.mesh), self.open(folder) as checkpoints:
      return checkpoints.restore_latest(self.like, self.mesh)

  def check_equal(self, state: State):
    for ours, theirs in zip(jax.tree.leaves(state), self.arrays, strict=True):
      np.testing.assert_array_equal(ours, theirs)

  def check_damage(self, folder: Path, chance: random.Random) -> bool:
    """Damages step 6: its arrays are the saved ones, or it is refused. Returns whether it was refused."""
    where = damage_bytes(folder / 'checkpoints' / '6', chance)
    with jax.set_mesh(self.mesh), self.open(folder) as checkpoints:
      try:
        state = checkpoints.restore(6, self.like, self.mesh)
      except DamagedCheckpoint:
        return True
    equal = all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(state), self.arrays, strict=True))
    assert equal, f'not noticed: 16 bytes in {where}'
    return False


def make_checkpoint(folder: Path, steps: tuple[int, ...]) -> Saved:
  """Saves one state as several steps, on 2 of the devices."""
  cfg = Config(
    model_type='llama', vocab_size=300, max_positions=64, dim=64, num_layers=2, num_heads=4, num_kv_heads=2,
    head_dim=16, ffn_dim=96, dtype='float32',
  )  # fmt: skip
  mesh = make_mesh(1, 2, 1)
  with jax.set_mesh(mesh), Checkpoints(folder, keep=len(steps)) as checkpoints:
    params = decoder.init(cfg, 0)
    make_opt = jax.jit(Optimizer().transform(10).init)
    noise = np.random.default_rng(0)
    fill = lambda x: jax.device_put(noise.normal(size=x.shape).astype(x.dtype), x.sharding)
    state = State(params, jax.tree.map(fill, make_opt(params)))
    like_params = decoder.abstract(cfg)
    like = State(like_params, jax.eval_shape(make_opt, like_params))
    for step in steps:
      checkpoints.save(step, state)
    arrays = [np.asarray(x) for x in jax.tree.leaves(state)]
  return Saved(folder, mesh, like, arrays)
