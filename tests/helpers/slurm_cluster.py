"""A real Slurm cluster on this machine: munge, slurmctld and two slurmd on the loopback address. Needs root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = Path('/etc/hosts')
NODES = ('n1', 'n2')
NEEDED = ('munged', 'slurmctld', 'slurmd', 'sbatch')

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=batch_sched_delay=1,sched_interval=5,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
KillWait=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SrunPortRange=40000-40999
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=64 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=64 Gres=gpu:8 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=120
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str | None:
  """Why no cluster can be started here."""
  if os.geteuid():
    return 'needs root'
  lacking = [name for name in NEEDED if shutil.which(name) is None]
  return f'{", ".join(lacking)} missing: apt-get install slurm-wlm munge' if lacking else None


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
  """Starts the daemons and ends them; gives the environment in which sbatch finds them."""
  (folder / 'state').mkdir(parents=True)
  host = socket.gethostname().split('.')[0]
  (folder / 'slurm.conf').write_text(CONFIG.format(host=host, folder=folder))
  for number in range(8):
    (folder / f'gpu{number}').touch()  # Slurm counts files
  (folder / 'gres.conf').write_text(f'Name=gpu File={folder}/gpu[0-7]\n')
  environment = os.environ | {'SLURM_CONF': str(folder / 'slurm.conf')}
  before = HOSTS.read_text()
  HOSTS.write_text(before.rstrip('\n') + f'\n127.0.0.1 {" ".join(NODES)}\n')  # JAX reaches process 0 by its node's name
  daemons = []
  try:
    munge = Path('/run/munge')
    munge.mkdir(exist_ok=True)
    shutil.chown(munge, 'munge', 'munge')
    munge.chmod(0o755)
    run_as_munge = ['su', '-s', '/bin/sh', 'munge', '-c', 'exec munged --foreground --force']
    commands = [run_as_munge, ['slurmctld', '-D', '-c'], *(['slurmd', '-D', '-N', node] for node in NODES)]
    for number, command in enumerate(commands):
      log = (folder / f'daemon{number}.log').open('wb')
      daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
      time.sleep(1)
    wait(lambda: slurm(environment, 'sinfo', '-h', '-N', '-p', 'main', '-o', '%T').split() == ['idle'] * 2, 60)
    yield environment
  finally:
    for daemon in reversed(daemons):
      daemon.terminate()
      daemon.wait()
    HOSTS.write_text(before)


def slurm(environment: dict[str, str], *command: str) -> str:
  """Output of a Slurm command, errors included."""
  return subprocess.run(command, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT).stdout.strip()


def wait(ready, seconds: float):
  """Polls until `ready()`."""
  deadline = time.monotonic() + seconds
  while not ready():
    assert time.monotonic() < deadline, 'it did not get there'
    time.sleep(0.2)
