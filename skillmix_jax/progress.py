"""How far a command is that answers prompts."""

import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
  """How far the answers are: a bar on a terminal, plain lines in a log."""

  def __init__(self, total: int):
    self._total, self._done, self._tokens, self._began = total, 0, 0, time.perf_counter()
    columns = (TextColumn('answers'), MofNCompleteColumn(), BarColumn(), TextColumn('{task.description}'))
    self._bar = Progress(*columns, TimeRemainingColumn()) if sys.stderr.isatty() else None
    if self._bar is not None:
      self._task = self._bar.add_task('', total=total)
      self._bar.start()

  def advance(self, num_answers: int, num_tokens: int, seconds: float):
    """Counts a batch."""
    self._done += num_answers
    self._tokens += num_tokens
    rate = f'{num_tokens / seconds:,.0f} tokens/s'
    if self._bar is not None:
      self._bar.update(self._task, completed=self._done, description=rate)
    else:
      print(f'{self._done} of {self._total} answers  {rate}', file=sys.stderr, flush=True)

  def close(self):
    """Ends the bar; the last line counts everything, compiling included."""
    if self._bar is not None:
      self._bar.stop()
    seconds = time.perf_counter() - self._began
    rate = f'{self._tokens / seconds:,.0f} tokens/s over {seconds:.1f} s'
    print(f'{self._done} answers, {self._tokens} tokens, {rate}', file=sys.stderr, flush=True)
