"""Ctrl-C and SIGTERM while training. Imports nothing heavy: `before_training` runs while libraries are still loading.

SIGTERM in a run is JAX's: with multihost_utils.reached_preemption_sync_point all processes agree on a step. The first
Ctrl-C is turned into SIGTERM, so that they agree then, too; a second one ends this process at once. While there is
nothing new to save, as in compiling before the first step, the first one does.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

from skillmix_jax.errors import INTERRUPTED, PREEMPTED


def before_training():
  """Makes SIGTERM and Ctrl-C end the process at once with their exit codes, until a run takes them over."""

  def end(number, frame):
    name, code = ('SIGTERM', PREEMPTED) if number == signal.SIGTERM else ('Ctrl-C', INTERRUPTED)
    _end(f'{name}: nothing to save yet; run the same command again', code)

  signal.signal(signal.SIGTERM, end)
  if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells set it for commands in the background
    signal.signal(signal.SIGINT, end)


class CtrlC:
  """A context manager that turns Ctrl-C into a save; for the main thread.

  Attributes:
    pressed: whether it was.
    saves: set it when there is something that the first one must save.
  """

  def __init__(self, latest: Callable[[], int | None]):
    """`latest`: the step that a run would go on from now, or None."""
    self.pressed, self.saves = False, False
    self._latest = latest

  def __enter__(self):
    self._before = signal.getsignal(signal.SIGINT)
    if self._before is not signal.SIG_IGN:
      # Python calls a handler only between two of its instructions, and compiling is one: a thread reads the pipe.
      read, self._write = os.pipe()
      os.set_blocking(self._write, False)
      signal.signal(signal.SIGINT, lambda number, frame: None)
      self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
      threading.Thread(target=self._watch, args=(read,), daemon=True).start()
    return self

  def __exit__(self, *error):
    if self._before is not signal.SIG_IGN:
      signal.set_wakeup_fd(self._wakeup)
      signal.signal(signal.SIGINT, self._before)
      os.close(self._write)

  def _watch(self, read: int):
    while number := os.read(read, 1):
      if number[0] != signal.SIGINT:
        continue
      if self.pressed or not self.saves:
        step = self._latest()
        goes_on = 'starts again' if step is None else f'continues after step {step}'
        _end(f'Ctrl-C: ended at once; the same command {goes_on}', INTERRUPTED)
      self.pressed = True
      _say('Ctrl-C: the step is finished and saved; press it again to end at once')
      os.kill(os.getpid(), signal.SIGTERM)
    os.close(read)


def _say(text: str):
  show_cursor = '\x1b[?25h' if sys.stderr.isatty() else ''  # a progress bar hides it
  os.write(2, f'{show_cursor}\n{text}\n'.encode() if show_cursor else f'{text}\n'.encode())


def _end(text: str, code: int):
  _say(text)
  os._exit(code)
