"""What a training step needs, by arithmetic: bytes of a device, and seconds.

The arithmetic of the memory is a description: which arrays are alive together is known, how many of each was fitted to
what XLA's compilers said (docs/guides/scale.md has the tables; it agrees within 14 %).
"""

import dataclasses

from skillmix_jax.models.config import Config
from skillmix_jax.planning.hardware import Target

MFU = (0.50, 0.35)  # what well and badly tuned programs of this kind reach, model FLOPs alone


@dataclasses.dataclass(frozen=True)
class Run:
  """What of a config decides memory and time.

  Attributes:
    config: the decoder.
    rows, length: of the global batch, padding included.
    accumulation: pieces that the batch is cut into.
    chunks: of a row, whose logits exist at a time.
    moment_bytes: bytes of both moments of one weight.
    data, fsdp, tensor: the mesh.
  """

  config: Config
  rows: int
  length: int
  accumulation: int
  chunks: int
  moment_bytes: int
  data: int
  fsdp: int
  tensor: int

  @property
  def tokens(self) -> float:
    """Counts the positions that a device works on at a time."""
    return self.rows * self.length / (self.data * self.fsdp * self.accumulation)


def memory(run: Run) -> dict[str, float]:
  """Bytes of one device by kind; their sum is the peak."""
  cfg, tokens, shards = run.config, run.tokens, run.fsdp * run.tensor
  width = 2 if cfg.dtype == 'bfloat16' else 4
  trained, frozen = 4 * cfg.num_trained / shards, (width * cfg.num_params / shards if cfg.lora else 0)
  heads, kv_heads, ffn = (n / run.tensor for n in (cfg.num_heads, cfg.num_kv_heads, cfg.ffn_dim))
  qkv, context = (heads + 2 * kv_heads) * cfg.head_dim, heads * cfg.head_dim

  num_kept = {'full': 0, 'save_qkv': 1, 'save_qkv_context': 2, 'save_all_matmuls': 3}[cfg.remat]
  kept = cfg.num_layers * tokens * (cfg.dim + sum((qkv, context, 2 * ffn)[:num_kept])) * width

  # While a block is gone through backward: its weights and the next's, their gradients (frozen ones have none), its
  # activations.
  tables = (1 if cfg.tie_embeddings else 2) * cfg.vocab_size * cfg.dim
  block = (cfg.num_params - tables) / cfg.num_layers / run.tensor
  scores = 4 * heads * run.length * tokens if cfg.attention == 'xla' else 0
  in_block = (2 if cfg.lora else 3) * width * block + tokens * (8 * cfg.dim + 6 * ffn) * width + scores
  # While the loss is: the head, its gradient, and the logits of a chunk, three times in float32.
  head = cfg.vocab_size * cfg.dim / run.tensor * (width + (0 if cfg.lora else 4))
  in_head = head + 12 * tokens / run.chunks * cfg.vocab_size / run.tensor
  return {
    'weights': trained + frozen,
    'moments': run.moment_bytes * cfg.num_trained / shards,
    'gradients': trained * (1 if run.accumulation == 1 else 2),
    'kept for the backward pass': kept,
    'workspace': max(in_block, in_head),
  }


def step_seconds(run: Run, target: Target) -> tuple[float, float]:
  """Seconds of a step: everything overlaps at the better MFU; at the worse, nothing does.

  Sent are the bf16 weights twice and the gradients of those that train once over 'fsdp', each accumulation step anew,
  and the gradients twice over 'data'.
  """
  cfg, used = run.config, run.data * run.fsdp * run.tensor
  flops = run.rows * run.length * cfg.train_flops_per_token(run.length)
  fast, slow = (flops / (used * target.peak * mfu) for mfu in MFU)
  within, across = target.link_among(run.fsdp * run.tensor), target.link_among(used)
  sent = 2 * (2 * cfg.num_params + cfg.num_trained)
  gathered = sent / run.tensor * run.accumulation * (run.fsdp - 1) / run.fsdp
  summed = 2 * 4 * cfg.num_trained / (run.fsdp * run.tensor) * (run.data - 1) / run.data
  sending = gathered / within + summed / across
  return max(fast, sending), slow + sending
