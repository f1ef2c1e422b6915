"""Causal attention with grouped queries, on each device's own rows and heads.

Dims: B batch, T time, S slots of a cache, N heads, K key-value heads, G = N / K, H head.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax._src.lib import cuda_versions
from jax.ad_checkpoint import checkpoint_name

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import spec
from skillmix_jax.models import splash

CUDNN_WITH_BOTH = 91_002  # 9.10.2, the first cuDNN that takes a window together with a bias, which a mask becomes
CHUNK = 128  # queries at a time; a chunk's keys end where the chunk ends, which skips most of what causality hides


def choose(asked: str, platform: str, length: int | None, dtype: str) -> tuple[str, str | None]:
  """The implementation that `model.attention` asks for, and what the user must be told about it, or None.

  Args:
    asked: 'auto' or the name of an implementation.
    platform: where the run is: 'cpu', 'gpu' or 'tpu'.
    length: tokens of a row; None: any.
    dtype: of the computation.

  Raises:
    InputError: the implementation was asked for by name and cannot run there.
  """
  refusal = splash.refusal(length)
  if asked == 'auto':
    if platform == 'tpu' and refusal:
      return 'xla', f'XLA attention, which is slower: {refusal}'
    if platform == 'gpu' and dtype != 'bfloat16':
      return 'xla', None  # cuDNN's kernel takes no float32
    return {'gpu': 'cudnn', 'tpu': 'splash'}.get(platform, 'xla'), None
  if asked == 'cudnn' and platform != 'gpu':
    raise InputError(f'model.attention=cudnn needs NVIDIA GPUs, this is {platform}: use auto or xla')
  if asked == 'cudnn' and dtype != 'bfloat16':
    raise InputError(f'model.attention=cudnn does not compute in model.dtype={dtype}: use auto, xla or bfloat16')
  if asked == 'splash' and platform != 'tpu':
    raise InputError(f'model.attention=splash needs TPUs, this is {platform}: use auto or xla')
  if asked == 'splash' and refusal:
    raise InputError(f'model.attention=splash: {refusal}; use auto or xla')
  return asked, None


def check_window(implementation: str, window: int | None, length: int, packed: bool):
  """Raises InputError where this machine's cuDNN cannot hide what is before a window and other segments as well."""
  version = cuda_versions.cudnn_get_version() if implementation == 'cudnn' and cuda_versions else CUDNN_WITH_BOTH
  if packed and window is not None and window < length and version < CUDNN_WITH_BOTH:
    number = f'{version // 10_000}.{version // 100 % 100}.{version % 100}'
    raise InputError(
      f'model.window={window} is shorter than rows of {length}, and cuDNN {number} has no window in packed rows: use '
      '9.10.2 or later, or give --config.model.attention=xla or --config.data.packing=False'
    )


def attend(q_BTNH, k_BTKH, v_BTKH, segments_BT, *, window: int | None, implementation: str):
  """Attention output [B, T, N, H]; a token sees the tokens before it of its own segment, and itself.

  Args:
    q_BTNH, k_BTKH, v_BTKH: after the rotary embedding, sharded by rows and heads.
    segments_BT: int32, or None where every row is one segment followed by padding: then causality alone hides
      what must be hidden, which is the case that the fused kernels are fast at.
    window: number of tokens seen, the token itself counted; None for all.
    implementation: 'xla', 'cudnn' or 'splash'.
  """
  if window is not None and window >= q_BTNH.shape[1]:
    window = None  # hides nothing
  kernel = {'xla': _xla, 'cudnn': _cudnn, 'splash': splash.attend}[implementation]
  # The fused kernels know nothing of explicit shardings, and no attention needs to talk to another device.
  local = jax.shard_map(partial(kernel, window=window), out_specs=spec('batch', None, 'heads', None), check_vma=False)
  context_BTNH = local(q_BTNH, k_BTKH, v_BTKH, segments_BT)
  return context_BTNH if implementation == 'splash' else checkpoint_name(context_BTNH, 'context')


def attend_cached(q_BTNH, k_BKSH, v_BKSH, visible_BS):
  """Attention of one token a row to the visible slots of its cache; the heads of a group share keys and values."""

  def local(q_BTNH, k_BKSH, v_BKSH, visible_BS):
    B, T, N, H = q_BTNH.shape
    K = k_BKSH.shape[1]
    q_BKGH = (q_BTNH * H**-0.5).reshape(B, K, N // K, H)
    logits = jnp.einsum('bkgh,bksh->bkgs', q_BKGH, k_BKSH, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(visible_BS[:, None, None], logits, -jnp.inf)).astype(v_BKSH.dtype)
    return jnp.einsum('bkgs,bksh->bkgh', weights, v_BKSH).reshape(B, T, N, H)

  mapped = jax.shard_map(local, out_specs=spec('batch', None, 'heads', None), check_vma=False)
  return mapped(q_BTNH, k_BKSH, v_BKSH, visible_BS)


def _xla(q_BTNH, k_BTKH, v_BTKH, segments_BT, window):
  B, T, N, H = q_BTNH.shape
  K = k_BTKH.shape[2]
  q_BKGTH = (q_BTNH * H**-0.5).reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4)
  k_BKTH, v_BKTH = (x.transpose(0, 2, 1, 3) for x in (k_BTKH, v_BTKH))
  chunks = []
  for start in range(0, T, CHUNK):
    stop = min(start + CHUNK, T)
    first = 0 if window is None else max(0, start + 1 - window)
    distance = jnp.arange(start, stop)[:, None] - jnp.arange(first, stop)[None, :]
    visible = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
    visible = visible[None, None, None]
    if segments_BT is not None:
      same = segments_BT[:, start:stop, None] == segments_BT[:, None, first:stop]
      visible = visible & same[:, None, None]
    q, k, v = q_BKGTH[..., start:stop, :], k_BKTH[:, :, first:stop], v_BKTH[:, :, first:stop]
    logits = jnp.einsum('bkgth,bksh->bkgts', q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf)).astype(v.dtype)
    chunks.append(jnp.einsum('bkgts,bksh->bkgth', weights, v))
  return jnp.concatenate(chunks, axis=3).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def _cudnn(q_BTNH, k_BTKH, v_BTKH, segments_BT, window):
  mask = None if segments_BT is None else (segments_BT[:, None, :, None] == segments_BT[:, None, None, :])
  return jax.nn.dot_product_attention(
    q_BTNH, k_BTKH, v_BTKH, mask=mask, is_causal=True, implementation='cudnn',
    local_window_size=None if window is None else (window - 1, 0),  # jax does not count the token itself
  )  # fmt: skip
