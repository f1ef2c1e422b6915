"""Pieces of a file that tell it from another: so that large files are compared without being read."""

import hashlib
from pathlib import Path
from typing import Any

NUM_PIECES, PIECE_BYTES = 32, 4096


def add_pieces(digest: Any, path: Path, size: int):
  """Feeds some pieces of a file of `size` bytes to a hash, the first and the last bytes among them."""
  with path.open('rb') as file:
    for piece in range(NUM_PIECES):
      file.seek(max(0, size - PIECE_BYTES) * piece // (NUM_PIECES - 1))
      digest.update(file.read(PIECE_BYTES))


def identity(path: Path) -> dict[str, int | str]:
  """Returns a file's size and the SHA-256 of its pieces; of a file up to 128 KiB that is all of it."""
  size, digest = path.stat().st_size, hashlib.sha256()
  add_pieces(digest, path, size)
  return {'bytes': size, 'pieces_sha256': digest.hexdigest()}
