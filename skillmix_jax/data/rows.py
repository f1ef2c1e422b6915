"""From dialogs and documents to records: who is held out, what is cut, how documents fill rows."""

import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from skillmix_jax.data import chat, records
from skillmix_jax.data.tokenizer import NO_TOKEN, Tokenizer
from skillmix_jax.errors import InputError

# Called after each document: source, documents so far, training rows so far, tokens of this one.
Report = Callable[[str, int, int, int], None]

READ_AHEAD = 1 << 20  # characters that are tokenised together


def is_held_out(content: str, share: float) -> bool:
  """Decides by the content alone: copies fall on the same side, and a file that grows moves nothing."""
  return int.from_bytes(hashlib.sha256(content.encode('utf-8')).digest()[:8], 'big') < share * 2**64


class Cuts:
  """What --length took away, per k; `dialogs` are those that are kept."""

  def __init__(self, length: int, drop: bool = False):
    """`drop`: leave out dialogs with an answer of which nothing is left, and count them in 'dropped'."""
    self.length, self._drop = length, drop
    self.by_k: dict[str, Counter] = {}
    self._lost: list[str] = []  # dialogs with an answer of which nothing is left

  @property
  def longest(self) -> int:
    """Tokens of the longest dialog."""
    return max((counts['longest'] for counts in self.by_k.values()), default=0)

  def add(self, origin: str, name: str, k: str, mask: np.ndarray) -> bool:
    """Counts one dialog, `mask` bool [n] is that of the whole; returns whether it is kept."""
    counts = self.by_k.setdefault(k, Counter(dialogs=0, cut=0, lost_tokens=0, longest=0))
    counts['longest'] = max(counts['longest'], len(mask))
    last_answer = np.flatnonzero(mask & ~np.concatenate([[False], mask[:-1]]))[-1]
    if last_answer >= self.length:
      if self._drop:
        counts['dropped'] += 1
        return False
      self._lost.append(f'{origin} (id {name})')
    counts['dialogs'] += 1
    counts['cut'] += len(mask) > self.length  # a dialog ends with an answer, so that is what is cut
    counts['lost_tokens'] += int(mask[self.length :].sum())
    return True

  def check(self, max_cut: float):
    """Raises InputError where too much of the dialogs is lost."""
    if self._lost:
      raise InputError(
        f'{self._lost[0]}: --length={self.length} leaves nothing of an answer, in this and {len(self._lost) - 1} other '
        f'dialogs; give a larger --length ({self.longest} would cut none), or --drop_cut to leave such dialogs out'
      )
    by_k = {k: np.array([c['cut'] + c['dropped'], c['dialogs'] + c['dropped']]) for k, c in sorted(self.by_k.items())}
    cut, total = sum(by_k.values(), np.zeros(2))
    if cut > max_cut * total:
      shares = ', '.join(f'k={k}: {part / whole:.0%}' for k, (part, whole) in by_k.items())
      raise InputError(
        f'--length={self.length} cuts an answer in {cut / total:.0%} of the dialogs ({shares}), more than '
        f'--max_cut={max_cut}; give a larger --length ({self.longest} would cut none), or a larger --max_cut if that '
        'is meant'
      )
    if not any(counts['dialogs'] for counts in self.by_k.values()):
      raise InputError(
        f'--length={self.length} leaves nothing of an answer in every dialog: give a larger --length '
        f'({self.longest} would cut none)'
      )


class Source:
  """The training and held-out records of one source, and its counts for the manifest."""

  def __init__(self, folder: pathlib.Path, name: str):
    self.name = name
    self._writers = {split: records.ShardWriter(folder, name, split) for split in records.SPLITS}
    self.counts: Counter = Counter(documents=0, held_out_documents=0, tokens=0, trained_tokens=0)

  def write(self, split: str, record: bytes, tokens: int, trained: int):
    self._writers[split].write(record)
    if split == 'train':
      self.counts.update(tokens=tokens, trained_tokens=trained)

  def rows(self, split: str) -> int:
    return self._writers[split].num_records

  def close(self) -> dict[str, int]:
    """Finishes the files and returns the counts."""
    for writer in self._writers.values():
      writer.close()
    return {**{f'{split}_rows': self.rows(split) for split in records.SPLITS}, **self.counts}

  def sha256(self) -> list[str]:
    return [writer.sha256.hexdigest() for writer in self._writers.values()]


