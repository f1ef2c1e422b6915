"""Says what this machine has and what is wrong with it, one verdict a line.

    python -m skillmix_jax.doctor --billions=7
    srun --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 .venv/bin/python -m skillmix_jax.doctor --devices=8

Every process says what it sees; --processes and --devices are what the whole run should have, --workdir is the folder
that checkpoints go to, --billions the weights of the model. Exit code 1 where something is wrong.
"""

import ctypes.util
import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from skillmix_jax import command

if __name__ == '__main__':  # the libraries below take a second to load: --help and a wrong flag do not wait for them
  flags.DEFINE_integer('processes', None, 'processes that the run should have')
  flags.DEFINE_integer('devices', None, 'devices that all processes together should see')
  flags.DEFINE_string('workdir', '.', 'folder that checkpoints go to')
  flags.DEFINE_float('billions', None, 'weights of the model, in billions: does the disk hold its checkpoints?')
  flags.DEFINE_integer('keep', 2, 'how many checkpoints the run keeps: its checkpoint.keep', lower_bound=1)
  command.read_flags()

import jax
import jax.numpy as jnp

from skillmix_jax import memory, slurm, traps
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import initialize_distributed, make_mesh, spec
from skillmix_jax.workdir import PACKAGES

FLAGS = flags.FLAGS


def verdicts(processes: int | None, devices: int | None, folder: Path) -> Iterator[tuple[bool, str]]:
  """Yields (is it well, what was seen) for everything that is looked at."""
  yield True, ' '.join(f'{name} {importlib.metadata.version(name)}' for name in PACKAGES)
  seen, here = jax.devices(), jax.local_devices()
  yield processes in (None, jax.process_count()), f'{jax.process_count()} processes, expected {processes or "any"}'
  count = f'{len(seen)} x {here[0].device_kind}, {len(here)} of them here'
  yield devices in (None, len(seen)), f'{count}, expected {devices or "any"}'
  if 'SLURM_JOB_ID' in os.environ:
    idle = slurm.unused(os.environ)
    yield idle is None, idle or 'all nodes and GPUs that Slurm allocated are used'
  if shutil.which('nvidia-smi'):
    yield here[0].platform == 'gpu', f'NVIDIA driver found, JAX uses the {here[0].platform}'
  packages = {package.name.lower(): package.version for package in importlib.metadata.distributions() if package.name}
  yield traps.cuda_versions(packages)
  if here[0].platform == 'gpu' or shutil.which('nvidia-smi'):
    yield traps.cudnn(packages, ctypes.util.find_library('cudnn') is not None)
  stats = here[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    yield True, f'{(stats["bytes_limit"] - stats["bytes_in_use"]) / 2**30:.1f} GiB free on a device'
  yield traps.cores(len(os.sched_getaffinity(0)), os.cpu_count() or 1, 'SLURM_JOB_ID' in os.environ)
  free = shutil.disk_usage(folder).free
  yield traps.disk(free, folder, FLAGS.billions, FLAGS.keep)
  if free > 2 * traps.PROBE_BYTES:
    yield traps.write_speed(folder)
  else:
    yield False, f'too little room in {folder} to measure how fast it is'
  mesh = make_mesh(1, -1, 1)
  with jax.set_mesh(mesh):
    ones = jax.jit(lambda: jnp.ones(mesh.size, out_sharding=spec('embed')))()
    total = int(jax.jit(lambda x: jax.reshard(x, spec(None)).sum())(ones))
  yield total == mesh.size, f'an all-reduce over {mesh.size} devices counts {total}'


def main() -> int:
  folder = Path(FLAGS.workdir)
  if not folder.is_dir():
    raise InputError(f'--workdir={folder} is not a folder')
  fraction = traps.memory_fraction(os.environ)
  if not fraction[0]:
    del os.environ[memory.DEPRECATED]  # so that the rest can be seen
  initialize_distributed()
  wrong = 0
  for well, text in (fraction, *verdicts(FLAGS.processes, FLAGS.devices, folder)):
    print(f'process {jax.process_index()}  {"ok   " if well else "WRONG"}  {text}', flush=True)
    wrong += not well
  return 1 if wrong else 0


if __name__ == '__main__':
  command.run(main)
