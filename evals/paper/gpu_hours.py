"""What training and sampling take of absent GPUs: by formula, from stated assumptions.

training: FLOPs per token * tokens / (peak * MFU), FLOPs per token as in docs/guides/train.md: about 6 N
sampling: prompts 2 N FLOPs a token at the same MFU; answers (weights / ROWS + cache) bytes a token / (bandwidth *
          BANDWIDTH_SHARE), since a decoder reads all of its weights for every token of ROWS answers
"""

import dataclasses
import re

from skillmix_jax.devices import GPUS, Gpu
from skillmix_jax.errors import InputError
from skillmix_jax.models.config import Config

KINDS = GPUS | {'A100': GPUS['A100-80GB']}  # of --gpus
ROWS = 32  # answers at a time on one GPU: our assumption
BANDWIDTH_SHARE = 0.4  # of the bandwidth that decoding reaches: our assumption; .3 to .6 is usual
TRAINING_BYTES = 16  # a weight that trains: itself, its gradient and two moments, in float32
HALF = 2  # bytes of a bfloat16 number


def state_bytes(model: Config) -> int:
  """Computes what training keeps of a model; beside adapters all weights are frozen, in bfloat16."""
  return TRAINING_BYTES * model.num_trained + (HALF * model.num_params if model.lora else 0)


@dataclasses.dataclass(frozen=True)
class Gpus:
  """A number of GPUs of one kind, and the share of their peak that training reaches."""

  number: int
  kind: str
  mfu: float

  @property
  def _gpu(self) -> Gpu:
    return KINDS[self.kind]

  def __str__(self) -> str:
    return f'{self.number}x{self.kind}'

  @property
  def flops(self) -> float:
    """The FLOP/s of one GPU at this MFU."""
    return self._gpu.peak * self.mfu

  def holds(self, model: Config) -> bool:
    """Says whether the training state and a tenth for activations fit."""
    return state_bytes(model) <= 0.9 * self.number * self._gpu.memory

  def training_hours(self, model: Config, num_tokens: int, length: int) -> float:
    """Computes GPU-hours: divide by the number of GPUs for the time on a clock."""
    return model.train_flops_per_token(length) * num_tokens / self.flops / 3600

  def sampling_hours(self, model: Config, num_requests: int, prompt_tokens: int, answer_tokens: int) -> float:
    """Computes GPU-hours with a whole model in bfloat16 on each GPU."""
    if not num_requests:
      return 0.0
    context = (prompt_tokens + answer_tokens) / num_requests
    cache = 2 * HALF * model.num_layers * model.num_kv_heads * model.head_dim * context
    reading = 2 * model.num_params * prompt_tokens / self.flops
    bytes_a_token = HALF * model.num_params / ROWS + cache
    writing = bytes_a_token * answer_tokens / (self._gpu.bandwidth * BANDWIDTH_SHARE)
    return (reading + writing) / 3600


def parse(gpus: str, mfu: float) -> Gpus:
  """Reads '4xH100'; raises InputError for a kind that is not known."""
  found = re.fullmatch(r'([1-9]\d*)x([\w-]+)', gpus)
  if not found or found[2] not in KINDS:
    raise InputError(f'--gpus={gpus!r} must be a number and one of {", ".join(KINDS)}, for example 4xH100')
  return Gpus(int(found[1]), found[2], mfu)
