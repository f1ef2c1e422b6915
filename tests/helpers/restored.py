"""Restores a checkpoint of a run and prints a hash of its bits: `python tests/helpers/restored.py W STEP`."""

import hashlib
import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from skillmix_jax.checkpoint import Checkpoints
from skillmix_jax.mesh import initialize_distributed, make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State
from skillmix_jax.workdir import read_config


def main(folder: Path, step: int):
  initialize_distributed()
  saved = read_config(folder)
  cfg = Config(**{name: value for name, value in saved['model'].items() if name != 'init_from'})
  mesh = make_mesh(1, -1, 1)
  with jax.set_mesh(mesh), Checkpoints(folder, keep=1) as checkpoints:
    params = decoder.abstract(cfg)
    tx = Optimizer(**saved['optimizer']).transform(saved['steps'])
    state = checkpoints.restore(step, State(params, jax.eval_shape(jax.jit(tx.init), params)), mesh)
  digest = hashlib.sha256()
  for x in jax.tree.leaves(state):
    whole = multihost_utils.process_allgather(x, tiled=True) if jax.process_count() > 1 else x
    digest.update(np.asarray(whole).tobytes())
  if jax.process_index() == 0:
    print('restored', digest.hexdigest())


if __name__ == '__main__':
  main(Path(sys.argv[1]), int(sys.argv[2]))
