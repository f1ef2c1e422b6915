"""Requests to collect, and the process that tests kill meanwhile: tests/helpers/collecting.py FOLDER URL N [...]."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from evals.replies.endpoints import Online, collect
from evals.replies.ledger import Ledger, Request, Slot

ROOT = Path(__file__).parents[2]
IN_FLIGHT = 64


def requests(count: int, text: str = 'write') -> list[Request]:
  """Requests of `count` slots: three votes each for combinations whose prompts are all the same."""
  return [
    Request(Slot(f'all-k2-{i // 3:04d}', 1, 'vote', vote=1 + i % 3), ({'role': 'user', 'content': text},))
    for i in range(count)
  ]


def start(folder: Path, base_url: str, count: int) -> subprocess.Popen:
  """A process that collects `count` requests with IN_FLIGHT at a time."""
  command = [sys.executable, __file__, str(folder), base_url, str(count)]
  return subprocess.Popen(command, cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)}, stderr=subprocess.PIPE)


def num_paid(paid: Path) -> int:
  """Lines of the server's file."""
  return paid.read_bytes().count(b'\n') if paid.exists() else 0


def online(server, **options) -> Online:
  """An endpoint that asks a `fake_openai.Server`, one request at a time."""
  return Online('fake-1', base_url=server.base_url, **({'concurrency': 1, 'timeout': 5} | options))


def kill_and_finish(folder: Path, base_url: str, paid: Path, count: int, kills: int, latency: float):
  """Kills a collecting process at random and lets the last one end; checks that no reply was lost or paid twice."""
  chance, lost = random.Random(0), 0
  for kill in range(kills):
    process, before = start(folder, base_url, count), num_paid(paid)
    goal = before + chance.randint(1, (count - before) // (kills + 1 - kill))
    while num_paid(paid) < goal and process.poll() is None:
      time.sleep(0.002)
    time.sleep(chance.random() * latency)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(latency + 0.3)  # the server answers what was in flight, and is paid for it
    lost_now = num_paid(paid) - len(Ledger(folder)) - lost
    assert 0 <= lost_now <= IN_FLIGHT
    lost += lost_now
  for _ in range(2):  # the second costs nothing
    process = start(folder, base_url, count)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert num_paid(paid) == count + lost
  rows = list(Ledger(folder).rows())
  assert {row.slot for row in rows} == {request.slot for request in requests(count)}
  assert len({row.reply.id for row in rows}) == len(rows) == count  # no two slots share a reply
  lines = sum(path.read_bytes().count(b'\n') for path in folder.glob('*.jsonl'))
  assert lines == count


def main():
  folder, base_url, count = sys.argv[1:]
  online = Online('fake', base_url=base_url, concurrency=IN_FLIGHT)
  failed = collect(Ledger(Path(folder)), 'grade', requests(int(count)), online)
  sys.exit(1 if failed else 0)


if __name__ == '__main__':
  main()
