"""launch/slurm/*.sbatch as they are, on a real Slurm cluster on this machine: apt-get install slurm-wlm munge; root."""

import os
import re
import sys
from pathlib import Path

import pytest
from processes import losses
from slurm_cluster import cluster, missing, slurm, wait

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
ROOT = Path(__file__).parent.parent.parent
STEPS = 400


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  with cluster(tmp_path_factory.mktemp('slurm')) as found:
    yield found


def submit(environment, folder: Path, data: Path) -> str:
  """Queues a run of 2 nodes x 2 processes; returns the number of the job."""
  names = {
    'CONFIG': 'configs/tiny.py', 'WORKDIR': os.path.relpath(folder, ROOT), 'PYTHON': sys.executable,
    'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1', 'SKILLMIX_HEARTBEAT_SECONDS': '30',
  }  # fmt: skip
  said = slurm(
    environment | names, 'sbatch', '--parsable', f'--chdir={ROOT}', f'--output={folder}.log', '--nodes=2',
    '--ntasks-per-node=2', '--gpus-per-node=2', 'launch/slurm/train.sbatch', f'--config.data.path={data}',
    f'--config.steps={STEPS}', '--config.log_every=1', '--config.checkpoint.every=1000', '--config.held_out.rows=0',
  )  # fmt: skip
  assert said.isdigit(), said
  return said


def field(environment, job: str, name: str) -> str:
  """One field of `scontrol show job`."""
  return re.search(rf'\b{name}=(\S+)', slurm(environment, 'scontrol', 'show', 'job', job))[1]


def wait_for_end(environment, job: str, folder: Path):
  ended = ('COMPLETED', 'FAILED', 'CANCELLED', 'NODE_FAIL', 'TIMEOUT')
  wait(lambda: field(environment, job, 'JobState') in ended, 900)
  assert field(environment, job, 'JobState') == 'COMPLETED', Path(f'{folder}.log').read_text()


@pytest.mark.parametrize('name', ['train', 'evaluate'])
def test_slurm_accepts_the_file(environment, name):
  said = slurm(environment, 'sbatch', '--test-only', str(ROOT / f'launch/slurm/{name}.sbatch'))
  assert re.match(r'sbatch: Job \d+ to start at', said), said


def test_a_preempted_job_is_queued_again_and_ends_as_if_nothing_had_happened(environment, tmp_path, small_data):
  whole, run = tmp_path / 'whole', tmp_path / 'run'
  wait_for_end(environment, submit(environment, whole, small_data), whole)
  job = submit(environment, run, small_data)
  wait(lambda: len(losses(run)) >= 5, 600)
  urgent = slurm(
    environment, 'sbatch', '--parsable', '--partition=urgent', '--nodes=2', '--exclusive', '--wrap=sleep 1',
    f'--output={tmp_path}/urgent',
  )  # fmt: skip
  wait(lambda: field(environment, urgent, 'JobState') == 'COMPLETED', 300)
  wait(lambda: field(environment, job, 'Restarts') == '1', 120)
  stopped = len(losses(run))
  assert 5 <= stopped < STEPS

  def start_again():  # Slurm holds a requeued job for two minutes
    slurm(environment, 'scontrol', 'update', f'JobId={job}', 'StartTime=now')
    return field(environment, job, 'JobState') == 'RUNNING'

  wait(start_again, 300)
  wait_for_end(environment, job, run)
  log = Path(f'{run}.log').read_text()
  assert 'is being saved; run the same command again' in log and 'continues after step' in log
  assert losses(run) == losses(whole) and len(losses(run)) == STEPS