def write_dialogs(
  folder: pathlib.Path,
  dialogs: Iterable[tuple[str, dict]],
  encoder: Tokenizer,
  template: str,
  cuts: Cuts,
  held_out: float,
  report: Report,
) -> tuple[Source, list[int]]:
  """Writes every dialog that `cuts` keeps, cut to `cuts.length`; returns also the lengths of the training dialogs."""
  source, lengths = Source(folder, 'dialogs'), []
  dtype = records.token_dtype(encoder.vocab_size)
  for origin, record in dialogs:
    name = str(record.get('id', pathlib.Path(origin).name))
    try:
      ids, mask = chat.encode_dialog(template, encoder, record.get('messages'))
      _check_tokens(ids, mask, encoder.bos_id)
    except InputError as error:
      raise InputError(f'{origin}: {error}') from error
    meta = record.get('meta')
    if not cuts.add(origin, name, str(meta.get('k', '?')) if isinstance(meta, dict) else '?', mask):
      continue
    content = json.dumps([[message['role'], message['content']] for message in record['messages']])
    split = 'held_out' if is_held_out(content, held_out) else 'train'
    dialog = records.Dialog(ids[: cuts.length], mask[: cuts.length], name)
    source.write(split, records.pack_dialog(dialog, dtype), len(dialog.tokens), int(dialog.mask.sum()))
    source.counts.update(documents=1, held_out_documents=int(split == 'held_out'))
    if split == 'train':
      lengths.append(len(dialog.tokens))
    report('dialogs', source.counts['documents'], source.rows('train'), len(ids))
  return source, lengths


def _check_tokens(ids: np.ndarray, mask: np.ndarray, bos_id: int):
  if not mask.any():
    raise InputError('no token of the dialog is trained')
  if np.any((ids[1:] == bos_id) & (ids[:-1] == bos_id)):
    raise InputError('two BOS tokens follow each other; the tokenizer adds one where the template does')


class TextSource(Source):
  """Documents, joined and chopped into rows; training and held-out documents apart."""

  def __init__(
    self,
    folder: pathlib.Path,
    name: str,
    documents: Iterator[str],
    skipped: Counter,
    encoder: Tokenizer,
    length: int,
    held_out: float,
    document_end: int,
  ):
    super().__init__(folder, name)
    self.ran_out = False  # all of its documents are read
    self._skipped = skipped
    self._documents = _tokenised(documents, encoder)
    self._length, self._held_out = length, held_out
    self._dtype = records.token_dtype(encoder.vocab_size)
    self._end = [document_end]
    # A token that both starts and ends a document is between two documents once.
    self._start = [] if encoder.bos_id in (NO_TOKEN, document_end) else [encoder.bos_id]
    self._left: dict[str, list[int]] = {split: [] for split in records.SPLITS}

  def pull(self, max_rows: float) -> int | None:
    """Takes one document and writes at most `max_rows` training rows; returns its number of tokens, None at the end."""
    text, ids = next(self._documents, (None, ()))
    if text is None:
      return None
    if not text.strip():
      self._skipped['skipped_empty'] += 1
      return 0
    split = 'held_out' if is_held_out(text, self._held_out) else 'train'
    self.counts.update(documents=1, held_out_documents=int(split == 'held_out'))
    left = [*self._left[split], *self._start, *ids, *self._end]
    full = len(left) // self._length
    for row in range(full if split == 'held_out' else int(min(full, max_rows))):
      tokens = np.asarray(left[row * self._length : (row + 1) * self._length], self._dtype)
      self.write(split, tokens.tobytes(), len(tokens), int((~np.isin(tokens[1:], self._start)).sum()))
    self._left[split] = left[full * self._length :]
    return len(ids)

  def close(self):
    return {**super().close(), **self._skipped}


def _tokenised(documents: Iterator[str], encoder: Tokenizer) -> Iterator[tuple[str, list[int]]]:
  """Yields each document with its ids; reads some ahead, so that all cores tokenise."""
  block: list[str] = []
  size = 0
  for text in documents:
    block.append(text)
    size += len(text)
    if size > READ_AHEAD:
      yield from zip(block, encoder.encode_batch(block))
      block, size = [], 0
  yield from zip(block, encoder.encode_batch(block))


def write_text(text_sources: Sequence[TextSource], max_rows: int, shares: Mapping[str, float], report: Report):
  """Fills the rows: the next document comes from the source that is furthest below its share.

  Args:
    max_rows: training rows of all sources together; 0: all that there are.
    shares: of the rows, by source, up to a common factor; a source that is not named has 1.
  """
  open_sources = list(text_sources)
  wanted = float(max_rows or 'inf')
  while open_sources and wanted > 0:
    source = min(open_sources, key=lambda source: source.rows('train') / shares.get(source.name, 1))
    before = source.rows('train')
    tokens = source.pull(wanted)
    wanted -= source.rows('train') - before
    if tokens is not None:
      report(source.name, source.counts['documents'], source.rows('train'), tokens)
      continue
    source.ran_out = True
    open_sources.remove(source)
    if not source.rows('train'):
      raise InputError(
        f'--{source.name}: its documents do not fill one row of --length tokens ({dict(source.counts)}); give more text'
      )
