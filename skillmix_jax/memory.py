"""Memory of the devices and of the host: how much of a GPU JAX takes, and what to do when there is too little."""

import ctypes
import importlib.util
import os
from collections.abc import Mapping, MutableMapping

from skillmix_jax.errors import InputError

MEMORY_FRACTION = 0.95  # of a GPU's memory; the rest is for NCCL and cuDNN. JAX by itself takes .75
VARIABLE = 'XLA_CLIENT_MEM_FRACTION'
DEPRECATED = 'XLA_PYTHON_CLIENT_MEM_FRACTION'

ACCELERATORS = 'jax_plugins', 'libtpu'  # packages that bring JAX devices other than the CPU
# Names of glibc's malloc.h: one heap for all threads, which holds arrays below this size and is never given back
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
KEPT_BYTES = 2**30  # larger ones take whole seconds to compute with, and would leave large holes

DEVICE_ADVICE = (
  f'on GPUs {VARIABLE}={MEMORY_FRACTION}, as it is where you set nothing; then try, in this order: model.remat=full, '
  'more devices on mesh.fsdp, a larger accumulation, optimizer.mu_dtype=bfloat16, fewer data.text_rows'
)
SAMPLING_ADVICE = (
  'give a smaller --batch_size (and another file or folder of answers, if answers of this batch size are stored), more '
  'devices, or bfloat16'
)
HOST_ADVICE = (
  'a save copies the whole state to the host, 12 bytes a weight over all machines: ask for more (Slurm: --mem=0), '
  'use more machines, or set optimizer.mu_dtype=bfloat16'
)


def check_variables(environment: MutableMapping[str, str]):
  """Raises InputError where both names of the fraction are set: jaxlib would refuse, and JAX run on the CPU."""
  if environment.get(VARIABLE) and environment.get(DEPRECATED):
    raise InputError(
      f'{VARIABLE}={environment[VARIABLE]} and {DEPRECATED}={environment[DEPRECATED]} are both set, which jaxlib '
      f'refuses: unset {DEPRECATED}, the deprecated one'
    )


def claim(environment: MutableMapping[str, str] = os.environ):
  """Lets JAX take .95 of each GPU unless the user says otherwise; must run before anything touches a device.

  Only the GPU client reads the variable. Everything that uses devices comes through here.

  Raises:
    InputError: both names of the variable are set.
  """
  check_variables(environment)
  if not environment.get(VARIABLE) and not environment.get(DEPRECATED):
    environment[VARIABLE] = str(MEMORY_FRACTION)


def keep_freed():
  """Keeps memory that is freed for what is allocated next, where the CPU is the device.

  XLA allocates its buffers anew for every step, and the system would hand out their pages one by one, filled with
  zeros: a fifth of the CPU seconds of a small model's step. Must run before there are other threads: one that has a
  heap of its own keeps it.
  """
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # of glibc; others have none
  if mallopt is None or not cpu_only(os.environ):
    return
  mallopt(M_ARENA_MAX, 1)
  mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
  mallopt(M_TRIM_THRESHOLD, -1)


def cpu_only(environment: Mapping[str, str]) -> bool:
  """Says whether JAX will compute on the CPU, without asking JAX, which would touch the devices."""
  asked = environment.get('JAX_PLATFORMS')
  return asked == 'cpu' if asked else not any(importlib.util.find_spec(name) for name in ACCELERATORS)


def explain_exhausted(error: BaseException, sampling: bool = False) -> str | None:
  """Says in one line whose memory ran out and what to do; None where the error says something else."""
  text = str(error)
  host = isinstance(error, MemoryError) or 'host memory' in text or 'gpu_host_bfc' in text
  if not host and 'RESOURCE_EXHAUSTED' not in text:
    return None
  advice = SAMPLING_ADVICE if sampling else HOST_ADVICE if host else DEVICE_ADVICE
  return f'out of {"host" if host else "device"} memory; {advice}'
