"""Shows what the model will see: the first training batch, token by token, with what carries loss in colour.

  python -m skillmix_jax.view --data=data/k12 --rows=3
  python -m skillmix_jax.view --data=data/k12 --html=rows.html            # a page, with whole rows
  python -m skillmix_jax.view --data=data/k12 --id=d-17 --html=d-17.html  # one dialog, by its id
  python -m skillmix_jax.view --data=data/k12 --packing                   # as data.packing=True lays it out

Everything is read from the arrays of the batch (64 dialogs and 16 text rows, as in the paper's recipe, or fewer
where there are not so many), not from the files they came from. A table of rows, the rows themselves, the checks,
and what `prepare` cut and left out. Exit code 1 if a check fails.
"""

import dataclasses
import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence

from absl import flags

from skillmix_jax import command

if __name__ == '__main__':  # the libraries below take seconds to load: --help and a wrong flag do not wait for them
  flags.DEFINE_string('data', None, 'folder that prepare wrote')
  flags.DEFINE_integer('rows', 3, 'how many dialog rows and how many text rows to show', lower_bound=0)
  flags.DEFINE_string('id', None, 'show the dialog of this id in place of the first rows')
  flags.DEFINE_integer('seed', 0, 'seed of the order of the rows')
  flags.DEFINE_boolean('packing', False, 'the batch that training with data.packing=True sees: dialogs share rows')
  flags.DEFINE_string('html', None, 'page to write, with the whole batch as a map and whole rows')
  command.read_flags()

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skillmix_jax import batch_page, data_summary
from skillmix_jax.data import checks, records, tokenizer
from skillmix_jax.data.mixture import Batch, Mixture, single
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file, write_output
from skillmix_jax.shown_row import CONTEXT, CONTROL, LOSS, TRAINED_CONTROL, Row, visible

FLAGS = flags.FLAGS
DIALOGS, TEXT_ROWS = 64, 16


@dataclasses.dataclass(frozen=True)
class Seen:
  """A batch, checked, and the rows of it that are to be shown."""

  data: records.Data
  packing: bool
  rows: Sequence[Row]  # of the batch
  results: Sequence[checks.Check]
  shown: Mapping[str, Row]  # by name

  @property
  def good(self) -> bool:
    return not any(check.bad_rows for check in self.results)


def rows_of(data: records.Data, mixture: Mixture, batch: Batch) -> list[Row]:
  """All rows of step 0."""
  encoder = tokenizer.load(data.path / 'tokenizer')
  end = TEMPLATES[data.manifest['template']['name']].document_end_id(encoder)
  of_dialogs, of_text = mixture.rows_of_dialogs(0), mixture.rows_of_text(0)
  dialogs, text = data.dialogs('train'), data.text('train')
  rows = [
    Row(batch, number, encoder, ids=[dialog.id for dialog in dialogs.read(indices)])
    for number, indices in enumerate(of_dialogs)
  ]
  for number, indices in enumerate(of_text, len(of_dialogs)):
    names = [text.source(index) for index in indices]
    rows.append(Row(batch, number, encoder, ', '.join(dict.fromkeys(names)), names, document_end=end))
  return rows


def chosen(rows: Sequence[Row], num: int) -> dict[str, Row]:
  """The first `num` rows of dialogs and of text."""
  kinds = ([number for number, row in enumerate(rows) if row.is_text == is_text] for is_text in (False, True))
  return {f'row {number}': rows[number] for numbers in kinds for number in numbers[:num]}


def with_id(data: records.Data, name: str) -> dict[str, Row]:
  """The dialogs of this id, each in a row of its own.

  Raises:
    InputError: no dialog has this id.
  """
  encoder = tokenizer.load(data.path / 'tokenizer')
  ids: set[str] = set()
  rows: dict[str, Row] = {}
  for split, dialog in _dialogs(data):
    ids.add(dialog.id)
    if dialog.id == name:
      number = f' {len(rows) + 1}' if rows else ''
      rows[split + number] = Row(single(data, dialog), 0, encoder, ids=[name])
  if not rows:
    near = difflib.get_close_matches(name, ids, n=3, cutoff=0.3) or sorted(ids)[:3]
    nearest = 'ids there are like ' + ', '.join(map(visible, near)) if near else 'it has no dialogs'
    raise InputError(f'--id={name}: {data.path} has no such dialog; {nearest}')
  return rows


