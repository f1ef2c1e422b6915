"""A disk that is really full, eight times: what was paid for is stored, and no more is asked. Needs root (mount)."""

import shutil
import subprocess

import pytest
from helpers.collecting import requests
from helpers.fake_openai import Server

from evals.replies.endpoints import Online, collect
from evals.replies.ledger import Ledger
from skillmix_jax.errors import InputError

IN_FLIGHT = 8
ROOM = 1024  # KiB of the disk to begin with


@pytest.fixture
def disk(tmp_path):
  """A small file system; calling it with a number of KiB changes its size."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', f'size={ROOM}k', 'tmpfs', str(folder)]
  if shutil.which('mount') is None or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('no right to mount a file system')
  yield folder, lambda kib: subprocess.run(['mount', '-o', f'remount,size={kib}k', str(folder)], check=True)
  subprocess.run(['umount', str(folder)], check=True)


def test_what_is_paid_for_when_the_disk_gets_full_is_stored(disk):
  folder, resize = disk
  asked, stops = requests(4000), 0
  with Server(reply=lambda body: 'word ' * 1000, latency=lambda: 0.02) as server:
    endpoint = Online('fake-1', base_url=server.base_url, concurrency=IN_FLIGHT)
    while stops < 8:
      with pytest.raises(InputError, match=r'No space left on device.*free some space and run the same command again'):
        collect(Ledger(folder / 'replies'), 'votes', asked, endpoint)
      stops += 1
      assert len(Ledger(folder / 'replies')) == server.num_paid > 0, f'paid and lost, stop {stops}'
      assert all(file.suffix == '.jsonl' for file in (folder / 'replies').iterdir())
      paid = server.num_paid
      with pytest.raises(InputError, match='No space left on device'):
        collect(Ledger(folder / 'replies'), 'votes', asked, endpoint)
      assert server.num_paid == server.num_requests == paid, 'asked although there is no room'
      resize(ROOM + stops * 1024)
    resize(100 * 1024)
    assert collect(Ledger(folder / 'replies'), 'votes', asked, endpoint) == []
    assert len(Ledger(folder / 'replies')) == server.num_paid == server.num_requests == len(asked)
