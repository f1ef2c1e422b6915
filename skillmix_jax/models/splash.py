"""Attention by jax's own fused TPU kernel ("splash", in Pallas): scores stay on the chip, hidden blocks are skipped."""

import math

import jax

LANES = 128  # the kernel works on blocks of a multiple of so many tokens
LARGEST_BLOCK = 512


def refusal(length: int | None) -> str | None:
  """Why rows of `length` tokens cannot be given to the kernel, or None."""
  return (
    f'splash wants rows of a multiple of {LANES} tokens, not {length}' if length is None or length % LANES else None
  )


def attend(q_BTNH, k_BTKH, v_BTKH, segments_BT, window):
  """Attention output [B, T, N, H], see attention.attend; a group's keys are read where they are, not repeated.

  What the backward pass needs of the forward pass, the output and the logarithm of each row's sum, is named 'context'.
  """
  # Here, because every command would wait for it: Pallas takes .15 s to import
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

  T, N, H = q_BTNH.shape[1:]
  block = math.gcd(T, LARGEST_BLOCK)
  mask = masks.CausalMask((T, T)) if window is None else masks.LocalMask((T, T), (window - 1, 0), offset=0)
  # dq has a kernel of its own: in one kernel with dk and dv it would be written once for every block of keys.
  sizes = kernel.BlockSizes(block, block, block, block, block, block, block, block)
  run = kernel.make_splash_mha_single_device(
    masks.MultiHeadMask([mask] * N), block_sizes=sizes, residual_checkpoint_name='context'
  )
  q_BNTH, k_BKTH, v_BKTH = (x.transpose(0, 2, 1, 3) for x in (q_BTNH * H**-0.5, k_BTKH, v_BTKH))
  segments = None if segments_BT is None else kernel.SegmentIds(segments_BT, segments_BT)
  return jax.vmap(run)(q_BNTH, k_BKTH, v_BKTH, segments).transpose(0, 2, 1, 3)
