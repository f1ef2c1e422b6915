"""The tables that `prepare` ends with and `view` shows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table


class Counts(NamedTuple):
  """A table; `left` names the columns of words, the others are numbers."""

  columns: Sequence[str]
  rows: Sequence[Sequence[str]]
  left: Sequence[str] = ()


def of_sources(described: Mapping[str, Any]) -> Counts:
  """Rows and tokens of every source of a manifest."""
  shown = ('train_rows', 'tokens', 'trained_tokens', 'held_out_rows', 'documents')
  rows = []
  for name, counts in described['sources'].items():
    notes = [f'{key.replace("_", " ")}: {n:,}' for key, n in counts.items() if key.startswith(('skip', 'kept'))]
    rows.append((name, *(f'{counts[key]:,}' for key in shown), ', '.join(notes)))
  columns = ('source', 'rows', 'tokens', 'trained', 'held-out rows', 'documents', 'notes')
  return Counts(columns, rows, left=('source', 'notes'))


def of_cuts(described: Mapping[str, Any]) -> Counts | None:
  """Makes the table of what was cut per k; None where there are no dialogs."""
  rows = []
  for k, counts in described['cuts'].items():
    share = counts['cut'] / max(1, counts['dialogs'])
    numbers = (f'{counts["cut"]:,} ({share:.0%})', f'{counts["lost_tokens"]:,}', f'{counts.get("dropped", 0):,}')
    longest = f'{counts["longest"]:,}' if 'longest' in counts else '?'  # not in manifests of earlier versions
    rows.append((k, f'{counts["dialogs"]:,}', *numbers, longest))
  columns = ('k', 'dialogs', 'with a cut answer', 'trained tokens lost', 'left out', 'longest')
  return Counts(columns, rows) if rows else None


def remarks(described: Mapping[str, Any]) -> list[str]:
  """Returns one line for each source that has a share, and one for the length that would cut nothing."""
  lines = []
  for name, counts in described['sources'].items():
    if 'share_wanted' in counts:
      why = '; it ran out: give more of it, or fewer --rows' if counts['ran_out'] else ''
      reached, wanted = (f'{counts[key]:.1%}' for key in ('share_reached', 'share_wanted'))
      lines.append(f'{name}: {reached} of the text rows, --shares wants {wanted}{why}')
  if described.get('row_length', described['length']) > described['length']:
    lines.append(
      f'rows of {described["row_length"]:,} tokens, for several dialogs of at most {described["length"]:,} each: train '
      'with --config.data.packing=True'
    )
  longest = max((counts.get('longest', 0) for counts in described['cuts'].values()), default=0)
  if longest > described['length']:
    lines.append(f'--length={described["length"]} cuts dialogs; --length={longest} would cut none')
  return lines


def show(described: Mapping[str, Any], console: Console):
  """Prints rows, tokens and shares of every source of a manifest, and what was cut per k."""
  for counts in (of_sources(described), of_cuts(described)):
    if counts is not None:
      table = Table(box=box.SIMPLE_HEAD)
      for name in counts.columns:
        table.add_column(name, justify='left' if name in counts.left else 'right')
      for row in counts.rows:
        table.add_row(*row)
      console.print(table)
  for line in remarks(described):
    console.print(line, soft_wrap=True, highlight=False)
