"""What on a machine is known to spoil a run, seen without using a device; each gives (is it well, what was found)."""

import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from skillmix_jax.memory import DEPRECATED, MEMORY_FRACTION, VARIABLE

Verdict = tuple[bool, str]

BYTES_PER_WEIGHT = 12  # of a checkpoint: the weight and two moments in float32
PROBE_BYTES = 256 * 2**20
SLOW = 0.02  # GB/s: a checkpoint of 13B weights, 156 GB, would take two hours


def memory_fraction(environment: Mapping[str, str]) -> Verdict:
  """Says which share of a GPU JAX will take; call it before the commands choose."""
  given = {name: environment[name] for name in (VARIABLE, DEPRECATED) if environment.get(name)}
  text = ' and '.join(f'{name}={value}' for name, value in given.items())
  if len(given) == 2:
    return False, f'{text} are both set: jaxlib refuses that, and JAX leaves the GPU alone; unset {DEPRECATED}'
  return True, f"{text or f'{VARIABLE} is not set: the commands take {MEMORY_FRACTION}'} of each GPU's memory"


def cores(usable: int, of_machine: int, under_slurm: bool) -> Verdict:
  """Says whether this process may use more than one core; one core prepares batches slower than GPUs train on them."""
  remedy = '--cpus-per-task=8 and export SRUN_CPUS_PER_TASK=8' if under_slurm else 'see taskset -p $$'
  well = usable > 1 or of_machine == 1
  return well, f'{usable} of {of_machine} cores for this process' + ('' if well else f': give it more ({remedy})')


def cuda_versions(packages: Mapping[str, str]) -> Verdict:
  """Says whether the installed packages {name: version} are of one CUDA; those of two overwrite each other's
  libraries.
  """
  majors: dict[str, list[str]] = {}
  for name, version in sorted(packages.items()):
    major = re.search(r'(?:-cu|^jax-cuda)(\d\d)(?:-|$)', name)
    if major:
      majors.setdefault(major[1], []).append(name)
    elif name == 'nvidia-cuda-runtime':  # from CUDA 13 on the name has no number
      majors.setdefault(version.split('.')[0], []).append(name)
  if len(majors) < 2:
    return True, f'packages for CUDA {"".join(majors) or "not installed"}'
  each = '; '.join(f'CUDA {major}: {", ".join(names)}' for major, names in sorted(majors.items()))
  return False, f'packages for {len(majors)} CUDAs ({each}): make the environment anew with one'


def cudnn(packages: Mapping[str, str], in_system: bool) -> Verdict:
  """Says whether a machine with a GPU has cuDNN: attention in bfloat16 needs it."""
  installed = [f'{name} {version}' for name, version in sorted(packages.items()) if name.startswith('nvidia-cudnn')]
  if installed or in_system:
    return True, f'cuDNN: {", ".join(installed) or "a library of the system"}'
  return False, "no cuDNN: pip install nvidia-cudnn-cu12 (cu13 beside JAX's CUDA 13), or set model.attention=xla"


def disk(free: int, folder: Path, billions: float | None, keep: int) -> Verdict:
  """Says whether `keep` checkpoints and the one being written fit; without a size, how many weights they may have."""
  each = BYTES_PER_WEIGHT * (keep + 1)
  text = f'{free / 1e9:.0f} GB free in {folder}'
  if billions is None:
    return True, f'{text}: room for checkpoint.keep={keep} of a model of {free / each / 1e9:.2f} billion weights'
  needed = each * billions  # GB
  what = f'checkpoint.keep={keep} and the one being written take {needed:.0f} GB at {billions:g} billion weights'
  return free >= needed * 1e9, f'{text}; {what}'


def write_speed(folder: Path) -> Verdict:
  """Says whether a folder takes checkpoints fast enough: writes a file to its disk and removes it."""
  block, began = os.urandom(2**22), time.perf_counter()
  try:
    with tempfile.NamedTemporaryFile(dir=folder, prefix='.doctor-') as file:
      for _ in range(PROBE_BYTES // len(block)):
        file.write(block)
      os.fsync(file.fileno())
  except OSError as error:
    return False, f'nothing can be saved in {folder}: {error.strerror}'
  speed = PROBE_BYTES / (time.perf_counter() - began) / 1e9
  return speed > SLOW, f'{speed:.2f} GB/s written to {folder} by this process'
