"""One row of a batch, ready to be shown: its stretches of tokens, what they are, and their text."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.text import Text

from skillmix_jax import hidden_characters
from skillmix_jax.data import checks
from skillmix_jax.data.mixture import Batch
from skillmix_jax.data.tokenizer import NO_TOKEN, Tokenizer

BAR_WIDTH = 24
HEAD, TAIL = 60, 40  # tokens of a long run that a terminal shows
LONGEST_CHARACTER = 4  # tokens: one for each byte

LOSS, CONTEXT, PADDING, NOTE = 'bold green', 'bright_black', 'dim', 'dim italic'
CONTROL, TRAINED_CONTROL = 'red reverse', 'bold green reverse'


class Run(NamedTuple):
  """Tokens start .. stop - 1, which look alike: same segment, trained or not, control token or not."""

  start: int
  stop: int
  segment: int
  trained: bool
  control: bool


class Part(NamedTuple):
  """What a reader tells apart in a segment: a prompt, an answer, a document."""

  name: str
  trained: bool
  note: str
  runs: Sequence[Run]

  @property
  def size(self) -> int:
    return sum(run.stop - run.start for run in self.runs)


class Piece(NamedTuple):
  """A token with its text, or the tokens that make one character together."""

  start: int
  stop: int
  text: str


def visible(text: str) -> str:
  """Text that cannot act on a terminal or hide, with its line breaks and tabs marked."""
  return hidden_characters.visible(text).replace('\n', '⏎\n').replace('\t', '⇥   ')


class Row:
  """One row of a batch.

  Attributes:
    source: where it comes from: 'dialogs', 'code', 'wet', 'text', or several of the last three.
    ids: what its segments are called: dialogs by their id, text by its source.
    tokens, positions: int32 [T].
    trained: bool [T], the token carries loss.
    used: bool [T], false on padding.
  """

  def __init__(
    self,
    batch: Batch,
    row: int,
    encoder: Tokenizer,
    source: str = 'dialogs',
    ids: Sequence[str] = (),
    document_end: int | None = None,
  ):
    """`document_end`: the token that ends a document, if it is not the tokenizer's EOS."""
    self.source, self.ids, self._encoder = source, tuple(ids), encoder
    self._document_end = encoder.eos_id if document_end is None else document_end
    segments_T = batch['segments'][row]
    self.is_text = bool(batch['is_text'][row])
    self.tokens, self.positions = batch['tokens'][row], batch['positions'][row]
    self.trained = checks.trained_tokens(batch)[row]
    self.used = segments_T > 0
    self.num_segments = int(segments_T.max())
    control_T = np.isin(self.tokens, (encoder.bos_id, encoder.eos_id, *encoder.control_tokens.values()))
    look_T = segments_T * 4 + self.trained * 2 + control_T
    starts = [0, *(np.flatnonzero(np.diff(look_T)) + 1).tolist(), len(look_T)]
    self.runs = [
      Run(i, j, int(segments_T[i]), bool(self.trained[i]), bool(control_T[i]))
      for i, j in itertools.pairwise(starts)
      if self.used[i]
    ]

  @property
  def padding(self) -> int:
    return int((~self.used).sum())

  def title(self) -> str:
    """What it is, in one line."""
    return self.source if self.is_text else ' '.join([self.source, ', '.join(map(visible, self.ids))])

  def bar(self) -> Text:
    """The row in BAR_WIDTH characters."""
    bar = Text()
    for part in np.array_split(np.arange(len(self.tokens)), min(BAR_WIDTH, len(self.tokens))):
      if self.trained[part].mean() > 0.5:
        bar.append('█', LOSS)
      else:
        bar.append(*('▒', CONTEXT) if self.used[part].mean() > 0.5 else ('·', PADDING))
    return bar

  def text(self, whole: bool = False) -> Text:
    """The row token by token; `whole`: long runs too."""
    text = Text()
    for run in self.runs:
      if run.control:
        style = TRAINED_CONTROL if run.trained else CONTROL
        for piece in self.pieces(run):
          text.append(piece.text, style)
        continue
      style = LOSS if run.trained else CONTEXT
      for shown in [self._decode(run.start, run.stop)] if whole else self._elided(run.start, run.stop):
        text.append(*(shown, style) if isinstance(shown, str) else (f' … {len(shown)} tokens … ', NOTE))
    if self.padding:
      text.append(f' padding × {self.padding}', PADDING)
    return text

  def parts(self, segment: int) -> list[Part]:
    """What one segment is made of."""
    runs = [run for run in self.runs if run.segment == segment]
    return self._documents(runs) if self.is_text else self._rounds(runs)

  def pieces(self, run: Run) -> list[Piece]:
    """The run token by token; in one piece where its tokens do not add up to its text."""
    if run.control:
      return [Piece(i, i + 1, visible(self._encoder.piece(self.tokens[i]))) for i in range(run.start, run.stop)]
    pieces, start = [], run.start
    for stop in range(run.start + 1, run.stop + 1):
      text = self._decode(start, stop)
      if '\ufffd' not in text or stop - start == LONGEST_CHARACTER or stop == run.stop:
        pieces.append(Piece(start, stop, text))
        start = stop
    whole = self._decode(run.start, run.stop)
    return pieces if ''.join(piece.text for piece in pieces) == whole else [Piece(run.start, run.stop, whole)]

  def _rounds(self, runs: Sequence[Run]) -> list[Part]:
    """Prompts and answers in turn, a round for each answer."""
    parts: list[Part] = []
    for trained, group in itertools.groupby(runs, lambda run: run.trained):
      of_part = list(group)
      number = sum(not part.trained for part in parts) + (not trained)
      last = self.tokens[of_part[-1].stop - 1]
      note = 'cut: no end token' if trained and last != self._encoder.eos_id else ''
      parts.append(Part(f'round {number}: {"answer" if trained else "prompt"}', trained, note, of_part))
    return parts

  def _documents(self, runs: Sequence[Run]) -> list[Part]:
    """One part for each document."""
    bos_id = self._encoder.bos_id
    has_start = bos_id not in (NO_TOKEN, self._document_end)
    parts: list[list[Run]] = []
    for run in runs:
      begins = self.tokens[run.start] == bos_id if has_start else self.tokens[run.start - 1] == self._document_end
      if not parts or begins:
        parts.append([])
      parts[-1].append(run)
    whole = has_start and self.tokens[runs[0].start] == bos_id
    first = '' if whole else 'began in another row' if has_start else 'may have begun in another row'
    return [
      Part(f'document {number}', True, '' if number > 1 else first, of_part) for number, of_part in enumerate(parts, 1)
    ]

  def _elided(self, start: int, stop: int) -> Iterator[str | range]:
    """Decoded text; a range is tokens left out."""
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
