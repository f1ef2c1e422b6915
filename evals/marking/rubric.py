"""Reads a grader's table: the points of every criterion, or the reason why the reply cannot be trusted.

A grader is asked for a table of two columns with a total at its end. What comes back may be bold, padded, shortened,
reordered, cut off, doubled or no table at all. Nothing is guessed and nothing becomes zero: a reply is either read as
a careful person would read it, or refused with a `RubricError`, and then the vote is asked for again.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple


class RubricError(ValueError):
  """The reply is not a grading of these criteria; the message says why."""


class _Row(NamedTuple):
  name: str
  value: str
  num_pipes: int  # pipes within the name: the row has this many columns more than two


@dataclasses.dataclass
class _Table:
  quoted: bool  # begins within open quotation marks: somebody else's table
  rows: list[_Row] = dataclasses.field(default_factory=list)
  total: str | None = None
  fault: str = ''  # what is wrong with its form
  is_grading: bool = False  # has a header, a total or a criterion of ours; a text with pipes in it has none
  is_explained: bool = False  # an explanation follows, so the reply was not cut within the table


_INTRODUCTION = re.compile(r"here(?:['’]s| is) (?:the|my) (?:grading|rubric) table:?\**", re.I)
_EXPLANATION = re.compile(r'[^\w|]*(?:grading |brief )?explanation', re.I)
_TOTAL = re.compile(r'\W*(?:(?:grand|overall|final) )?(?:total|sum|score)\b', re.I)
_TOTAL_LINE = re.compile(r'[^\w|]*(?:(?:grand|overall|final) )?(?:total|sum|score)\b[^:|]*:(.+)', re.I)
_HEADER_NAME = re.compile(r'\W*criteri(?:a|on)\b', re.I)
_HEADER_VALUE = re.compile(r'\b(?:points?|scores?|earned|marks?)\b', re.I)
_POINT = re.compile(r'([01])(?:\.0+)?(?:\s*/\s*1(?:\.0+)?)?')
_SUM = re.compile(r'([0-9]+)(?:\.0+)?(?:\s*/\s*([0-9]+)(?:\.0+)?)?')
_DECORATION = ' *_`'

# The words that every rubric shares, and other words that graders use for its last three criteria.
_FRAME = re.compile(r'(?:correctly |properly )?(?:illustrat|demonstrat|us)(?:es?|ion of|ing)\b|pertains to\b', re.I)
_SYNONYMS = (
  (re.compile('pertains to '), ('pertain', 'topic', 'context', 'relevant', 'relevance', 'related', 'relates')),
  (re.compile('text makes sense$'), ('sense', 'coherence', 'coherent')),
  (re.compile('at most .* sentences?$'), ('sentence', 'length', 'limit')),
)


def parse(reply: str, criteria: Sequence[str]) -> tuple[int, ...]:
  """Reads the points, 0 or 1, in the order of `criteria`, whose last three are topic, sense and length.

  Read: rows with a `|` whose last cell is 0 or 1, also bold, `1.0` or `1/1`; a name may contain the pipes that its
  criterion contains, may be shortened or paraphrased as long as its words point to its own criterion; exact names may
  come in another order. The total must be the sum; it may be missing only where an explanation follows. A table that
  begins within open quotation marks, in a `>` block or before "Here's the grading table" is a quotation.

  Raises:
    RubricError: no table; a row missing, extra or for another criterion; a point other than 0 or 1; a total that
      disagrees or is missing from a cut reply; further columns; two gradings that differ.
  """
  gradings = [table for table in _tables(_after_introduction(reply), criteria) if table.is_grading and not table.quoted]
  if not gradings:
    raise RubricError('no grading table in the reply')
  points = {_read(table, criteria) for table in gradings}
  if len(points) > 1:
    raise RubricError(f'{len(gradings)} grading tables that differ')
  return points.pop()


def format_table(criteria: Sequence[str], points: Sequence[int], explanation: str = '') -> str:
  """Writes a reply as the grading prompt asks for; `parse` gives the points back."""
  rows = [f'| {" ".join(name.split())} | {point} |' for name, point in zip(criteria, points, strict=True)]
  lines = ["Here's the grading table:", '', '| Criteria | Points Earned |', '|---|---|', *rows]
  lines.append(f'| Total Points Earned | {sum(points)} |')
  if explanation:
    lines += ['', f'Explanation: {explanation}']
  return '\n'.join(lines)


def _after_introduction(reply: str) -> str:
  """Returns what follows the first introduction outside quotation marks; the whole reply where it has none."""
  for match in _INTRODUCTION.finditer(reply):
    if not _is_open(False, reply[: match.start()]):
      return reply[match.end() :]
  return reply


def _is_open(is_open: bool, text: str) -> bool:
  """Says whether a quotation is open after `text`."""
  for character in text:
    if character == '"':
      is_open = not is_open
    elif character in '“”':
      is_open = character == '“'
  return is_open


def _tables(text: str, criteria: Sequence[str]) -> list[_Table]:
  """Runs of lines with pipes. Prose, a total, a new header and the end of a quotation close a table."""
  keys = {_key(criterion) for criterion in criteria}
  tables: list[_Table] = []
  table = None
  is_open = False
  for line in text.split('\n'):
    line = line.strip()
    if not line or line.startswith('>'):
      continue
    if '|' not in line or _EXPLANATION.match(line):
      if _EXPLANATION.match(line):
        for earlier in tables:
          earlier.is_explained = True
      elif table is not None and (match := _TOTAL_LINE.fullmatch(line)):
        table.total = match[1]
      table = None
      is_open = _is_open(is_open, line)
      continue
    if table is None:
      table = _Table(quoted=_is_open(is_open, '' if line.startswith('|') else line.split('|')[0]))
      tables.append(table)
    if table.quoted:
      is_open = _is_open(is_open, line)
      if not is_open:
        table = None
      continue
    is_open = False
    table = _add_line(tables, table, line, keys)
  return tables


def _add_line(tables: list[_Table], table: _Table, line: str, keys: set[str]) -> _Table | None:
  """Adds a line to `table`, the last of `tables`; returns the table that is open after it."""
  if set(line) <= set('|:=+-–— \t') and set(line) & set('=-–—'):
    if len(table.rows) == 1 and not _POINT.fullmatch(table.rows[0].value):
      table.fault = table.fault or _columns_fault(table.rows.pop())  # the row above a rule is a header
    return table
  row = _split(line)
  if row is None:
    table.fault = table.fault or f'a row without points: {line[:80]!r}'
  elif _TOTAL.match(row.name) and _key(row.name) not in keys:
    table.total, table.is_grading = row.value, True
    table.fault = table.fault or _columns_fault(row)
    return None
  elif not re.search('[0-9]', row.value) and (_HEADER_NAME.match(row.name) or _HEADER_VALUE.search(row.value)):
    if table.rows or table.is_grading:
      table = _Table(quoted=False)
      tables.append(table)
    table.is_grading = _HEADER_VALUE.search(row.value) is not None
    table.fault = _columns_fault(row)
  elif row.name or row.value:
    table.rows.append(row)
    table.is_grading |= _key(row.name) in keys and _POINT.fullmatch(row.value) is not None
  return table


def _split(line: str) -> _Row | None:
  """Splits a row: the last cell is the points, the rest the name, which may contain pipes. None for a single cell."""
  inner = line.removeprefix('|').removesuffix('|')
  name, pipe, value = inner.rpartition('|')
  return _Row(name.strip(), value.strip(_DECORATION + '\t'), name.count('|')) if pipe else None


def _columns_fault(row: _Row) -> str:
  return f'more than two columns: {row.name!r}, {row.value!r}' if row.num_pipes else ''


def _read(table: _Table, criteria: Sequence[str]) -> tuple[int, ...]:
  """Reads the points of a table in the order of `criteria`; raises RubricError."""
  rows = table.rows
  if table.fault:
    raise RubricError(table.fault)
  if len(rows) != len(criteria):
    raise RubricError(f'{len(rows)} rows for {len(criteria)} criteria')
  for row in rows:
    if not _POINT.fullmatch(row.value):
      raise RubricError(f'the points of {row.name!r} are {row.value!r}, not 0 or 1')
  values = [int(row.value[0]) for row in rows]
  if table.total is not None:
    _check_total(table.total, sum(values), len(rows))
  elif not table.is_explained:
    raise RubricError('no total and no explanation: the reply may have been cut')
  points = [0] * len(rows)
  for row, value, position in zip(rows, values, _order([row.name for row in rows], criteria)):
    if row.num_pipes not in (0, criteria[position].count('|')):
      raise RubricError(_columns_fault(row))
    points[position] = value
  return tuple(points)


def _check_total(text: str, expected: int, maximum: int):
  match = _SUM.fullmatch(text.strip(_DECORATION + '\t'))
  if match is None:
    raise RubricError(f'the total is {text.strip()!r}, not a number')
  if int(match[1]) != expected or int(match[2] or maximum) != maximum:
    raise RubricError(f'the total is {text.strip()!r}, but the rows add up to {expected} of {maximum}')


def _order(names: Sequence[str], criteria: Sequence[str]) -> list[int]:
  """Returns the criterion of each row: exact names in any order, or in place if no other criterion fits a name as
  well.
  """
  written = [' '.join(name.split()) for name in names]
  asked = [' '.join(criterion.split()) for criterion in criteria]
  if written == asked:
    return list(range(len(asked)))
  if sorted(written) == sorted(asked) and len(set(asked)) == len(asked):
    return [asked.index(name) for name in written]
  for i, name in enumerate(written):
    fits = [_fit(name, criterion) for criterion in asked]
    others = [criterion for j, criterion in enumerate(asked) if j != i and fits[j] >= max(fits[i], 1e-9)]
    if others:
      raise RubricError(f'row {i + 1}, {name!r}, should be {asked[i]!r} but fits {others[0]!r} as well or better')
    if not fits[i]:
      raise RubricError(f'row {i + 1}, {name!r}, shares no word with {asked[i]!r}')
  return list(range(len(asked)))


def _fit(name: str, criterion: str) -> float:
  """Rates how well a row's name fits a criterion: 3 the same text, 2 but for decoration, else the share of common
  words.
  """
  if name == criterion:
    return 3
  key = _key(criterion)
  if _key(name) == key:
    return 2
  ours, theirs = _stems(key), _stems(_key(name))
  synonyms = {stem for pattern, words in _SYNONYMS if pattern.match(key) for word in words for stem in _stems(word)}
  num_common = len(theirs & (ours | synonyms))
  # The share of the row's words first: a shortened name has few of its criterion's. Then the shorter criterion.
  return num_common / max(1, len(theirs)) / 2 + num_common / max(1, len(ours) + len(theirs))


def _key(name: str) -> str:
  return ' '.join(name.replace('\\|', '|').split()).strip(_DECORATION).casefold()


def _stems(text: str) -> set[str]:
  """Beginnings of the words, without the rubric's frame: 'emotions' and 'emotional' are the same."""
  words = re.findall(r'[^\W_]+', _FRAME.sub(' ', text))
  return {(word.removesuffix('s') if len(word) > 3 else word)[:6] for word in words} - {'of', 'the', 'a', 'to', 'at'}
