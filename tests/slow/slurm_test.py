"""launch/slurm/*.sbatch as they are, on a real Slurm cluster on this machine: apt-get install slurm-wlm munge; root."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import processes
from helpers.processes import losses
from helpers.slurm_cluster import cluster, missing, slurm, wait

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
ROOT = Path(__file__).parent.parent.parent
STEPS = 400
# What the stand-in for configs/eval_paper.py asks: the paper's evaluation, cut down to what a test can wait for
FEW_QUESTIONS = """
paper = get_config


def get_config():
  c = paper()
  c.settings, c.ks, c.num_combinations, c.generations, c.student.max_tokens = ('held_out',), (1, 2), 12, 1, 12
  return c
"""


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


def release(environment, job: str):
  """Starts a requeued job, which Slurm holds for two minutes."""

  def start_again():
    slurm(environment, 'scontrol', 'update', f'JobId={job}', 'StartTime=now')
    return field(environment, job, 'JobState') == 'RUNNING'

  wait(start_again, 300)


@pytest.fixture(scope='module')
def project(small_data, tmp_path_factory) -> Path:
  """The folder of the project as a user has it, with a checkpoint in runs/D12 and an evaluation that asks little."""
  folder = tmp_path_factory.mktemp('project')
  for name in ('evals', 'launch', 'skillmix_jax'):
    (folder / name).symlink_to(ROOT / name)
  (folder / '.venv').symlink_to(sys.prefix)
  shutil.copytree(ROOT / 'configs', folder / 'configs')
  with (folder / 'configs/eval_paper.py').open('a') as config:
    config.write(FEW_QUESTIONS)
  (folder / 'runs').mkdir()
  trained = processes.train(
    1, 1, folder / 'runs/D12', small_data, '--config.steps=1', '--config.model.max_positions=4096'
  )
  assert processes.codes(trained) == [0]
  return folder


def evaluate(environment, project: Path, command: str) -> str:
  """Runs a shell command that queues the evaluation; returns the number of the job."""
  names = {'JAX_PLATFORMS': 'cpu', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  done = subprocess.run(command, shell=True, cwd=project, env=environment | names, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done.stdout.split()[-1]


def num_replies(folder: Path) -> int:
  return sum(file.read_bytes().count(b'\n') for file in folder.glob('replies/*.jsonl'))


def test_the_evaluation_runs_as_its_guide_prints_it(environment, project):
  guide = (ROOT / 'docs/guides/scale.md').read_text()
  (command,) = re.findall(r'`([^`|]*sbatch launch/slurm/evaluate\.sbatch)`', guide)
  assert command.startswith('RUN=eval/D12 CHECKPOINT=runs/D12 ')
  job = evaluate(environment, project, command)
  wait(lambda: 'TresPerTask=cpu:16' in slurm(environment, 'scontrol', 'show', 'step', f'{job}.0'), 60)
  wait_for_end(environment, job, project / f'slurm-{job}')
  assert '24 of 24 texts by checkpoint:runs/D12' in (project / f'slurm-{job}.log').read_text()
  assert num_replies(project / 'eval/D12') == 48
  assert any((project / 'eval/D12/compile_cache').iterdir())


def test_an_evaluation_that_reaches_its_time_limit_is_queued_again(environment, project, tmp_path):
  run = tmp_path / 'absolute'
  command = f'RUN={run} CHECKPOINT=runs/D12 sbatch launch/slurm/evaluate.sbatch --batch_size=1 --config.ks=2'
  job = evaluate(environment, project, command)
  wait(lambda: num_replies(run) >= 2 or field(environment, job, 'JobState') not in ('PENDING', 'RUNNING'), 300)
  slurm(environment, 'scancel', '--batch', '--signal=USR1', job)  # what Slurm sends two minutes before the limit
  wait(lambda: field(environment, job, 'Restarts') == '1', 120)
  assert 2 <= num_replies(run) < 24, (project / f'slurm-{job}.log').read_text()
  assert re.fullmatch(rf'job {job} at \d+ replies\n', (run / 'requeues.log').read_text())
  release(environment, job)
  wait_for_end(environment, job, project / f'slurm-{job}')
  assert '12 of 12 texts' in (project / f'slurm-{job}.log').read_text() and num_replies(run) == 24
  assert any((run / 'compile_cache').iterdir()) and not (project / tmp_path.name).exists()


def test_an_interactive_allocation_that_uses_one_of_four_gpus_is_said(environment, project, small_data):
  said = slurm(
    environment | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}, 'salloc', '--nodes=1', '--gpus-per-node=4', 'srun',
    f'--chdir={project}', sys.executable, '-m', 'skillmix_jax.train', '--config=configs/tiny.py',
    f'--config.data.path={small_data}', '--config.steps=1', '--config.held_out.rows=0', '--workdir=runs/alone',
  )  # fmt: skip
  assert 'warning: this run uses 1 of 4 GPUs of a node that Slurm allocated' in said and 'done: step 1' in said, said


def test_a_preempted_job_is_queued_again_and_ends_as_if_nothing_had_happened(environment, tmp_path, small_data):
  whole, run = tmp_path / 'whole', tmp_path / 'run'
  wait_for_end(environment, submit(environment, whole, small_data), whole)
  job = submit(environment, run, small_data)
  wait(lambda: len(losses(run)) >= 5, 600)
  assert 'TresPerTask=cpu:8' in slurm(environment, 'scontrol', 'show', 'step', f'{job}.0')
  urgent = slurm(
    environment, 'sbatch', '--parsable', '--partition=urgent', '--nodes=2', '--exclusive', '--wrap=sleep 1',
    f'--output={tmp_path}/urgent',
  )  # fmt: skip
  wait(lambda: field(environment, urgent, 'JobState') == 'COMPLETED', 300)
  wait(lambda: field(environment, job, 'Restarts') == '1', 120)
  stopped = len(losses(run))
  assert 5 <= stopped < STEPS

  release(environment, job)
  wait_for_end(environment, job, run)
  log = Path(f'{run}.log').read_text()
  assert 'is being saved; run the same command again' in log and 'continues after step' in log
  assert losses(run) == losses(whole) and len(losses(run)) == STEPS
