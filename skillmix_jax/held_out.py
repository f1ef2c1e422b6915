"""Cross entropy of the rows that `prepare` kept out of training."""

import math
from functools import partial

import jax
import numpy as np

from skillmix_jax.data import mixture as mixtures
from skillmix_jax.data.records import Data
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import place_batch
from skillmix_jax.step import measure


class HeldOut:
  """Mean cross entropy of the held-out rows of every source."""

  def __init__(self, data: Data, rows: int, chosen: str, batch_rows: int, loss: Loss, mesh: jax.sharding.Mesh):
    """`rows`: of each source at most, `chosen` as in mixture.held_out; they are measured `batch_rows` at a time."""
    self._measure = jax.jit(partial(measure, loss=loss))
    self._batches = {}
    for source in data.sources('held_out') if rows else ():
      batch = mixtures.held_out(data, source, rows, chosen)
      num = len(batch['tokens'])
      pad = -num % batch_rows
      padded = {name: np.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1)) for name, x in batch.items()}
      pieces = range(0, num + pad, batch_rows)
      self._batches[source] = [
        place_batch(mesh, {name: x[i : i + batch_rows] for name, x in padded.items()}) for i in pieces
      ]

  def __call__(self, params) -> dict[str, float]:
    """Returns {'held_out_loss_<source>': nats per trained token}."""
    results = {}
    for source, batches in self._batches.items():
      sums = [self._measure(params, batch) for batch in batches]
      total, count = (math.fsum(float(x) for x in column) for column in zip(*sums))
      results[f'held_out_loss_{source}'] = total / count
    return results
