"""Whoever waits is told what for."""

import re
import sys
import time

from evals.replies import progress
from evals.replies.progress import Wave
from skillmix_jax.progress import Bar

USAGE = {'prompt_tokens': 3, 'completion_tokens': 4}


def test_a_log_has_a_line_at_the_start_and_one_at_the_end(capsys):
  with Wave('answer 1', 8, (1.0, 2.0)) as wave:
    assert capsys.readouterr().err == 'answer 1: 8 requests\n'
    for _ in range(8):
      wave.advance(USAGE)
  assert re.fullmatch(r'answer 1: 8 of 8 replies  24 \+ 32 tokens, \$8\.8e-05  in .* s\n', capsys.readouterr().err)


def test_the_rate_of_a_burst_is_not_said_for_itself(capsys, monkeypatch):
  now = iter([0.0, 12.0, 12.000_001, 12.000_002, 14.0])
  monkeypatch.setattr(time, 'perf_counter', lambda: next(now))
  bar = Bar(3)  # which end together after 12 s
  for _ in range(3):
    bar.advance(10)
  bar.close()
  lines = capsys.readouterr().err.splitlines()
  assert lines == ['1 of 3 answers  1 tokens/s', '3 answers, 30 tokens, 2 tokens/s over 14.0 s']


def test_silence_is_said_again_and_again(capsys, monkeypatch):
  monkeypatch.setattr(progress, 'SILENCE', 0.05)
  said = ''

  def wait_for(line, times):
    nonlocal said
    deadline = time.monotonic() + 30
    while said.count(line) < times:
      assert time.monotonic() < deadline, said
      said += capsys.readouterr().err
      time.sleep(0.01)

  with Wave('votes', 8, None) as wave:
    wait_for('votes: no reply yet, 0 s\n', times=2)
    wave.advance(USAGE)
    wait_for('votes: 1 of 8, no further reply yet, 0 s\n', times=2)


def test_a_bar_does_not_mix_with_what_a_command_prints(capsys, monkeypatch):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  bar = Bar(8)
  for _ in range(8):
    bar.advance(10)
  bar.close()
  with Wave('votes', 1, None) as wave:
    wave.advance(USAGE)
  shown = capsys.readouterr()
  assert not shown.out and 'answers' in shown.err and '8/8' in shown.err and '1/1' in shown.err
