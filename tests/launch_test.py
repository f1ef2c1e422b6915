"""The files in launch/, and what is said where an allocation is used in part."""

import contextlib
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
FILES = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('slurm/*')])


@pytest.mark.parametrize('name', ['local.sh', 'detached.sh', 'tpu_vm.sh'])
def test_a_script_without_arguments_says_what_it_takes(name, tmp_path):
  done = subprocess.run(['bash', LAUNCH / name], cwd=tmp_path, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith(f'error: launch/{name} ') and done.stderr.count('\n') == 1


def test_bash_reads_them():
  assert len(FILES) == 6
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


WAITS = """#!/bin/bash
# Stands for one of several processes: says its number when it begins and on Ctrl-C
trap 'echo end $JAX_PROCESS_ID >> said; exit 130' INT
echo begin $JAX_PROCESS_ID >> said; while sleep 0.1; do :; done
"""


def test_ctrl_c_reaches_all_processes_on_this_machine(tmp_path):
  (tmp_path / 'python').write_text(WAITS)
  (tmp_path / 'python').chmod(0o755)
  said = tmp_path / 'said'
  lines = lambda: sorted(said.read_text().splitlines()) if said.exists() else []
  launcher = subprocess.Popen(
    ['env', '--default-signal=INT', 'bash', LAUNCH / 'local.sh', '3', 'module'],
    cwd=tmp_path, env=os.environ | {'PYTHON': './python'}, start_new_session=True,
  )  # fmt: skip
  try:
    deadline = time.monotonic() + 60
    while len(lines()) < 3:
      assert time.monotonic() < deadline
      time.sleep(0.05)
    os.killpg(launcher.pid, signal.SIGINT)  # what a terminal does
    assert launcher.wait(timeout=60) == 130
    while len(lines()) < 6:
      assert time.monotonic() < deadline, lines()
      time.sleep(0.05)
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(launcher.pid, signal.SIGKILL)
  assert lines() == [f'{when} {number}' for when in ('begin', 'end') for number in range(3)]


SRUN = """#!/bin/bash
# Stands for the processes of a job: they store something if ADVANCES is set, and end with CODE
if [ -n "$ADVANCES" ]; then
  mkdir -p "runs/x/checkpoints/$((10 * SLURM_RESTART_COUNT + 10))" runs/x/replies; echo >> runs/x/replies/a.jsonl
fi
mkdir -p runs/x/checkpoints/1000.orbax-checkpoint-tmp
exit $CODE
"""
FOLDER_OF = {'train.sbatch': 'WORKDIR', 'evaluate.sbatch': 'RUN'}


@pytest.mark.parametrize(
  ('name', 'code', 'advances', 'starts'),
  [
    ('train.sbatch', 85, True, 8),
    ('train.sbatch', 85, False, 6),
    ('train.sbatch', 137, True, 8),
    ('train.sbatch', 134, False, 6),
    ('train.sbatch', 2, True, 1),
    ('evaluate.sbatch', 85, True, 8),
    ('evaluate.sbatch', 85, False, 6),
    ('evaluate.sbatch', 1, True, 1),
  ],
)
def test_a_job_is_queued_again_as_long_as_it_gets_on(name, code, advances, starts, tmp_path):
  (tmp_path / 'bin').mkdir()
  for program, text in (('srun', SRUN), ('scontrol', '#!/bin/bash\necho "$@" >> queued\n')):
    (tmp_path / 'bin' / program).write_text(text)
    (tmp_path / 'bin' / program).chmod(0o755)
  (tmp_path / 'launch').symlink_to(LAUNCH)
  environment = os.environ | {
    'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}', 'CODE': str(code), 'ADVANCES': 'yes' if advances else '',
    'SLURM_JOB_ID': '7', FOLDER_OF[name]: 'runs/x',
  }  # fmt: skip
  queued = tmp_path / 'queued'
  for start in range(8):
    if start and (not queued.exists() or queued.read_text() != 'requeue 7\n' * start):
      assert start == starts
      break
    command = ['bash', LAUNCH / 'slurm' / name]
    again = environment | {'SLURM_RESTART_COUNT': str(start)}
    done = subprocess.run(command, cwd=tmp_path, env=again, capture_output=True, text=True)
    assert done.returncode == code
  else:
    assert starts == 8 and queued.read_text() == 'requeue 7\n' * 8
  assert ('does not get on and is not queued again' in done.stderr) == (starts == 6)


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
