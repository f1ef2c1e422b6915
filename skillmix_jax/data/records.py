"""The folder that `prepare` writes and training reads: ArrayRecord shards, lengths.npy, tokenizer/, manifest.json.

A dialog record is
    u32 n (little-endian) | n tokens | ceil(n / 8) bytes of mask bits, first token in the highest bit | id as UTF-8
and a text record is `length` tokens. Tokens are little-endian uint16, or uint32 where the vocabulary needs it.
Shards are named <source>-<split>-<number>.array_record and hold 65,536 records each, the last one fewer.
"""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python import array_record_module

from skillmix_jax.data import manifest
from skillmix_jax.data.manifest import PREPARE
from skillmix_jax.data.tokenizer import NO_TOKEN
from skillmix_jax.errors import InputError

TEXT_SOURCES = ('code', 'wet', 'text')
SOURCES = ('dialogs', *TEXT_SOURCES)
SPLITS = ('train', 'held_out')
RECORDS_PER_SHARD = 65_536

Indices = Sequence[int] | np.ndarray


class Dialog(NamedTuple):
  tokens: np.ndarray  # int32 [n]
  mask: np.ndarray  # bool [n], true where the token is trained
  id: str


def token_dtype(vocab_size: int) -> np.dtype:
  """Returns the type that a token is stored as."""
  return np.dtype('<u2') if vocab_size <= 1 << 16 else np.dtype('<u4')


def pack_dialog(dialog: Dialog, dtype: np.dtype) -> bytes:
  """Packs a dialog into one record."""
  length = len(dialog.tokens).to_bytes(4, 'little')
  return length + dialog.tokens.astype(dtype).tobytes() + np.packbits(dialog.mask).tobytes() + dialog.id.encode('utf-8')


