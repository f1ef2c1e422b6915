"""Which prompt has which row of a batch: a row whose answer has ended takes the next prompt.

Everything is decided here on the host, from the prompts and the new tokens alone, which every process has: so all
processes decide alike. Prompts are read in pieces, and a piece fills free rows of each device with as many prompts: no
key or value goes to another device.

Dims: B rows of the batch, R of a piece, T time, C tokens of a call.
"""

import collections
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from skillmix_jax.batches import Prompt
from skillmix_jax.errors import InputError

Answer = tuple[str, list[int], str]
NO_TOKEN = np.iinfo(np.int32).max  # what a row gets whose logits are NaN


def row_key(seed: int, row_id: str) -> np.ndarray:
  """Makes the key of a row's noise, uint32 [2], from the seed and the row's id."""
  return np.frombuffer(hashlib.sha256(f'{seed}\n{row_id}'.encode()).digest()[:8], '<u4').copy()


class Rows:
  """The rows of a batch, and the prompts that wait for them."""

  def __init__(
    self, prompts: Sequence[Prompt], num_rows: int, piece: int, num_devices: int, length: int, ends: Sequence[int],
    max_new_tokens: int, seed: int,
  ):  # fmt: skip
    """All rows are free.

    Args:
      prompts: of at most `length` tokens.
      num_rows: of the batch; like `piece`, the prompts read at a time, equally many for each of `num_devices`.
      ends: the tokens that end an answer.
      max_new_tokens: where an answer ends at the latest.
      seed: of the noise.
    """
    self._waiting = collections.deque(prompts)
    self._num_devices, self._piece, self._length = num_devices, piece, length
    self._ends, self._max_new_tokens, self._seed = np.asarray(ends), max_new_tokens, seed
    self._names: list[str | None] = [None] * num_rows
    self._new: list[list[int]] = [[] for _ in range(num_rows)]
    self._filled: list[tuple[int, int]] = []  # place in the piece that is being read, row
    # What a free row has here means nothing, but that it fits into the cache.
    self._state = {
      'token': np.zeros(num_rows, np.int32),
      'index': np.zeros(num_rows, np.int32),
      'lengths': np.ones(num_rows, np.int32),
      'keys': np.zeros((num_rows, 2), np.uint32),
    }

  @property
  def is_done(self) -> bool:
    """Whether every prompt is answered."""
    return not self._waiting and all(name is None for name in self._names)

  @property
  def takes_prompts(self) -> bool:
    """Whether prompts wait and rows are free for a whole piece of them, or for all that are left."""
    return bool(self._waiting) and self._names.count(None) >= min(self._piece, len(self._waiting))

  def state(self) -> dict[str, np.ndarray]:
    """The last token of each row and its number in its answer, the length of its prompt, its key; see `extend`."""
    return {name: values.copy() for name, values in self._state.items()}

  def next_piece(self) -> dict[str, np.ndarray]:
    """Gives free rows to the next prompts, and returns these; see `fill`."""
    rows_of_device = len(self._names) // self._num_devices
    piece = {
      'tokens': np.zeros((self._piece, self._length), np.int32),
      'lengths': np.ones(self._piece, np.int32),
      'keys': np.zeros((self._piece, 2), np.uint32),
      'rows': rows_of_device + np.arange(self._piece, dtype=np.int32),  # past the last: a prompt that means nothing
    }
    self._filled = []
    for place, row in self._places():
      if not self._waiting:
        break
      name, ids = self._waiting.popleft()
      self._filled.append((place, row))
      self._names[row], self._new[row] = name, []
      self._state['lengths'][row], self._state['keys'][row] = len(ids), row_key(self._seed, name)
      piece['tokens'][place, : len(ids)], piece['lengths'][place] = ids, len(ids)
      piece['keys'][place], piece['rows'][place] = self._state['keys'][row], row % rows_of_device
    return piece

  def _places(self) -> Iterator[tuple[int, int]]:
    """Pairs of a place in a piece and a free row of the same device, from one device to the next."""
    rows_of_device, places = len(self._names) // self._num_devices, self._piece // self._num_devices
    free = [
      [row for row in range(first, first + rows_of_device) if self._names[row] is None][:places]
      for first in range(0, len(self._names), rows_of_device)
    ]
    for place in range(places):
      for device, rows in enumerate(free):
        if place < len(rows):
          yield device * places + place, rows[place]

  def begin(self, token_R: np.ndarray) -> list[Answer]:
    """Adds the first tokens of the piece; returns the answers that ended, whose rows are free; see `grow`."""
    return self._add((row, token_R[place : place + 1]) for place, row in self._filled)

  def grow(self, new_CB: np.ndarray) -> list[Answer]:
    """Adds new tokens to every row that has a prompt; returns the answers that ended, whose rows are free.

    Raises:
      InputError: the answer to a prompt would need a token that is NO_TOKEN.
    """
    return self._add((row, new_CB[:, row]) for row, name in enumerate(self._names) if name is not None)

  def _add(self, new) -> list[Answer]:
    answers = []
    for row, tokens_C in new:
      name, ids = self._names[row], self._new[row]
      ids += tokens_C.tolist()
      self._state['token'][row], self._state['index'][row] = ids[-1], len(ids) - 1
      first = len(ids) - len(tokens_C)
      ended = np.flatnonzero(np.isin(tokens_C[: self._max_new_tokens - first], self._ends))
      length, reason = (first + int(ended[0]) + 1, 'stop') if len(ended) else (self._max_new_tokens, 'length')
      if NO_TOKEN in ids[first:length]:
        raise InputError(
          f'prompt {name!r}: the model has no next token (NaN): a weight is NaN or infinite, or too large for this '
          'dtype: take another step of the run, or float32'
        )
      if len(ids) >= length:
        answers.append((name, ids[:length], reason))
        self._names[row], self._state['index'][row] = None, 0
    return answers
