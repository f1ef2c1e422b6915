"""Which matrices have adapters of low rank (LoRA, Hu et al., arXiv:2106.09685), and how much these count."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from skillmix_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Lora:
  """x W becomes x W + scale * (x A) B: A, [in, rank], and B, [rank, out], train, and no other weight does.

  Attributes:
    rank: of the product A B.
    alpha: rank times the scale.
    targets: the matrices of a block that have adapters, by their names in Config.block_weights.
  """

  rank: int
  alpha: float
  targets: tuple[str, ...]

  def __post_init__(self):
    object.__setattr__(self, 'targets', tuple(self.targets))
    if self.rank < 1:
      raise InputError(f'model.lora.rank={self.rank} must be at least 1; leave it out and all weights train')
    if not 0 < self.alpha < float('inf'):
      raise InputError(f'model.lora.alpha={self.alpha} must be a positive number')

  @property
  def scale(self) -> float:
    """What the product of the adapters is multiplied by."""
    return self.alpha / self.rank

  def check_targets(self, known: Collection[str]):
    """Raises InputError where no target, or a target that is not one of `known`, is named."""
    if not self.targets:
      raise InputError(f'model.lora.targets=() names no matrix: give some of {", ".join(known)}')
    for name in self.targets:
      if name not in known:
        raise InputError(f'model.lora.targets: {name!r} is not one of {", ".join(known)}')


def read_lora(fields: Mapping[str, Any]) -> Lora | None:
  """Returns what keys of a config say; None where the rank is None."""
  return None if fields['rank'] is None else Lora(**fields)
