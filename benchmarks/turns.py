"""Two functions timed in turns, so that a load on the machine slows down both."""

import statistics
import time
from collections.abc import Callable


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 7) -> tuple[float, float, float]:
  """(seconds of ours, of theirs, ratio): medians, the last that of the pairs; above 1 ours is faster."""
  both = ours, theirs
  for run in both:
    run(), run()  # compile, warm up
  pairs = []
  for _ in range(rounds):
    seconds = []
    for run in both:
      start = time.perf_counter()
      run()
      seconds.append(time.perf_counter() - start)
    pairs.append(seconds)
  medians = [statistics.median(times) for times in zip(*pairs)]
  return *medians, statistics.median(theirs / ours for ours, theirs in pairs)
