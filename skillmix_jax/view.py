"""Shows what the model will see: the first training batch, token by token, with what carries loss in colour.

  python -m skillmix_jax.view --data=data/k12 --rows=3
  python -m skillmix_jax.view --data=data/k12 --html=rows.html

Everything is read from the arrays of the batch (64 dialogs and 16 text rows, as in the paper's recipe, or fewer
where there are not so many), not from the files they came from. A table of rows, the rows themselves, the checks,
and what `prepare` cut and left out. Exit code 1 if a check fails.
"""

import itertools
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
from absl import flags
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skillmix_jax import command, data_summary, hidden_characters
from skillmix_jax.data import checks, records, tokenizer
from skillmix_jax.data.mixture import Batch, Mixture
from skillmix_jax.errors import InputError
from skillmix_jax.files import write_text

FLAGS = flags.FLAGS
DIALOGS, TEXT_ROWS = 64, 16
BAR_WIDTH = 24
HEAD, TAIL = 60, 40  # tokens of a long run that are shown

LOSS, CONTEXT, PADDING, NOTE = 'bold green', 'bright_black', 'dim', 'dim italic'
CONTROL, TRAINED_CONTROL = 'red reverse', 'bold green reverse'


def visible(text: str) -> str:
  """Text that cannot act on a terminal or hide, with its line breaks and tabs marked."""
  return hidden_characters.visible(text).replace('\n', '⏎\n').replace('\t', '⇥   ')


class Row:
  """One row of a batch, ready to be shown."""

  def __init__(self, batch: Batch, row: int, encoder: tokenizer.Tokenizer):
    self._encoder = encoder
    segments_T = batch['segments'][row]
    self.tokens = batch['tokens'][row]
    self.trained = checks.trained_tokens(batch)[row]
    self.used = segments_T > 0
    self.num_segments = int(segments_T.max())
    # A run is a stretch of tokens that look alike: same segment, trained or not, control token or not.
    control_T = np.isin(self.tokens, (encoder.bos_id, encoder.eos_id))
    look_T = segments_T * 4 + self.trained * 2 + control_T
    starts = [0, *(np.flatnonzero(np.diff(look_T)) + 1).tolist(), len(look_T)]
    self._runs = [(i, j, bool(control_T[i])) for i, j in itertools.pairwise(starts) if self.used[i]]

  def bar(self) -> Text:
    """The row in BAR_WIDTH characters."""
    bar = Text()
    for part in np.array_split(np.arange(len(self.tokens)), min(BAR_WIDTH, len(self.tokens))):
      if self.trained[part].mean() > 0.5:
        bar.append('█', LOSS)
      else:
        bar.append(*('▒', CONTEXT) if self.used[part].mean() > 0.5 else ('·', PADDING))
    return bar

  def text(self) -> Text:
    """The row token by token."""
    text = Text()
    for start, stop, control in self._runs:
      if control:
        style = TRAINED_CONTROL if self.trained[start] else CONTROL
        for token in self.tokens[start:stop]:
          text.append(visible(self._encoder.piece(token)), style)
        continue
      style = LOSS if self.trained[start] else CONTEXT
      for shown in self._elided(start, stop):
        text.append(*(shown, style) if isinstance(shown, str) else (f' … {len(shown)} tokens … ', NOTE))
    padding = int((~self.used).sum())
    if padding:
      text.append(f' padding × {padding}', PADDING)
    return text

  def _elided(self, start: int, stop: int) -> Iterator[str | range]:
    """Decoded text; a range stands for tokens left out."""
    if stop - start <= HEAD + TAIL + 20:
      yield self._decode(start, stop)
    else:
      yield self._decode(start, start + HEAD)
      yield range(start + HEAD, stop - TAIL)
      yield self._decode(stop - TAIL, stop)

  def _decode(self, start: int, stop: int) -> str:
    # Decoded together, as a character may take several tokens. The blank of the first piece is lost in that.
    blank = ' ' if self._encoder.piece(self.tokens[start]).startswith('▁') else ''
    return visible(blank + self._encoder.decode(self.tokens[start:stop].tolist()))


