"""Which skills and which topic a text is about: drawn without repetition, so that a longer run extends a shorter one.

The pairs (set of k skills, topic) of a setting are numbered 0 .. N-1, N = C(skills, k) * topics, up to 1e10 and more.
Combination i is number permutation(i), where the permutation is a keyed Feistel network on the numbers themselves:
nothing is shuffled or stored, no two i share a pair, and i alone decides, not how many are drawn.
"""

import bisect
import dataclasses
import functools
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.files import read_jsonl, write_jsonl
from evals.questions.catalog import Catalog, closest
from skillmix_jax.errors import InputError

_ROUNDS = 8  # four make a Feistel network a good permutation (Luby and Rackoff, 1988); small domains want more


@dataclasses.dataclass(frozen=True)
class Combination:
  """One question. `id` is unique in a run; the order of `skills` is that of the prompt and the rubric."""

  id: str
  setting: str
  k: int
  skills: tuple[str, ...]
  topic: str


def draw(
  catalog: Catalog,
  *,
  settings: Sequence[str],
  ks: Sequence[int],
  num_combinations: int | Sequence[int],
  seed: int,
  split: str = 'category',
  exclude: Collection[str] = (),
) -> list[Combination]:
  """Combinations of every setting and k, in this order.

  Args:
    catalog: whose names are used.
    settings: see Catalog.pool.
    ks: numbers of skills.
    num_combinations: one number for all ks, or one per k. Where fewer pairs exist, all are used once.
    seed: of the permutation; what is drawn for a (setting, k) depends on it and on the pool, on nothing else.
    split: 'category' or 'table'.
    exclude: names of skills that are not used.

  Raises:
    InputError: a setting is unknown, a k has more skills than there are, or numbers do not fit.
  """
  settings = (settings,) if isinstance(settings, str) else tuple(settings)
  ks, counts = _check_counts(ks, num_combinations)
  if not settings:
    raise InputError('settings is empty')
  if len(set(settings)) < len(settings):
    raise InputError(f'settings={settings} names a setting twice')
  drawn: list[Combination] = []
  for setting in settings:
    for k, count in zip(ks, counts):
      skills, topics = catalog.pool(setting, split, exclude, k)
      if k > len(skills):
        raise InputError(f'setting {setting}: k={k} needs more skills than the {len(skills)} there are')
      drawn += _draw_cell(setting, k, tuple(skill.name for skill in skills), topics, count, seed)
  return drawn


def read(path: str | Path, catalog: Catalog) -> list[Combination]:
  """Reads JSONL `{"id", "setting", "k", "skills", "topic"}`: any setting, but skills and topics of the catalog.

  Raises InputError with FILE:LINE.
  """
  by_id: dict[str, Combination] = {}
  for where, record in read_jsonl(path):
    try:
      combination = _parse(record, catalog)
      if combination.id in by_id:
        raise InputError(f'id {combination.id!r} occurs twice')
    except InputError as error:
      raise InputError(f'{where}: {error}') from None
    by_id[combination.id] = combination
  if not by_id:
    raise InputError(f'{path}: no combinations in it')
  return list(by_id.values())


def write(path: str | Path, combinations: Iterable[Combination]):
  """Writes what `read` reads; the file appears when it is complete."""
  write_jsonl(Path(path), map(dataclasses.asdict, combinations))


