"""The optimizer and its learning rate, step by step the paper's recipe (appendix C.2)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P
from optax.contrib import MuonDimensionNumbers, muon

from skillmix_jax.errors import InputError
from skillmix_jax.models.adapters import Trained
from skillmix_jax.models.decoder import name_of


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Adam (or muon) with a linear warm-up.

  Attributes:
    name: 'adam', or 'muon' for the matrices of the blocks with Adam for all other weights.
    learning_rate: after the warm-up.
    schedule: 'constant', or 'linear' for a decay that reaches 0 after the last step.
    warmup_steps: update i (from 0) has learning_rate * i / warmup_steps: the first update changes nothing, as in
      transformers' get_constant_schedule_with_warmup and torch's Adam driven by it.
    b1, b2, eps: Adam's.
    clip: largest global norm of the gradient; None does not clip.
    mu_dtype: of the first moments; 'bfloat16' saves 2 bytes a weight when memory is short.
  """

  name: str = 'adam'
  learning_rate: float = 2e-5
  schedule: str = 'constant'
  warmup_steps: int = 64
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  clip: float | None = None
  mu_dtype: str = 'float32'

  def __post_init__(self):
    choices = {'name': ('adam', 'muon'), 'schedule': ('constant', 'linear'), 'mu_dtype': ('float32', 'bfloat16')}
    for name, allowed in choices.items():
      if getattr(self, name) not in allowed:
        raise InputError(f'optimizer.{name}={getattr(self, name)!r} is not one of {", ".join(allowed)}')
    if not 0 < self.learning_rate < float('inf'):
      raise InputError(f'optimizer.learning_rate={self.learning_rate} must be a positive number')
    if self.warmup_steps < 0:
      raise InputError(f'optimizer.warmup_steps={self.warmup_steps} must not be negative')
    if not (0 <= self.b1 < 1 and 0 <= self.b2 < 1 and self.eps > 0):
      raise InputError(f'optimizer.b1={self.b1}, b2={self.b2} must be in [0, 1) and eps={self.eps} above 0')
    if self.clip is not None and not self.clip > 0:
      raise InputError(f'optimizer.clip={self.clip} must be above 0, or None')

  def learning_rates(self, steps: int) -> optax.Schedule:
    """Learning rate of update i, counted from 0, in a run of `steps` updates (which may be fewer than the warm-up)."""

    def rate(count):
      warmup = count / max(1, self.warmup_steps)
      linear = jnp.maximum(0, steps - count) / max(1, steps - self.warmup_steps)
      after = linear if self.schedule == 'linear' else 1.0
      return self.learning_rate * jnp.where(count < self.warmup_steps, warmup, after)

    return rate

  def transform(self, steps: int) -> optax.GradientTransformation:
    """Returns the optax transformation of a run of `steps` updates."""
    moments = dict(eps=self.eps, mu_dtype=jnp.dtype(self.mu_dtype))
    if self.name == 'adam':
      update = optax.adam(self.learning_rates(steps), b1=self.b1, b2=self.b2, **moments)
    else:
      update = _on_whole_matrices(
        muon(
          self.learning_rates(steps), adam_b1=self.b1, adam_b2=self.b2, **moments,
          consistent_rms=0.2, muon_weight_dimension_numbers=_block_matrices,
        )
      )  # fmt: skip
    return update if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), update)


def _block_matrices(params: Trained):
  """Gives Muon the stacked matrices [layers, in, out] of the blocks; None leaves a weight to Adam."""
  is_stack = lambda path, x: name_of(path).startswith('blocks.') and x.ndim == 3
  numbers = lambda path, x: MuonDimensionNumbers(1, 2) if is_stack(path, x) else None
  return jax.tree_util.tree_map_with_path(numbers, params)


def _on_whole_matrices(tx: optax.GradientTransformation) -> optax.GradientTransformation:
  """Gathers gradients, state and weights around an update that multiplies whole matrices, then splits them again.

  Every device holds the whole model for that moment: right for small models, which is what muon is here for.
  """

  def update(grads, state, params):
    gather = lambda tree: jax.tree.map(lambda x: jax.reshard(x, P()), tree)
    split = lambda tree, like: jax.tree.map(lambda x, y: jax.reshard(x, jax.typeof(y).sharding.spec), tree, like)
    updates, new_state = tx.update(gather(grads), gather(state), gather(params))
    return split(updates, grads), split(new_state, state)

  return optax.GradientTransformation(tx.init, update)
