"""The tables that `prepare` ends with and `view` begins with."""

from rich import box
from rich.console import Console
from rich.table import Table


def show(described: dict, console: Console):
  """Prints rows, tokens and shares of every source of a manifest, and what was cut per k."""
  table = Table(box=box.SIMPLE_HEAD)
  for name in ('source', 'rows', 'tokens', 'trained', 'held-out rows', 'documents', 'notes'):
    table.add_column(name, justify='left' if name in ('source', 'notes') else 'right')
  for name, counts in described['sources'].items():
    notes = ', '.join(
      f'{key.replace("_", " ")}: {n:,}' for key, n in counts.items() if key.startswith(('skip', 'kept'))
    )
    shown = ('train_rows', 'tokens', 'trained_tokens', 'held_out_rows', 'documents')
    table.add_row(name, *(f'{counts[key]:,}' for key in shown), notes)
  console.print(table)
  for name, counts in described['sources'].items():
    if 'share_wanted' in counts:
      why = '; it ran out: give more of it, or fewer --rows' if counts['ran_out'] else ''
      console.print(
        f'{name}: {counts["share_reached"]:.1%} of the text rows, --shares wants {counts["share_wanted"]:.1%}{why}',
        soft_wrap=True, highlight=False,
      )  # fmt: skip
  if described['cuts']:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ('k', 'dialogs', 'with a cut answer', 'trained tokens lost', 'left out'):
      table.add_column(name, justify='right')
    for k, counts in described['cuts'].items():
      share = counts['cut'] / max(1, counts['dialogs'])
      numbers = (f'{counts["cut"]:,} ({share:.0%})', f'{counts["lost_tokens"]:,}', f'{counts.get("dropped", 0):,}')
      table.add_row(k, f'{counts["dialogs"]:,}', *numbers)
    console.print(table)
