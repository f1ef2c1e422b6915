"""How far a command is: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  SpinnerColumn,
  TaskID,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10  # in a log


def terminal_bar(name: str, total: int, done: int = 0) -> Progress | None:
  """Returns a bar on stderr that counts up to `total`, started, with one task; None where stderr is not a terminal."""
  if not sys.stderr.isatty():
    return None
  columns = (TextColumn(name), MofNCompleteColumn(), BarColumn(), TextColumn('{task.description}'))
  bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
  bar.add_task('', total=total, completed=done)
  bar.start()
  return bar


class Bar:
  """How far the answers are."""

  def __init__(self, total: int):
    self._total, self._done, self._tokens, self._began = total, 0, 0, time.perf_counter()
    self._line = self._began, 0  # when the rate was said last, and the tokens till then
    self._bar = terminal_bar('answers', total)

  def advance(self, num_tokens: int):
    """Counts an answer; says the rate now and then."""
    self._done += 1
    self._tokens += num_tokens
    if self._bar is not None:
      self._bar.update(self._bar.task_ids[0], completed=self._done)
    now, (then, before) = time.perf_counter(), self._line
    if now - then < SECONDS_BETWEEN_LINES:
      return
    rate, self._line = f'{(self._tokens - before) / (now - then):,.0f} tokens/s', (now, self._tokens)
    if self._bar is not None:
      self._bar.update(self._bar.task_ids[0], description=rate)
    else:
      print(f'{self._done} of {self._total} answers  {rate}', file=sys.stderr, flush=True)

  def close(self):
    """Ends the bar; the last line counts everything, compiling included."""
    if self._bar is not None:
      self._bar.stop()
    seconds = time.perf_counter() - self._began
    rate = f'{self._tokens / seconds:,.0f} tokens/s over {seconds:.1f} s'
    print(f'{self._done} answers, {self._tokens} tokens, {rate}', file=sys.stderr, flush=True)


class Preparing:
  """How many documents of each source are read, rows and tokens written: a line per source, or one now and then."""

  def __init__(self, console: Console):
    self._console, self._start, self._next_line = console, time.monotonic(), time.monotonic() + SECONDS_BETWEEN_LINES
    self._tokens: Counter = Counter()
    self._tasks: dict[str, TaskID] = {}
    self._bar = Progress(
      SpinnerColumn(), TextColumn('{task.description}'), TimeElapsedColumn(), console=console, transient=True
    )

  def __enter__(self):
    if self._console.is_terminal:
      self._bar.start()
    return self

  def __exit__(self, *_):
    if self._console.is_terminal:
      self._bar.stop()

  def update(self, name: str, documents: int, rows: int, tokens: int):
    """Shows progress; `tokens` is how many were added."""
    self._tokens[name] += tokens
    total, seconds = self._tokens.total(), time.monotonic() - self._start
    line = f'{name}: {documents:,} read, {rows:,} rows, {self._tokens[name]:,} tokens'
    if self._console.is_terminal:
      if name not in self._tasks:
        self._tasks[name] = self._bar.add_task('', total=None)
      self._bar.update(self._tasks[name], description=f'{line} ({total / seconds:,.0f} tokens/s)')
    elif time.monotonic() >= self._next_line:
      self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
      self._console.print(f'{line}; {total / seconds:,.0f} tokens/s', highlight=False)