def _check_counts(ks: Sequence[int], num_combinations: int | Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
  ks = (ks,) if isinstance(ks, int) else tuple(ks)
  counts = (num_combinations,) if isinstance(num_combinations, (int, str)) else tuple(num_combinations)
  for name, numbers in (('ks', ks), ('num_combinations', counts)):
    if not numbers or not all(
      isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers
    ):
      raise InputError(f'{name}={numbers}: whole numbers of 1 and more are needed')
  if len(set(ks)) < len(ks):
    raise InputError(f'ks={ks} names a k twice')
  counts = counts * len(ks) if len(counts) == 1 else counts
  if len(counts) != len(ks):
    raise InputError(f'num_combinations={counts} has {len(counts)} numbers for ks={ks}: give one for all, or one per k')
  return ks, counts


@functools.lru_cache(maxsize=64)  # the runs of a table ask the same
def _draw_cell(
  setting: str, k: int, names: tuple[str, ...], topics: tuple[str, ...], count: int, seed: int
) -> tuple[Combination, ...]:
  """Draws the first `count` combinations of one setting and k, or all there are."""
  key = hashlib.blake2b(f'skillmix combinations/{seed}/{setting}/{k}'.encode(), digest_size=32).digest()
  hashes = [hashlib.blake2b(digest_size=8, key=key, salt=bytes((step,))) for step in range(_ROUNDS + 1)]
  size = math.comb(len(names), k) * len(topics)
  tables = [[math.comb(n, j) for n in range(len(names) + 1)] for j in range(k + 1)]
  cell = []
  for i in range(min(count, size)):
    rank, topic = divmod(_permute(i, size, hashes), len(topics))
    chosen = _order(_unrank(rank, k, tables), _hash(hashes[_ROUNDS], i))
    skills = tuple(names[position] for position in chosen)
    cell.append(Combination(f'{setting}-k{k}-{i:04d}', setting, k, skills, topics[topic]))
  return tuple(cell)


def _hash(begun: hashlib.blake2b, value: int) -> int:
  """Hashes to 64 bits; a copy of what was begun with a key takes two thirds of the time of another beginning."""
  hashed = begun.copy()
  hashed.update(value.to_bytes(16, 'little'))
  return int.from_bytes(hashed.digest(), 'little')


def _permute(i: int, size: int, hashes: Sequence[hashlib.blake2b]) -> int:
  """Returns the image of i under a permutation of range(size).

  The network permutes rows x columns, the smallest nearly square grid with at least `size` cells; an image outside is
  permuted again until it falls inside ("cycle walking"), which keeps it a permutation.
  """
  rows = math.isqrt(size - 1) + 1
  columns = -(-size // rows)
  while True:
    row, column = divmod(i, columns)
    for step in range(0, _ROUNDS, 2):
      row = (row + _hash(hashes[step], column)) % rows
      column = (column + _hash(hashes[step + 1], row)) % columns
    i = row * columns + column
    if i < size:
      return i


def _unrank(rank: int, k: int, tables: Sequence[Sequence[int]]) -> list[int]:
  """Returns the k-subset of this rank (combinatorial number system); tables[j][n] is n choose j."""
  chosen = []
  for j in range(k, 0, -1):
    position = bisect.bisect_right(tables[j], rank) - 1
    chosen.append(position)
    rank -= tables[j][position]
  return chosen


def _order(chosen: list[int], number: int) -> list[int]:
  """Returns one of the k! orders, chosen by the number."""
  rest, ordered = list(chosen), []
  while rest:
    number, position = divmod(number, len(rest))
    ordered.append(rest.pop(position))
  return ordered


def _parse(record: Mapping[str, Any], catalog: Catalog) -> Combination:
  types = {'id': str, 'setting': str, 'k': int, 'skills': list, 'topic': str}
  for key, kind in types.items():
    if key not in record:
      raise InputError(f'"{key}" is missing')
    if not isinstance(record[key], kind) or isinstance(record[key], bool) or record[key] == '':
      raise InputError(f'"{key}" is {record[key]!r}; {kind.__name__} is needed')
  skills = tuple(record['skills'])
  for name in skills:
    if not isinstance(name, str):
      raise InputError(f'skill {name!r} is not a string')
    catalog.skill(name)
  if not skills or len(set(skills)) < len(skills) or len(skills) != record['k']:
    raise InputError(f'k={record["k"]}, but "skills" has {len(set(skills))} different names')
  topics = catalog.topics['train'] + catalog.topics['held_out']
  if record['topic'] not in topics:
    raise InputError(f'catalog {catalog.name!r} has no topic {record["topic"]!r}{closest(record["topic"], topics)}')
  return Combination(record['id'], record['setting'], record['k'], skills, record['topic'])