def _dialogs(data: records.Data) -> Iterator[tuple[str, records.Dialog]]:
  """(split, dialog) of all."""
  for split in records.SPLITS:
    dialogs = data.dialogs(split)
    for start in range(0, len(dialogs), 1024):
      for dialog in dialogs.read(range(start, min(start + 1024, len(dialogs)))):
        yield split, dialog


def look(path: str, num_rows: int, seed: int, name: str | None = None, packing: bool = False) -> Seen:
  """Makes the first batch and checks it; `name`: id of the dialog to show in place of the first `num_rows` rows.

  Data that is prepared with longer rows is trained on with packing alone, and so it is shown.
  """
  data = records.open_data(path)
  packing |= data.row_length > data.length
  dialogs, text_rows = min(DIALOGS, len(data.dialogs('train'))), min(TEXT_ROWS, len(data.text('train')))
  mixture = Mixture(data, seed=seed, dialogs=dialogs, text_rows=text_rows, packing=packing, steps=1)
  batch = mixture[0]
  rows = rows_of(data, mixture, batch)
  results = checks.run_checks(batch, data, mixture.indices(0)[0], text_rows)
  return Seen(data, packing, rows, results, chosen(rows, num_rows) if name is None else with_id(data, name))


def show_rows(console: Console, rows: Mapping[str, Row], whole: bool):
  """A table of the rows and a panel for each; `whole`: nothing of a long one is left out."""
  table = Table(box=box.SIMPLE_HEAD)
  for name in ('row', 'source', 'segments', 'tokens', 'loss', 'pad'):
    table.add_column(name, justify='left' if name == 'source' else 'right')
  table.add_column('█ loss ▒ context · padding', no_wrap=True)
  for name, row in rows.items():
    loss, used = int(row.trained.sum()), int(row.used.sum())
    cells = (name.removeprefix('row '), row.source, str(row.num_segments), str(used), str(loss))
    table.add_row(*cells, f'{1 - row.used.mean():.0%}', row.bar())
  console.print(table)
  for name, row in rows.items():
    console.print(Panel(row.text(whole), title=Text(f'{name}: {row.title()}'), title_align='left'))
  legend = Text('carries loss', LOSS).append('  ').append('context', CONTEXT).append('  ')
  legend.append('control token', CONTROL).append('  ').append('control token that carries loss', TRAINED_CONTROL)
  console.print(legend)


def show_checks(console: Console, results: Sequence[checks.Check]):
  """One line for each check."""
  for check in results:
    line = Text('FAILED' if check.bad_rows else 'ok', 'bold red' if check.bad_rows else 'green')
    console.print(line.append(f'  {check}'))


def show(seen: Seen, console: Console, whole: bool = False):
  """Prints everything."""
  show_rows(console, seen.shown, whole)
  show_checks(console, seen.results)
  data_summary.show(seen.data.manifest, console)


def main() -> int:
  if not FLAGS.data:
    raise InputError('--data is missing: the folder that skillmix_jax.prepare wrote')
  html = output_file('html', FLAGS.html, 'rows.html') if FLAGS.html else None
  seen = look(FLAGS.data, FLAGS.rows, FLAGS.seed, FLAGS.id, FLAGS.packing)
  show(seen, Console(), whole=FLAGS.id is not None)
  if html is not None:
    page = batch_page.render(seen.data, seen.rows, seen.results, seen.shown, seed=FLAGS.seed, packing=seen.packing)
    write_output('html', html, page)
    print(f'{html}: {len(page.encode()) / 1e6:.1f} MB')
  if not seen.good:
    print('a check FAILED: do not train on this data', file=sys.stderr)
  return 0 if seen.good else 1


if __name__ == '__main__':
  command.run(main)
