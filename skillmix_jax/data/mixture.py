"""Training batches: step g's dialogs and text rows, as a pure function of (seed, data fingerprint, g).

Nothing is remembered from one step to the next, so the step number is the whole state of the input: a run that
is killed continues with exactly the batches it would have seen, on any number of threads, devices and hosts.

Each pass over the dialogs is a new order in which every dialog comes once; so for the text rows, independently.
A batch holds a fixed number of dialogs and a fixed number of text rows.

Arrays of a batch (R rows, T = mixture.length):
  tokens     int32 [R, T]    0 on padding
  targets    int32 [R, T]    tokens shifted left by one: what position t has to predict. Only here is shifted
  weights    float32 [R, T]  1 where the target is trained and belongs to the same segment, else 0
  positions  int32 [R, T]    from 0 in every segment
  segments   int32 [R, T]    from 1; 0 is padding
  is_text    bool [R]        text rows; false for dialogs and padding rows
A dialog is one segment. A record of text is one segment too, even if it holds several documents, as in pretraining.
How many segments share a row changes neither which tokens are trained nor what each of them sees: T = data.length
holds one, and T = data.row_length, with packing, as many as fit.
"""

import copy
import functools
import hashlib
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from skillmix_jax.data.packing import best_fit_decreasing
from skillmix_jax.data.records import Data, Dialog
from skillmix_jax.errors import InputError

Batch = dict[str, np.ndarray]
MOST_STEPS = 2**40  # grain wants to know where a dataset ends; a run ends before


class _Order:
  """An endless sequence of indices below n: one random permutation after the other.

  RandomState is the generator whose stream numpy has promised never to change, so an upgrade of a library
  cannot reorder a run that is resumed; grain's own shuffle makes no such promise.
  """

  def __init__(self, n: int, key: str):
    self._n, self._key = n, key
    self._epoch = functools.lru_cache(maxsize=2)(self._permutation)

  def _permutation(self, epoch: int) -> np.ndarray:
    digest = hashlib.sha256(f'{self._key}/{epoch}'.encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, '<u4')).permutation(self._n)

  def stretch(self, start: int, stop: int) -> np.ndarray:
    """Returns the indices at start .. stop - 1, int64."""
    parts = [np.zeros(0, np.int64)]
    while start < stop:
      epoch, offset = divmod(start, self._n)
      parts.append(self._epoch(epoch)[offset : offset + stop - start])
      start += len(parts[-1])
    return np.concatenate(parts)

  def in_steps(self, size: int) -> grain.MapDataset:
    """Makes the pipeline whose element g is the `size` indices of step g."""
    return grain.MapDataset.range(MOST_STEPS).map(lambda g: self.stretch(g * size, (g + 1) * size))