def unpack_dialog(record: bytes, dtype: np.dtype) -> Dialog:
  """Unpacks the dialog in one record."""
  n = int.from_bytes(record[:4], 'little')
  mask_start = 4 + n * dtype.itemsize
  mask_bytes = np.frombuffer(record, np.uint8, -(-n // 8), mask_start)
  return Dialog(
    tokens=np.frombuffer(record, dtype, n, 4).astype(np.int32),
    mask=np.unpackbits(mask_bytes, count=n).astype(bool),
    id=record[mask_start + len(mask_bytes) :].decode('utf-8'),
  )


def _shard_name(source: str, split: str, number: int) -> str:
  return f'{source}-{split}-{number:05d}.array_record'


class ShardWriter:
  """Writes the records of one source and split; a shard that gets no record is not made.

  Attributes:
    num_records: how many were written.
    sha256: running hash over all records, in order.
  """

  def __init__(self, folder: pathlib.Path, source: str, split: str):
    self._folder, self._source, self._split = folder, source, split
    self._shard: Any = None
    self.num_records = 0
    self.sha256 = hashlib.sha256()

  def write(self, record: bytes):
    number, position = divmod(self.num_records, RECORDS_PER_SHARD)
    if position == 0:
      self.close()
      path = self._folder / _shard_name(self._source, self._split, number)
      # One record per chunk: larger groups make random access tens of times slower.
      self._shard = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    self._shard.write(record)
    self.sha256.update(len(record).to_bytes(8, 'little') + record)
    self.num_records += 1

  def close(self):
    """Finishes the open shard; the file is readable only after this."""
    if self._shard is not None:
      self._shard.close()
      self._shard = None


class Shards(Sequence):
  """Random access to the records (bytes) of one source and split."""

  def __init__(self, folder: pathlib.Path, source: str, split: str, num_records: int):
    self._num_records = num_records
    self._paths, self._readers = [], []
    for number, start in enumerate(range(0, num_records, RECORDS_PER_SHARD)):
      path = folder / _shard_name(source, split, number)
      self._paths.append(path)
      self._readers.append(_open_shard(path, min(RECORDS_PER_SHARD, num_records - start)))

  def __len__(self):
    return self._num_records

  def __getitem__(self, index):
    return self.read([range(self._num_records)[index]])[0]

  def read(self, indices: Indices) -> list[bytes]:
    """Reads many records with one call for each shard, in the order of `indices`."""
    by_shard: dict[int, list[int]] = {}
    for slot, index in enumerate(indices):
      by_shard.setdefault(int(index) // RECORDS_PER_SHARD, []).append(slot)
    records = [b''] * len(indices)
    for shard, slots in by_shard.items():
      try:
        found = self._readers[shard].read([int(indices[slot]) % RECORDS_PER_SHARD for slot in slots])
      except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f'{self._paths[shard]} is damaged ({error}); {_remedy(self._paths[shard])}') from error
      for slot, record in zip(slots, found, strict=True):
        records[slot] = record
    return records


def _open_shard(path: pathlib.Path, num_records: int):
  if not path.is_file():
    raise InputError(f'{path} is missing; {_remedy(path)}')
  try:
    # No read-ahead: records are read in random order.
    reader = array_record_module.ArrayRecordReader(str(path), options='readahead_buffer_size:0')
    found = reader.num_records()
  except (RuntimeError, ValueError, OSError) as error:
    raise InputError(f'{path} is damaged ({error}); {_remedy(path)}') from error
  if found != num_records:
    raise InputError(f'{path} holds {found} records where the manifest says {num_records}; {_remedy(path)}')
  return reader


def _remedy(path: pathlib.Path) -> str:
  return f'run prepare again: {PREPARE}{path.parent}'


class Dialogs(Sequence):
  """Random access to the dialogs of one split."""

  def __init__(self, shards: Shards, dtype: np.dtype):
    self._shards, self._dtype = shards, dtype

  def __len__(self):
    return len(self._shards)

  def __getitem__(self, index):
    return unpack_dialog(self._shards[index], self._dtype)

  def read(self, indices: Indices) -> list[Dialog]:
    return [unpack_dialog(record, self._dtype) for record in self._shards.read(indices)]


class TextRows(Sequence):
  """Random access to the rows of text of one split: int32 [length] each, one source after the other."""

  def __init__(self, shards: dict[str, Shards], length: int, dtype: np.dtype):
    self._shards, self._length, self._dtype = shards, length, dtype
    self._ends = np.cumsum([len(rows) for rows in shards.values()], dtype=np.int64)

  def __len__(self):
    return int(self._ends[-1]) if len(self._ends) else 0

  def __getitem__(self, index):
    return self.read([range(len(self))[index]])[0]

  def source(self, index: int) -> str:
    """Names the source of the row at `index`."""
    return list(self._shards)[int(np.searchsorted(self._ends, index, side='right'))]

  def read(self, indices: Indices) -> np.ndarray:
    """Reads rows as int32 [len(indices), length]."""
    wanted = np.asarray(indices, np.int64)
    rows = np.empty((len(wanted), self._length), np.int32)
    owner = np.searchsorted(self._ends, wanted, side='right')
    for number, shards in enumerate(self._shards.values()):
      slots = np.flatnonzero(owner == number)
      if len(slots):
        records = shards.read(wanted[slots] - (self._ends[number] - len(shards)))
        rows[slots] = np.frombuffer(b''.join(records), self._dtype).reshape(-1, self._length)
    return rows


class Data:
  """An opened data folder.

  Attributes:
    path: the folder.
    manifest: manifest.json as a dict.
    length: tokens of a dialog at most, and of a record of text.
    row_length: tokens of a row that several of them share, a multiple of `length`.
    vocab_size: ids are below this.
    fingerprint: hex; changes with anything that changes what is trained.
    lengths: int32 [number of training dialogs], tokens of each, in record order.
  """

  def __init__(self, path: pathlib.Path, manifest: dict[str, Any], lengths: np.ndarray):
    self.path, self.manifest, self.lengths = path, manifest, lengths
    self.length: int = manifest['length']
    self.row_length: int = manifest.get('row_length', self.length)
    self.vocab_size: int = manifest['vocab_size']
    self.fingerprint: str = manifest['fingerprint']
    self._dtype = np.dtype(manifest['token_dtype']).newbyteorder('<')
    self._shards = {
      (source, split): Shards(path, source, split, counts[f'{split}_rows'])
      for source, counts in manifest['sources'].items()
      for split in SPLITS
    }

  @property
  def bos_id(self) -> int:
    """The token that only starts a document; NO_TOKEN if the tokenizer has no such token."""
    bos_id = self.manifest['tokenizer']['bos_id']
    return NO_TOKEN if bos_id == self.eos_id else bos_id

  @property
  def eos_id(self) -> int:
    return self.manifest['tokenizer']['eos_id']

  def sources(self, split: str) -> tuple[str, ...]:
    """Lists the sources that have rows in `split`, dialogs first."""
    return tuple(name for name in SOURCES if len(self._shards.get((name, split), ())))

  def dialogs(self, split: str) -> Dialogs:
    """Returns the dialogs of `split` in the order of their files."""
    return Dialogs(self._shards.get(('dialogs', split)) or Shards(self.path, 'dialogs', split, 0), self._dtype)

  def text(self, split: str, source: str | None = None) -> TextRows:
    """Returns the text rows of one source, or of all sources one after the other."""
    names = [name for name in self.sources(split) if name != 'dialogs' and source in (None, name)]
    return TextRows({name: self._shards[name, split] for name in names}, self.length, self._dtype)


def open_data(path: str | os.PathLike) -> Data:
  """Opens a folder that `prepare` wrote.

  Raises:
    InputError: the folder is missing or damaged; the message names the command that makes it.
  """
  path = pathlib.Path(path)
  return Data(path, *manifest.read(path))
