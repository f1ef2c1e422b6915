"""Safetensors files: what is in a folder of them, a slice of one tensor, and writing them one tensor at a time.

A file is  u64 n (little-endian) | n bytes of JSON {name: {dtype, shape, data_offsets}} | the tensors' bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from skillmix_jax.errors import InputError

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
DTYPES = {'F32': np.dtype(np.float32), 'F16': np.dtype(np.float16), 'BF16': np.dtype(jnp.bfloat16)}
CODES = {dtype: code for code, dtype in DTYPES.items()}
MAX_HEADER = 100_000_000  # bytes; what the format allows


class Tensor(NamedTuple):
  """The place of one tensor."""

  file: Path
  dtype: np.dtype
  shape: tuple[int, ...]
  offset: int  # bytes from the start of the file

  def read(self, index: tuple[slice, ...] | None = None) -> np.ndarray:
    """A copy of one slice; only its pages are read.

    The file is mapped anew for every slice: pages of a lasting map would count as memory of this process.
    """
    view = np.memmap(self.file, self.dtype, 'r', self.offset, self.shape)
    return np.array(view if index is None else view[index], subok=False)


def open_folder(folder: Path) -> dict[str, Tensor]:
  """The tensors of a model folder by name, each file's size checked; no weights are read.

  Raises:
    InputError: there are none, a file is missing, cut short or damaged, or a tensor is stored as something else
      than float32, float16 or bfloat16.
  """
  tensors: dict[str, Tensor] = {}
  for file in _files(folder):
    tensors |= _read_header(file)
  return tensors


def _files(folder: Path) -> list[Path]:
  index = folder / INDEX
  if not index.is_file():
    if (folder / SINGLE).is_file():
      return [folder / SINGLE]
    pickled = ', '.join(sorted(path.name for path in folder.glob('*.bin'))[:2])
    raise InputError(
      f'{folder} holds no {SINGLE} and no {INDEX}'
      + (f'; {pickled} is a pickle, which can run code when it is opened, so it is not opened' if pickled else '')
      + '; take a revision with safetensors, or if you trust the pickle convert it with transformers: '
      'AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)'
    )
  try:
    names = sorted(set(json.loads(index.read_text(encoding='utf-8'))['weight_map'].values()))
    files = [folder / name for name in names]
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise InputError(f'{index} is damaged ({error!r}); download it again') from error
  missing = [file.name for file in files if not file.is_file()]
  if missing:
    raise InputError(f'{folder} lacks {", ".join(missing[:3])} ({len(missing)} of {len(files)} files); download again')
  return files


def _read_header(file: Path) -> dict[str, Tensor]:
  size = file.stat().st_size
  try:
    with open(file, 'rb') as stream:
      length = int.from_bytes(stream.read(8), 'little')
      if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ValueError(f'{size} bytes long')
      entries: dict[str, Any] = json.loads(stream.read(length))
    entries.pop('__metadata__', None)
    end = 8 + length + max((entry['data_offsets'][1] for entry in entries.values()), default=0)
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise InputError(f'{file} is cut short or no safetensors file ({error}); download it again') from error
  if end != size:
    raise InputError(f'{file} has {size:,} bytes where its header says {end:,}; download it again')
  tensors = {}
  for name, entry in entries.items():
    if entry['dtype'] not in DTYPES:
      raise InputError(
        f'{file}: {name} is stored as {entry["dtype"]}, which is not one of {", ".join(DTYPES)}; '
        'take weights that are not quantised'
      )
    dtype, shape = DTYPES[entry['dtype']], tuple(entry['shape'])
    begin, end = entry['data_offsets']
    if end - begin != dtype.itemsize * int(np.prod(shape)):
      raise InputError(f'{file}: {name} has {end - begin:,} bytes, which is not {shape} x {dtype}; download it again')
    tensors[name] = Tensor(file, dtype, shape, 8 + length + begin)
  return tensors


def write_folder(
  folder: Path, shapes: dict[str, tuple[int, ...]], tensors: Iterator[np.ndarray], dtype: np.dtype, max_bytes: int
):
  """Writes `tensors`, which come in the order of `shapes`, into files of at most `max_bytes` of weights each.

  One file is model.safetensors; several are numbered and have an index. A tensor larger than `max_bytes` has a file
  of its own.
  """
  pieces = _split(shapes, dtype, max_bytes)
  names = [SINGLE] if len(pieces) == 1 else [
    f'model-{number:05d}-of-{len(pieces):05d}.safetensors' for number in range(1, len(pieces) + 1)
  ]  # fmt: skip
  for name, piece in zip(names, pieces):
    write_file(folder / name, piece, tensors, dtype)
  if len(pieces) > 1:
    total = sum(dtype.itemsize * int(np.prod(shape)) for shape in shapes.values())
    weight_map = {tensor: name for name, piece in zip(names, pieces) for tensor in piece}
    index = {'metadata': {'total_size': total}, 'weight_map': weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + '\n')


def write_file(path: Path, shapes: dict[str, tuple[int, ...]], tensors: Iterator[np.ndarray], dtype: np.dtype):
  """Writes the next of `tensors`, which come in the order of `shapes`, into one file."""
  with open(path, 'wb') as stream:
    stream.write(_header(shapes, dtype))
    for shape in shapes.values():
      tensor = np.ascontiguousarray(next(tensors))
      if tensor.shape != shape or tensor.dtype != dtype:
        raise ValueError(f'{path.name}: {tensor.shape} {tensor.dtype} where {shape} {dtype} was announced')
      tensor.view(np.uint8).tofile(stream)


def _split(shapes: dict[str, tuple[int, ...]], dtype: np.dtype, max_bytes: int) -> list[dict[str, tuple[int, ...]]]:
  pieces: list[dict[str, tuple[int, ...]]] = [{}]
  room = max_bytes
  for name, shape in shapes.items():
    size = dtype.itemsize * int(np.prod(shape))
    if size > room and pieces[-1]:
      pieces.append({})
      room = max_bytes
    pieces[-1][name] = shape
    room -= size
  return pieces


def _header(shapes: dict[str, tuple[int, ...]], dtype: np.dtype) -> bytes:
  entries: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  offset = 0
  for name, shape in shapes.items():
    end = offset + dtype.itemsize * int(np.prod(shape))
    entries[name] = {'dtype': CODES[dtype], 'shape': shape, 'data_offsets': [offset, end]}
    offset = end
  text = json.dumps(entries).encode()
  text += b' ' * (-len(text) % 8)  # the tensors start at a multiple of 8
  return len(text).to_bytes(8, 'little') + text
