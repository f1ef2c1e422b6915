"""What Slurm has allocated, and how much of it the processes of this run will use."""

import re
from collections.abc import Mapping

from skillmix_jax.errors import InputError

# JAX takes a process for one of Slurm's where all of these are set, and then gives it one GPU
RECOGNISED = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID')


def check_processes(environment: Mapping[str, str]):
  """Refuses the shell that salloc opens on a node with one process, where JAX would wait minutes for the others.

  Raises:
    InputError: the allocation is for more processes than were started.
  """
  if not all(name in environment for name in RECOGNISED):
    return
  wanted, started = (int(environment.get(name, '1')) for name in ('SLURM_NTASKS', 'SLURM_STEP_NUM_TASKS'))
  if started < wanted:
    raise InputError(
      f'Slurm started {started} of the {wanted} processes that this allocation is for, and JAX would wait for the '
      'others: put srun before the command'
    )


def unused(environment: Mapping[str, str]) -> str | None:
  """Says how much of the allocation this run uses, and how to use the rest; None where it uses all."""
  if 'SLURM_JOB_ID' not in environment:
    return None
  nodes = int(environment.get('SLURM_JOB_NUM_NODES', '1'))
  asked = environment.get('SLURM_GPUS_PER_NODE', '1').rpartition(':')[2]  # 4, or h100:4
  gpus = int(environment.get('SLURM_GPUS_ON_NODE') or asked)
  # A process that JAX does not take for one of Slurm's sees all GPUs of its node; a shell of salloc may be on none.
  used_gpus, used_nodes = gpus, int('SLURMD_NODENAME' in environment)
  if all(name in environment for name in RECOGNISED):
    used_nodes = int(environment.get('SLURM_STEP_NUM_NODES', nodes))
    if not environment.get('JAX_LOCAL_DEVICE_IDS'):
      processes = re.match(r'\d+', environment.get('SLURM_STEP_TASKS_PER_NODE', '1'))
      used_gpus = min(gpus, int(processes[0]) if processes else 1)
  idle = [
    f'{used} of {count} {name}'
    for used, count, name in ((used_nodes, nodes, 'nodes'), (used_gpus, gpus, 'GPUs of a node'))
    if used < count
  ]
  if not idle:
    return None
  return (
    f'this run uses {" and ".join(idle)} that Slurm allocated: allocate with --ntasks-per-node={gpus}, one process a '
    'GPU, and put srun --gpu-bind=none before the command'
  )
