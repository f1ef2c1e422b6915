"""The files in launch/, and what is said where an allocation is used in part."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from skillmix_jax import slurm
from skillmix_jax.errors import InputError

LAUNCH = Path(__file__).parent.parent / 'launch'
FILES = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('slurm/*.sbatch')])


@pytest.mark.parametrize('name', ['local.sh', 'detached.sh', 'tpu_vm.sh'])
def test_a_script_without_arguments_says_what_it_takes(name, tmp_path):
  done = subprocess.run(['bash', LAUNCH / name], cwd=tmp_path, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith(f'error: launch/{name} ') and done.stderr.count('\n') == 1


def test_bash_reads_them():
  assert len(FILES) == 5
  for path in FILES:
    subprocess.run(['bash', '-n', path], check=True)


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='apt-get install shellcheck')
def test_shellcheck_finds_nothing():
  done = subprocess.run(['shellcheck', *FILES], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


def test_launchers_leave_the_memory_fraction_to_the_commands_and_the_user():
  for path in FILES:
    assert '_MEM_FRACTION=' not in path.read_text(), 'where the user set the other name, jaxlib would refuse the GPU'


GCLOUD = """#!/bin/bash
# Stands for `gcloud compute tpus tpu-vm ssh NAME --worker=all --command=COMMAND --zone=ZONE` on a machine of its own
for argument; do case $argument in --command=*) cd "$VM" && exec bash -c "${argument#*=}" ;; esac; done
"""
PYTHON = """#!/bin/bash
# Stands for training: says its arguments one a line, then works until SIGTERM
trap 'echo saved; exit 85' TERM
echo $$ > pid; printf '<%s>\n' "$@"; while sleep 0.1; do :; done
"""


def test_training_on_a_tpu_vm_survives_the_connection_and_is_stopped_by_a_command(tmp_path):
  project, programs = tmp_path / 'vm/skillmix_jax', tmp_path / 'bin'
  (project / '.venv/bin').mkdir(parents=True)
  programs.mkdir()
  shutil.copytree(LAUNCH, project / 'launch')
  for path, text in ((programs / 'gcloud', GCLOUD), (project / '.venv/bin/python', PYTHON)):
    path.write_text(text)
    path.chmod(0o755)
  environment = os.environ | {'PATH': f'{programs}:{os.environ["PATH"]}', 'VM': str(tmp_path / 'vm')}

  def tpu_vm(*arguments: str) -> subprocess.Popen:
    command = [LAUNCH / 'tpu_vm.sh', *arguments]
    return subprocess.Popen(command, env=environment, stdout=-1, stderr=-2, text=True, start_new_session=True)

  connection = tpu_vm('train', '--config=configs/tiny.py', "--config.optimizer.name='two words'")
  try:
    deadline = time.monotonic() + 60
    while not (project / 'pid').exists() or 'words' not in (project / '.detached/log').read_text():
      assert time.monotonic() < deadline
      time.sleep(0.05)
    os.killpg(connection.pid, signal.SIGHUP)  # what sshd does when the link is cut
    connection.communicate(timeout=60)
    os.kill(int((project / 'pid').read_text()), 0)  # it is still there
    second = tpu_vm('train', '--config=configs/tiny.py')
    assert 'it is training already' in second.communicate(timeout=60)[0] and second.returncode == 2
    log = tpu_vm('log')
    assert tpu_vm('stop').wait(timeout=60) == 0
    said, _ = log.communicate(timeout=60)
    assert said.splitlines()[:4] == [
      '<-m>', '<skillmix_jax.train>', '<--config=configs/tiny.py>', "<--config.optimizer.name='two words'>"
    ]  # fmt: skip
    assert said.endswith('saved\n')
    assert log.returncode == 85
  finally:
    tpu_vm('stop').wait(timeout=60)


# What Slurm 22.05 sets in a shell of `salloc --nodes=1 --gpus-per-node=4` on the machine where it was called
SHELL = {
  'SLURM_JOB_ID': '2', 'SLURM_JOB_NUM_NODES': '1', 'SLURM_GPUS_PER_NODE': '4', 'SLURM_NTASKS': '1',
  'SLURM_TASKS_PER_NODE': '1',
}  # fmt: skip
# and in a process of `srun` there
STEP = SHELL | {
  'SLURM_GPUS_ON_NODE': '4', 'SLURMD_NODENAME': 'n1', 'SLURM_STEP_NODELIST': 'n1', 'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0', 'SLURM_STEP_NUM_NODES': '1', 'SLURM_STEP_NUM_TASKS': '1', 'SLURM_STEP_TASKS_PER_NODE': '1',
}  # fmt: skip
TWO_NODES = {'SLURM_JOB_NUM_NODES': '2'}


@pytest.mark.parametrize(
  'environment, said',
  [
    ({}, None),
    (SHELL, '0 of 1 nodes'),
    (SHELL | {'SLURM_GPUS_PER_NODE': 'h100:4'}, '--ntasks-per-node=4'),
    (STEP, '1 of 4 GPUs'),
    (STEP | TWO_NODES, '1 of 2 nodes and 1 of 4 GPUs'),
    (STEP | {'JAX_LOCAL_DEVICE_IDS': '0,1,2,3'}, None),
    (STEP | {'SLURM_GPUS_ON_NODE': '1'}, None),  # srun --exact --gpus-per-node=1
    (STEP | {'SLURM_NTASKS': '4', 'SLURM_STEP_NUM_TASKS': '4', 'SLURM_STEP_TASKS_PER_NODE': '4'}, None),
    (STEP | TWO_NODES | {'SLURM_STEP_NUM_NODES': '2', 'SLURM_STEP_TASKS_PER_NODE': '4(x2)'}, None),
  ],
)
def test_a_slurm_allocation_that_is_used_in_part_is_said(environment, said):
  slurm.check_processes(environment)
  found = slurm.unused(environment)
  assert found is None if said is None else said in found and '--ntasks-per-node=4' in found


def test_the_shell_of_salloc_on_a_node_does_not_wait_for_processes_that_nobody_started():
  with pytest.raises(InputError, match='1 of the 4 processes'):  # salloc -n4 with Slurm's use_interactive_step
    slurm.check_processes(STEP | {'SLURM_NTASKS': '4'})
