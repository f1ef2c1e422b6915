"""Web pages are read whole or not at all: a file that was cut short is named."""

import gzip
import io
import random
import zlib

import pytest
from helpers.data_fixtures import write_wet
from warcio.archiveiterator import ArchiveIterator

from skillmix_jax.data.warc import read_records

CUTS = 750


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """The same 60 pages: a gzip member for each record, as Common Crawl has them, plain, and as one member."""
  pages = [(f'page {i}\r\n\r\nWARC/1.0 ' + 'héllo ' * (i % 40), 'eng' if i % 3 else None) for i in range(60)]
  members = write_wet(tmp_path_factory.mktemp('warc') / 'x.warc.wet.gz', pages).read_bytes()
  plain = gzip.decompress(members)
  return {'members': members, 'plain': plain, 'one member': gzip.compress(plain)}


def _ends(members: bytes) -> tuple[set[int], set[int]]:
  """Where the records end, in the members and in the plain file: a cut there leaves a complete, shorter file."""
  rest, plain = members, 0
  packed_ends, plain_ends = set(), set()
  while rest:
    member = zlib.decompressobj(wbits=31)
    plain += len(member.decompress(rest))
    rest = member.unused_data
    packed_ends.add(len(members) - len(rest))
    plain_ends.add(plain)
  return packed_ends, plain_ends


def _read(content: bytes) -> list:
  return list(read_records(io.BytesIO(content)))


@pytest.mark.parametrize('kind', ['members', 'plain'])
def test_records_are_those_that_warcio_reads(files, kind):
  theirs = [
    ({name.lower(): value for name, value in record.rec_headers.headers}, record.content_stream().read())
    for record in ArchiveIterator(io.BytesIO(files[kind]))
  ]
  assert len(theirs) == 61 and [tuple(record) for record in _read(files[kind])] == theirs


@pytest.mark.parametrize('kind', ['members', 'plain', 'one member'])
def test_every_random_cut_is_named(files, kind):
  content, rng = files[kind], random.Random(0)
  packed_ends, plain_ends = _ends(files['members'])
  whole = {'members': packed_ends, 'plain': plain_ends}.get(kind, set())
  silent = set()
  for cut in (rng.randrange(1, len(content)) for _ in range(CUTS)):
    try:
      _read(content[:cut])
    except ValueError as error:
      assert str(error).count('\n') == 0
    else:
      silent.add(cut)
  assert silent <= whole


def test_damage_is_named_or_changes_nothing(files):
  content, rng = files['members'], random.Random(0)
  expected = _read(content)
  for _ in range(300):
    damaged = bytearray(content)
    damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    try:
      assert _read(bytes(damaged)) == expected
    except ValueError:
      continue
