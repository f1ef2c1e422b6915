"""SIGTERM: the state is saved, the exit code says so, and the same command goes on as if nothing had happened."""

import re
import signal

from helpers.survival import end, finish, numbers, reached, start, wait_for

from skillmix_jax.errors import PREEMPTED


def test_sigterm_saves_and_the_run_resumes_exactly(tmp_path, small_data, monkeypatch):
  monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL', raising=False)  # jax, imported by this process, has set it
  expected = finish(tmp_path / 'whole', small_data)
  folder = tmp_path / 'run'
  process = start(folder, small_data, '--config.checkpoint.every=1000')
  wait_for(process, reached(folder, 7))
  code, said = end(process, signal.SIGTERM)
  assert code == PREEMPTED, said
  assert said.splitlines()[-1].endswith('is being saved; run the same command again')
  assert not re.findall(r'^[IWEF]\d{4} .*', said, re.MULTILINE), 'the libraries say nothing around it'
  assert 7 <= max(step for step, _ in numbers(folder)) < 300
  assert finish(folder, small_data) == expected