class Mixture:
  """`mixture[g]` is the batch of step g, counted from 0; `mixture.steps` is the pipeline that makes it.

  Args:
    data: what prepare wrote.
    seed: of the order.
    dialogs: dialogs in every batch.
    text_rows: text rows in every batch, each a record of data.length tokens.
    num_rows: rows of a batch; those beyond `rows_needed` are padding of weight 0. Default: rows_needed.
    packing: put the dialogs of a step into as few rows of data.row_length tokens as best-fit-decreasing finds, and
      as many records of text into a row as it holds. A batch then still holds exactly `dialogs` dialogs; the number
      of rows is what the fullest of the first `steps` steps needs.
    steps: number of steps of the run; needed for packing only.

  Raises:
    InputError: the data has no dialogs, or no text rows, where some are asked for.
  """

  def __init__(
    self,
    data: Data,
    *,
    seed: int,
    dialogs: int,
    text_rows: int,
    num_rows: int | None = None,
    packing: bool = False,
    steps: int | None = None,
  ):
    self._data, self._dialogs, self._text = data, data.dialogs('train'), data.text('train')
    self._num_dialogs = dialogs
    if dialogs and not len(self._dialogs):
      raise InputError(f'{data.path} has no training dialogs: prepare it with --dialogs, or set data.dialogs=0')
    if text_rows and not len(self._text):
      raise InputError(
        f'{data.path} has no text rows: prepare it with --code, --wet or --text, or set data.text_rows=0'
      )
    self._dialog_indices = _Order(len(self._dialogs), f'{seed}/{data.fingerprint}/dialogs').in_steps(dialogs)
    self._text_indices = _Order(len(self._text), f'{seed}/{data.fingerprint}/text').in_steps(text_rows)
    self._packing = packing
    self.length = data.row_length if packing else data.length
    self._text_in_row = self.length // data.length
    self.rows_needed = self._dialog_rows(steps) + -(-text_rows // self._text_in_row)
    self.num_rows = self.rows_needed
    if num_rows is not None:
      self.num_rows = self.with_rows(num_rows).num_rows

  @property
  def steps(self) -> grain.MapDataset:
    """The pipeline whose element g is the batch of step g: dialogs and text, each in its own order, laid out in rows"""
    dialogs = self._dialog_indices.map(self._dialogs.read)
    text = self._text_indices.map(self._text.read)
    return grain.experimental.ZipMapDataset([dialogs, text]).map(lambda both: self._lay_out(*both))

  def _lay_out(self, dialogs: Sequence[Dialog], text_XT: np.ndarray) -> Batch:
    rows = [[dialogs[slot] for slot in row] for row in self._plan([len(dialog.tokens) for dialog in dialogs])]
    return _batch(rows, text_XT, self.num_rows, self.length, self._data.bos_id)

  def _dialog_rows(self, steps: int | None) -> int:
    if not self._packing:
      return self._num_dialogs
    if steps is None:
      raise ValueError('packing needs to know the number of steps')
    lengths = (self._data.lengths[self._dialog_indices[g]].tolist() for g in range(steps))
    return max(map(len, map(self._plan, lengths)), default=0)

  def _plan(self, lengths: Sequence[int]) -> list[list[int]]:
    """Decides which of a step's dialogs, given their lengths, share a row."""
    if not self._packing:
      return [[slot] for slot in range(len(lengths))]
    return best_fit_decreasing(lengths, self.length)

  def with_rows(self, num_rows: int) -> 'Mixture':
    """Returns the same batches with padding rows up to `num_rows`, for devices that want equal shares."""
    if num_rows < self.rows_needed:
      raise ValueError(f'a batch needs {self.rows_needed} rows, not {num_rows}')
    padded = copy.copy(self)
    padded.num_rows = num_rows
    return padded

  def indices(self, g: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the record numbers of step g's dialogs and of its text rows."""
    return self._dialog_indices[g], self._text_indices[g]

  def rows_of_dialogs(self, g: int) -> list[list[int]]:
    """Returns the record numbers of the dialogs in each row of step g."""
    dialog_indices, _ = self.indices(g)
    plan = self._plan(self._data.lengths[dialog_indices].tolist())
    return [[int(dialog_indices[slot]) for slot in row] for row in plan]

  def rows_of_text(self, g: int) -> list[list[int]]:
    """Returns the record numbers of the text in each row of step g; these rows follow those of dialogs."""
    text = self.indices(g)[1].tolist()
    return [text[i : i + self._text_in_row] for i in range(0, len(text), self._text_in_row)]

  def __getitem__(self, g: int) -> Batch:
    return self.steps[g]


def _batch(rows: Sequence[Sequence[Dialog]], text_XT: np.ndarray, num_rows: int, length: int, bos_id: int) -> Batch:
  """Lays out dialogs, then text rows, then padding."""
  tokens_RT = np.zeros((num_rows, length), np.int32)
  positions_RT = np.zeros((num_rows, length), np.int32)
  segments_RT = np.zeros((num_rows, length), np.int32)
  trained_RT = np.zeros((num_rows, length), bool)
  steps_T = np.arange(length, dtype=np.int32)
  for row, dialogs in enumerate(rows):
    start = 0
    for segment, dialog in enumerate(dialogs, 1):
      stop = start + len(dialog.tokens)
      tokens_RT[row, start:stop] = dialog.tokens
      trained_RT[row, start:stop] = dialog.mask
      positions_RT[row, start:stop] = steps_T[: stop - start]
      segments_RT[row, start:stop] = segment
      start = stop
  # Records of text, as many as fit side by side in a row: [X, S] -> [rows, S * in_row]
  num_text, size = text_XT.shape
  in_row = length // size
  text = slice(len(rows), len(rows) - (-num_text // in_row))
  fold = lambda x_XS: np.pad(x_XS, ((0, -num_text % in_row), (0, 0))).reshape(-1, length)
  number_X1 = np.arange(num_text, dtype=np.int32)[:, None] % in_row + 1
  tokens_RT[text], segments_RT[text] = fold(text_XT), fold(np.repeat(number_X1, size, axis=1))
  positions_RT[text] = fold(np.tile(steps_T[:size], (num_text, 1)))
  trained_RT[text] = fold(text_XT != bos_id)  # what document comes next is nobody's to predict
  is_text_R = np.zeros(num_rows, bool)
  is_text_R[text] = True
  targets_RT = np.zeros_like(tokens_RT)
  targets_RT[:, :-1] = tokens_RT[:, 1:]
  weights_RT = np.zeros((num_rows, length), np.float32)
  # The first token of a segment has no predecessor to predict it from.
  weights_RT[:, :-1] = trained_RT[:, 1:] & (segments_RT[:, 1:] == segments_RT[:, :-1])
  return {
    'tokens': tokens_RT,
    'targets': targets_RT,
    'weights': weights_RT,
    'positions': positions_RT,
    'segments': segments_RT,
    'is_text': is_text_R,
  }


def iterate(mixture: Mixture, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
  """Yields (g, batch) for the steps start .. stop - 1, prepared ahead in the background."""
  ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  return zip(range(start, stop), mixture.steps[start:stop].to_iter_dataset(ahead))


def single(data: Data, dialog: Dialog) -> Batch:
  """Makes a batch of one row with one dialog."""
  return _batch([[dialog]], np.zeros((0, data.length), np.int32), 1, data.length, data.bos_id)


def held_out(data: Data, source: str, rows: int, chosen: str = 'spread') -> Batch:
  """Makes a batch of held-out rows of one source: 'dialogs' (one per row), 'code', 'wet' or 'text'.

  Always `rows` rows, so that shapes do not depend on the data: where there are fewer, padding of weight 0 follows.

  Args:
    data: what prepare wrote.
    source: whose rows.
    rows: how many.
    chosen: 'spread' takes rows from all over the source, and so from every file and every k; 'first' takes the first,
      as runs of earlier versions did.
  """
  if source == 'dialogs':
    dialogs = data.dialogs('held_out')
    taken = [[dialog] for dialog in dialogs.read(_chosen(len(dialogs), rows, chosen))]
    return _batch(taken, np.zeros((0, data.length), np.int32), rows, data.length, data.bos_id)
  text = data.text('held_out', source)
  return _batch([], text.read(_chosen(len(text), rows, chosen)), rows, data.length, data.bos_id)


def _chosen(n: int, rows: int, how: str) -> np.ndarray:
  """Chooses which of n records are measured: a random one from each of `rows` equal stretches, so no period is hit."""
  if n <= rows or how == 'first':
    return np.arange(min(n, rows))
  edges = np.arange(rows + 1) * n // rows
  return edges[:-1] + (np.random.RandomState(0).random_sample(rows) * np.diff(edges)).astype(np.int64)