def show_rows(console: Console, rows: dict[int, tuple[str, Row]]):
  """A table of the rows and a panel for each; `rows`: number -> (what it is, the row)."""
  table = Table(box=box.SIMPLE_HEAD)
  for name in ('row', 'source', 'segments', 'tokens', 'loss', 'pad'):
    table.add_column(name, justify='left' if name == 'source' else 'right')
  table.add_column('█ loss ▒ context · padding', no_wrap=True)
  for number, (title, row) in rows.items():
    loss, used = int(row.trained.sum()), int(row.used.sum())
    cells = (str(number), Text(title.split()[0]), str(row.num_segments), str(used), str(loss))
    table.add_row(*cells, f'{1 - row.used.mean():.0%}', row.bar())
  console.print(table)
  for number, (title, row) in rows.items():
    console.print(Panel(row.text(), title=Text(f'row {number}: {title}'), title_align='left'))
  legend = Text('carries loss', LOSS).append('  ').append('context', CONTEXT).append('  ')
  legend.append('control token', CONTROL).append('  ').append('control token that carries loss', TRAINED_CONTROL)
  console.print(legend)


def show_checks(console: Console, results: list[checks.Check]):
  """One line for each check."""
  for check in results:
    line = Text('FAILED' if check.bad_rows else 'ok', 'bold red' if check.bad_rows else 'green').append(
      f'  {check.name}'
    )
    if check.bad_rows:
      line.append(' (rows ' + ', '.join(map(str, check.bad_rows[:5])) + (', …)' if len(check.bad_rows) > 5 else ')'))
    console.print(line)


def titled_rows(data: records.Data, mixture: Mixture, batch: Batch, num: int) -> dict[int, tuple[str, Row]]:
  """The first `num` dialog rows and text rows of step 0."""
  encoder = tokenizer.load(data.path / 'tokenizer')
  rows = {}
  of_dialogs, (_, text_indices) = mixture.rows_of_dialogs(0), mixture.indices(0)
  dialogs, text = data.dialogs('train'), data.text('train')
  for number, indices in enumerate(of_dialogs[:num]):
    rows[number] = f'dialogs {", ".join(visible(dialogs[i].id) for i in indices)}', Row(batch, number, encoder)
  for number, index in enumerate(text_indices[:num], len(of_dialogs)):
    rows[number] = text.source(index), Row(batch, number, encoder)
  return rows


def view(path: str, num_rows: int, seed: int, console: Console) -> bool:
  """Prints everything; returns whether all checks hold."""
  data = records.open_data(path)
  dialogs, text_rows = min(DIALOGS, len(data.dialogs('train'))), min(TEXT_ROWS, len(data.text('train')))
  mixture = Mixture(data, seed=seed, dialogs=dialogs, text_rows=text_rows)
  batch = mixture[0]
  show_rows(console, titled_rows(data, mixture, batch, num_rows))
  results = checks.run_checks(batch, data, mixture.indices(0)[0], text_rows)
  show_checks(console, results)
  data_summary.show(data.manifest, console)
  return not any(check.bad_rows for check in results)


def main() -> int:
  if not FLAGS.data:
    raise InputError('--data is missing: the folder that skillmix_jax.prepare wrote')
  console = Console(record=bool(FLAGS.html))
  good = view(FLAGS.data, FLAGS.rows, FLAGS.seed, console)
  if FLAGS.html:
    try:
      write_text(pathlib.Path(FLAGS.html), console.export_html(inline_styles=True))
    except OSError as error:
      raise InputError(f'cannot write --html={FLAGS.html}: {error.strerror}') from error
  if not good:
    print('a check FAILED: do not train on this data', file=sys.stderr)
  return 0 if good else 1


if __name__ == '__main__':
  flags.DEFINE_string('data', None, 'folder that prepare wrote')
  flags.DEFINE_integer('rows', 3, 'how many dialog rows and how many text rows to show', lower_bound=0)
  flags.DEFINE_integer('seed', 0, 'of the order of the rows')
  flags.DEFINE_string('html', None, 'also write a page')
  command.run(main)
