"""Where dialogs and documents come from: iterators over files, one record at a time, in a fixed order.

Each takes a Counter and counts in it what it left out and why. A record that is wrong is an InputError that
starts with `FILE:LINE`.
"""

import glob
import json
import pathlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from skillmix_jax.data.warc import read_records
from skillmix_jax.errors import InputError

TFDS_PREFIX = 'tfds:'


def _json_lines(files: Sequence[str]) -> Iterator[tuple[str, dict]]:
  """('file:line', object) of every line that is not blank."""
  for file in files:
    number_of_records = 0
    try:
      lines = open(file, 'rb')  # noqa: SIM115 (closed by the with below; only opening may fail here)
    except OSError as error:
      raise InputError(f'cannot read {file}: {error.strerror}') from error
    with lines:
      for number, line in enumerate(lines, 1):
        if line.strip():
          number_of_records += 1
          yield f'{file}:{number}', _parse(f'{file}:{number}', line)
    if not number_of_records:
      raise InputError(f'{file} is empty')


def _parse(origin: str, line: bytes) -> dict:
  try:
    record = json.loads(line.decode('utf-8'))
    if b'\\ud' in line.lower():  # half of a surrogate pair is legal JSON, but no text
      json.dumps(record, ensure_ascii=False).encode('utf-8')
  except UnicodeError as error:
    raise InputError(f'{origin}: not valid UTF-8 text ({error})') from error
  except ValueError as error:
    raise InputError(f'{origin}: not JSON ({error})') from error
  if not isinstance(record, dict):
    raise InputError(f'{origin}: a line must be a JSON object, this is {type(record).__name__}')
  return record


def dialogs(files: Sequence[str]) -> Iterator[tuple[str, dict]]:
  """('file:line', {'id', 'messages', 'meta'}) of each dialog; its messages are not looked at."""
  return _json_lines(files)


def text_jsonl(files: Sequence[str]) -> Iterator[str]:
  """Yields the 'text' of each line."""
  for origin, record in _json_lines(files):
    if not isinstance(record.get('text'), str):
      raise InputError(f"{origin}: 'text' is missing or no string")
    yield record['text']


def _matches(pattern: str, flag: str) -> list[str]:
  files = sorted(file for file in glob.glob(pattern, recursive=True) if pathlib.Path(file).is_file())
  if not files:
    raise InputError(f'{flag}={pattern} matches no file; quote the pattern, and use ** for all folders below')
  return files


def code(pattern: str, counts: Counter) -> Iterator[str]:
  """Yields each file that matches as one document; files that are not UTF-8 are counted in 'skipped_not_utf8'."""
  for file in _matches(pattern, '--code'):
    try:
      text = pathlib.Path(file).read_bytes().decode('utf-8')
    except UnicodeDecodeError:
      counts['skipped_not_utf8'] += 1
      continue
    except OSError as error:
      raise InputError(f'cannot read {file}: {error.strerror}') from error
    yield text


def wet(pattern: str, languages: Collection[str], counts: Counter) -> Iterator[str]:
  """The text of each page in Common Crawl's WET files.

  Args:
    languages: three-letter codes; a page is kept if one of the languages identified in it is among them. Empty:
      all. Pages without the header are kept and counted in 'kept_without_language', pages in other languages are
      left out and counted in 'skipped_other_language'.
  """
  for file in _matches(pattern, '--wet'):
    num_records = num_pages = 0
    try:
      with open(file, 'rb') as stream:
        for record in read_records(stream):
          num_records += 1
          if record.headers.get('warc-type') != 'conversion':
            continue
          num_pages += 1
          if _wanted(record.headers.get('warc-identified-content-language'), languages, counts):
            yield record.content.decode('utf-8', 'replace')
    except OSError as error:
      raise InputError(f'cannot read {file}: {error.strerror}') from error
    except ValueError as error:
      raise InputError(f'{file}: record {num_records + 1} is damaged ({error}); fetch the file again') from error
    if not num_pages:
      raise InputError(f'{file} holds no WET records (WARC-Type: conversion)')


def _wanted(header: str | None, languages: Collection[str], counts: Counter) -> bool:
  if not languages:
    return True
  if not header:
    counts['kept_without_language'] += 1
    return True
  if any(language.strip() in languages for language in header.split(',')):
    return True
  counts['skipped_other_language'] += 1
  return False


def text(specs: Sequence[str]) -> Iterator[str]:
  """Documents of JSONL files and of 'tfds:NAME:SPLIT' entries, in the order given."""
  for spec in specs:
    if spec.startswith(TFDS_PREFIX):
      yield from _tfds_text(spec)
    else:
      yield from text_jsonl([spec])


def _tfds_text(spec: str) -> Iterator[str]:
  # NAME may hold a version (c4/en:3.0.1) and SPLIT a slice (train[:10%]): both may contain colons.
  match = re.fullmatch(r'tfds:(.+):([A-Za-z_][\w+]*(?:\[[^\]]*\])?)', spec)
  if not match:
    raise InputError(f'{spec!r} must read tfds:NAME:SPLIT, for example tfds:c4/en:validation')
  return tfds_text(*match.groups())


def tfds_text(name: str, split: str) -> Iterator[str]:
  """The 'text' feature of a dataset that tensorflow-datasets has prepared on this machine as ArrayRecord.

  Looks in TFDS_DATA_DIR, else in the library's own folder; never downloads, never imports TensorFlow.
  """
  import tensorflow_datasets as tfds  # slow to import: only who asks for it waits

  remedy = f'prepare it here first: tfds build {name} --file_format=array_record'
  try:
    source = tfds.builder(name, try_gcs=False).as_data_source(split=split)
  except Exception as error:  # unknown names, splits, formats and folders each have a class of their own
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    raise InputError(f'tfds:{name}:{split} cannot be opened ({reason}); {remedy}') from error
  for index in range(len(source)):
    value = source[index].get('text')
    if not isinstance(value, bytes | str):
      raise InputError(f"tfds:{name}:{split} has no feature 'text' that is a string")
    yield value.decode('utf-8', 'replace') if isinstance(value, bytes) else value
