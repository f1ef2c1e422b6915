"""What a run reports: metrics.jsonl, TensorBoard, and a bar on a terminal or plain lines in a log."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skillmix_jax import files
from skillmix_jax.progress import terminal_bar

METRICS = 'metrics.jsonl'


class Throughput:
  """Rates between two readings; what happens while paused (compiling, measuring, saving) is not counted."""

  def __init__(self, num_positions: int, flops_per_position: float, num_devices: int, peak: float | None):
    """`num_positions`: of a step, padding included; `flops_per_position`: model FLOPs to train on one of them;
    `peak`: FLOP/s of one device, or None."""
    self._num_positions, self._flops = num_positions, flops_per_position
    self._num_devices, self._peak = num_devices, peak
    self._since: float | None = None
    self._seconds = self._positions = self._trained = 0.0

  def pause(self):
    """Stops the clock until the next `count`."""
    if self._since is not None:
      self._seconds += time.perf_counter() - self._since
      self._since = None

  def count(self, trained: float):
    """Counts one finished step with so many trained tokens; the step that starts the clock is not counted."""
    if self._since is not None:
      self._positions += self._num_positions
      self._trained += trained
    else:
      self._since = time.perf_counter()

  def read(self) -> dict[str, float | None]:
    """Rates since the last reading, None where nothing was measured.

    tokens_per_second counts all positions, padding included; trained_tokens_per_second those that carry loss; mfu is
    positions * FLOPs per position / (seconds * devices * peak), with Config.train_flops_per_token.
    """
    running = self._since is not None
    self.pause()
    rates: dict[str, float | None] = dict.fromkeys(('tokens_per_second', 'trained_tokens_per_second', 'mfu'))
    if self._positions and self._seconds > 0:
      per_second = self._positions / self._seconds
      rates['tokens_per_second'] = per_second
      rates['trained_tokens_per_second'] = self._trained / self._seconds
      if self._peak is not None:
        rates['mfu'] = per_second * self._flops / (self._num_devices * self._peak)
    self._seconds = self._positions = self._trained = 0.0
    if running:
      self._since = time.perf_counter()
    return rates


class Writer:
  """Writes the rows of one run. Rows after the step that a run resumes from are dropped: they come again."""

  def __init__(self, workdir: Path, resumed_step: int, last_step: int):
    """`resumed_step`: 0 for a fresh run; `last_step`: where the bar ends."""
    path = workdir / METRICS
    kept = [row for row in read_rows(path, say=True) if row['step'] <= resumed_step] if resumed_step else []
    files.write_text(path, ''.join(json.dumps(row) + '\n' for row in kept))
    self._file = path.open('a')
    self._board = _open_board(workdir, purge_step=resumed_step + 1 if resumed_step else 0)
    self._bar = terminal_bar('step', last_step, resumed_step)

  def write(self, row: dict):
    """Appends one row {'step': ..., name: number or None} and shows it; flushed at once."""
    self._file.write(json.dumps(row) + '\n')
    self._file.flush()
    for name, value in row.items():
      if name != 'step' and value is not None:
        self._board.add_scalar(name, value, row['step'])
    self._board.flush()
    line = '  '.join(f'{name} {value:.6g}' for name, value in row.items() if value is not None and name != 'step')
    if self._bar is None:
      print(f'step {row["step"]}  {line}', file=sys.stderr, flush=True)
    else:
      self._bar.console.print(f'step {row["step"]}  {line}', highlight=False, markup=False)

  def advance(self, step: int, loss: float):
    """Moves the bar; without a terminal only the rows are shown."""
    if self._bar is not None:
      self._bar.update(self._bar.task_ids[0], completed=step, description=f'loss {loss:.4f}')

  def close(self):
    """Ends the bar and closes the files."""
    if self._bar is not None:
      self._bar.stop()
    self._file.close()
    self._board.close()


def _open_board(workdir: Path, purge_step: int):
  """TensorBoard's writer. It would import torch where that is installed, to know its tensors, which takes 1.5 s."""
  hidden = 'torch' not in sys.modules
  if hidden:
    sys.modules['torch'] = None  # type: ignore[assignment]  # an import of it fails, which tensorboardX expects
  try:
    from tensorboardX import SummaryWriter
  finally:
    if hidden:
      del sys.modules['torch']
  return SummaryWriter(str(workdir), purge_step=purge_step)


class Report:
  """Reads the numbers of a step when it is finished, and writes its row."""

  def __init__(self, writer: Writer | None, clock: Throughput, rates: np.ndarray, every: int):
    """`writer`: None on all processes but one; `rates`: learning rates of all updates, on the host, since what a device
    computes now waits for the step that was queued last; `every`: steps between rows."""
    self._writer, self._clock, self._rates, self._every = writer, clock, rates, every

  def write(self, row: dict):
    if self._writer is not None:
      self._writer.write(row)

  def finish(self, step: int, metrics: dict, measure: Callable[[], dict] | None = None):
    """Waits for a step; `measure` adds held-out losses to its row.

    Raises:
      FloatingPointError: its loss or gradient is not finite.
    """
    values = {name: float(x) for name, x in metrics.items()}
    self._clock.count(values.pop('trained_tokens'))
    if not (math.isfinite(values['loss']) and math.isfinite(values['grad_norm'])):
      raise FloatingPointError(f'step {step}: loss {values["loss"]}, gradient norm {values["grad_norm"]}')
    if self._writer is not None:
      self._writer.advance(step, values['loss'])
    if measure is None and step > 1 and step % self._every:
      return
    shown = {name: x if math.isfinite(x) else None for name, x in sorted(values.items())}
    row = {'step': step, **shown, 'learning_rate': float(self._rates[step - 1]), **self._clock.read()}
    if measure is not None:
      self._clock.pause()
      row |= measure()
    self.write(row)


def read_rows(path: Path, say: bool = False) -> list[dict]:
  """Returns the rows of a metrics.jsonl; other lines are left out: a last line that a kill cut short, a damaged one.

  `say`: name damaged lines on stderr.
  """
  rows = []
  lines = path.read_bytes().split(b'\n') if path.exists() else []
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      if type(row['step']) is not int:
        raise TypeError
      rows.append(row)
    except (ValueError, TypeError, KeyError):
      if say and line.strip() and number < len(lines):
        print(f'{path}:{number}: not a row, left out; the rows after it are kept', file=sys.stderr, flush=True)
  return rows
