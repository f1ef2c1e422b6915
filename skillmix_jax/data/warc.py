"""Records of a WARC file, plain or gzip, read strictly: what is cut short anywhere is an error, never a short list.

A record is  WARC/1.x CRLF | name: value CRLF ... | CRLF | Content-Length bytes | CRLF CRLF.
"""

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

GZIP = b'\x1f\x8b'
MAX_LINE = 1 << 16  # bytes; longer lines are not of a header


class Record(NamedTuple):
  """One record."""

  headers: dict[str, str]  # names in lower case
  content: bytes


def read_records(stream: BinaryIO) -> Iterator[Record]:
  """Yields all records of a file, in order.

  A cut exactly between two records of a file, or between two gzip members, leaves a complete shorter file: it cannot
  be seen.

  Raises:
    ValueError: something is no WARC record, or a record or gzip member does not end; the message is a short reason.
  """
  start = stream.read(len(GZIP))
  stream.seek(0)
  if start == GZIP:
    stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
  try:
    while (record := _next_record(stream)) is not None:
      yield record
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError('a gzip member is cut off or damaged') from error


def _next_record(stream: BinaryIO) -> Record | None:
  line = stream.readline(MAX_LINE)
  while line in (b'\r\n', b'\n'):  # more than the two that end a record
    line = stream.readline(MAX_LINE)
  if not line:
    return None
  if not line.startswith(b'WARC/'):
    raise ValueError('cut off' if b'WARC/'.startswith(line) else 'no WARC header')
  headers: dict[str, str] = {}
  while (line := stream.readline(MAX_LINE)) not in (b'\r\n', b'\n'):
    if not line.endswith(b'\n'):
      raise ValueError('the header is cut off')
    name, _, value = line.decode('utf-8', 'replace').partition(':')
    headers[name.strip().lower()] = value.strip()
  length = headers.get('content-length', '')
  if not (length.isascii() and length.isdigit()):
    raise ValueError('the header has no Content-Length')
  content = stream.read(int(length))
  end = stream.read(4)
  if len(content) < int(length) or end != b'\r\n\r\n':
    raise ValueError('cut off, or longer than its Content-Length')
  return Record(headers, content)
