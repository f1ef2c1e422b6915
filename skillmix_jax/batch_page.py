"""The page of `view --html`: the batch as a map, rows token by token, the checks, the counts. One file, no script.

What a text says is escaped, its hidden characters are spelled out, and the page may load nothing.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from skillmix_jax import data_summary
from skillmix_jax.data.checks import Check
from skillmix_jax.data.records import Data
from skillmix_jax.shown_row import Piece, Row, Run, visible

TEMPLATE = 'batch_page.html'


def render(
  data: Data, rows: Sequence[Row], results: Sequence[Check], shown: Mapping[str, Row], *, seed: int, packing: bool
) -> str:
  """The page: `rows` of the batch, `shown`: name -> a row to be shown whole."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
  )  # fmt: skip
  environment.filters |= {'visible': visible, 'count': lambda n: f'{n:,}', 'percent': lambda x: f'{x:.0%}'}
  values = {
    'path': str(data.path), 'manifest': data.manifest, 'seed': seed, 'packing': packing, 'rows': rows, 'shown': shown,
    'results': results, 'bar': bar, 'tokens': tokens, 'facts': facts,
    'counts': [data_summary.of_sources(data.manifest), data_summary.of_cuts(data.manifest)],
    'remarks': data_summary.remarks(data.manifest), 'of_batch': of_batch(rows, len(rows[0].tokens)),
  }  # fmt: skip
  return environment.get_template(TEMPLATE).render(values)


def of_batch(rows: Sequence[Row], length: int) -> list[tuple[str, str]]:
  """(number, what it counts) of the whole batch."""
  dialogs, text = [row for row in rows if not row.is_text], [row for row in rows if row.is_text]
  num_text = sum(row.num_segments for row in text)
  padding = sum(row.padding for row in rows) / max(1, len(rows) * length)
  loss = lambda of: f'{sum(int(row.trained.sum()) for row in of):,}'
  return [
    (f'{sum(row.num_segments for row in dialogs):,}', f'dialogs in {len(dialogs):,} rows'),
    (f'{num_text:,}', 'text rows' if num_text == len(text) else f'pieces of text in {len(text):,} rows'),
    (f'{length:,}', 'tokens a row'),
    (loss(dialogs), 'tokens of dialogs carry loss'),
    (loss(text), 'tokens of text carry loss'),
    (f'{padding:.0%}', 'of the batch is padding'),
  ]


def facts(row: Row, segment: int | None = None) -> str:
  """What a row, or one segment of it, holds."""
  runs = [run for run in row.runs if segment in (None, run.segment)]
  used, loss = (sum(run.stop - run.start for run in runs if run.trained or every) for every in (True, False))
  counted = f'{used:,} tokens, {loss:,} carry loss'
  if segment is not None:
    first, last = runs[0].start, runs[-1].stop - 1
    return (
      f'{counted}; at {first:,} to {last:,} of the row, positions {row.positions[first]:,} to {row.positions[last]:,}'
    )
  return f'{counted}, {row.padding:,} padding'


def bar(row: Row) -> Markup:
  """The row as a strip: an SVG element, a unit for each token."""
  look = lambda run: (run.segment, run.trained)
  shapes, borders = [], []
  for (segment, trained), group in itertools.groupby(row.runs, look):
    runs = list(group)
    start, stop = runs[0].start, runs[-1].stop
    shapes.append(f'<rect class="{"l" if trained else "c"}" x="{start}" width="{stop - start}" height="8"/>')
    if start and segment != 1 and not any(run.segment == segment and run.stop <= start for run in row.runs):
      borders.append(f'<path d="M{start} 0v8"/>')
  box = f'0 0 {len(row.tokens)} 8'
  return Markup(f'<svg viewBox="{box}" preserveAspectRatio="none" aria-hidden="true">{"".join(shapes + borders)}</svg>')


def tokens(row: Row, runs: Sequence[Run]) -> Markup:
  """The text of runs, an element for each token."""
  return Markup('').join(_token(row, run, piece) for run, piece in _pieces(row, runs))


def _pieces(row: Row, runs: Sequence[Run]) -> Iterator[tuple[Run, Piece]]:
  for run in runs:
    for piece in row.pieces(run):
      yield run, piece


def _token(row: Row, run: Run, piece: Piece) -> Markup:
  ids = ' '.join(str(token) for token in row.tokens[piece.start : piece.stop])
  where = f'{piece.start}' if piece.stop == piece.start + 1 else f'{piece.start}-{piece.stop - 1}'
  title = f'{where} · id {ids} · weight {int(run.trained)}'
  look = Markup(' class="x t"' if run.trained else ' class="x"') if run.control else ''
  return Markup('<i{} title="{}">{}</i>').format(look, title, piece.text)
