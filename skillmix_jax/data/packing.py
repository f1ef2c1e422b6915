"""Several short sequences in one row."""

import bisect
from collections.abc import Sequence


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
  """Packs sequences into few rows: longest first, each into the fullest row that still has room.

  Args:
    lengths: tokens of each sequence, each at most `capacity`.
    capacity: tokens of a row.

  Returns:
    Rows of indices into `lengths`; every index once. The same input gives the same rows.
  """
  rows: list[list[int]] = []
  space: list[tuple[int, int]] = []  # (free tokens, row), ascending
  for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
    fit = bisect.bisect_left(space, (lengths[index], 0))
    if fit < len(space):
      free, row = space.pop(fit)
    else:
      free, row = capacity, len(rows)
      rows.append([])
    rows[row].append(index)
    bisect.insort(space, (free - lengths[index], row))
  return rows
