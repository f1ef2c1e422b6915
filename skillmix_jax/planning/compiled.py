"""The training step compiled for hardware that is not here."""

import math
import re
from functools import partial
from typing import NamedTuple

import jax
import optax

from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh, on_mesh, spec
from skillmix_jax.models import adapters
from skillmix_jax.planning.estimate import Run
from skillmix_jax.planning.hardware import GIB, Target, absent_devices
from skillmix_jax.step import State, train_step


class Compiled(NamedTuple):
  """What a compiler found.

  Attributes:
    sizes: bytes of a device by kind, 'peak' among them.
    text: the program; None where the compiler cannot show it.
    refused: the compiler gave up for want of memory (TPU).
  """

  sizes: dict[str, int]
  text: str | None
  refused: bool


def compile_step(run: Run, target: Target, loss: Loss, tx: optax.GradientTransformation, packed: bool) -> Compiled:
  """Compiles the training step; see train_step for `loss`, `tx` and `packed`."""
  mesh = make_mesh(run.data, run.fsdp, run.tensor, absent_devices(target))
  with jax.set_mesh(mesh):
    params, frozen = adapters.abstract(run.config)
    state = on_mesh(State(params, jax.eval_shape(jax.jit(tx.init), params)), mesh)
    frozen = on_mesh(frozen, mesh)
    kinds = dict.fromkeys(('tokens', 'targets', 'positions', 'segments'), 'int32') | dict(weights='float32')
    shape = (run.rows, run.length)
    batch = {name: jax.ShapeDtypeStruct(shape, kind, sharding=_rows(mesh, 2)) for name, kind in kinds.items()}
    batch['is_text'] = jax.ShapeDtypeStruct(shape[:1], 'bool', sharding=_rows(mesh, 1))
    step = partial(train_step, tx=tx, loss=loss, accumulation=run.accumulation, packed=packed)
    lowered = jax.jit(step, donate_argnums=0).lower(state, batch, frozen)
    try:
      # Autotuning would have to run kernels.
      compiled = lowered.compile({'xla_gpu_autotune_level': '0'} if target.platform == 'cuda' else None)
    except jax.errors.JaxRuntimeError as error:
      needed = re.search(r'\(([\d.]+)G\) exceeds available', str(error))
      if needed is None:
        raise
      return Compiled({'peak': int(float(needed[1]) * GIB)}, None, True)
  usage = compiled.memory_analysis()
  assert usage is not None
  peak = usage.peak_memory_in_bytes
  sizes = {'weights': _bytes((state.params, frozen)), 'moments': _bytes(state.opt), 'peak': peak}
  try:
    return Compiled(sizes, compiled.as_text(), False)
  except jax.errors.JaxRuntimeError:  # libtpu cannot print every program
    return Compiled(sizes, None, False)


def _rows(mesh, ndim: int) -> jax.NamedSharding:
  return jax.NamedSharding(mesh, spec('batch', *[None] * (ndim - 1)))


def _bytes(tree) -> int:
  """Counts the bytes of one device."""
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))
