"""The samples of the page as JSON: all, or every disagreement and a random part; and what fits of the raw replies."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.marking.marks import OTHERS
from evals.page.view import Exchange, RunView, labels
from evals.results.graded import GradedText

MANY = 5_000  # more samples than this are not all embedded
RANDOM_PART = 1_000  # of those whose votes agree
TEXT_LIMITS = (2_000, 800, 300)  # characters of a graded text; the first that fits is taken
RAW_LIMIT = 6_000  # characters of a prompt or reply
PAGE_BYTES = 4_700_000  # what the page should not pass
MIN_RAW_BYTES = 300_000  # for raw replies, even where the samples alone fill the page

# Parts of a prompt that the page puts together itself; they stand for negative numbers in its JSON.
_TEXT, _SKILLS, _TOPIC, _RUBRIC = -1, -2, -3, -4


@dataclass(frozen=True)
class Sample:
  """A graded text and the index of its run."""

  run: int
  graded: GradedText

  @property
  def disagrees(self) -> bool:
    """Whether its votes differ on any criterion."""
    return len({vote for vote in self.graded.votes if vote}) > 1


def to_json(value: Any) -> str:
  """JSON that cannot end a <script> and holds no control, format or surrogate character."""
  text = json.dumps(value, ensure_ascii=False, separators=(',', ':'), allow_nan=False)
  escape = lambda match: ''.join(f'\\u{unit:04x}' for unit in _units(match.group()))
  return _UNSAFE.sub(escape, text)


# `<` could end the element; DEL and C1, surrogates, and the format characters of Unicode (category Cf) could hide.
_UNSAFE = re.compile(
  '[<\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff'
  '\ufff9-\uffff\U000e0000-\U000e007f]'
)


def _units(character: str) -> list[int]:
  data = character.encode('utf-16-be', 'surrogatepass')
  return [int.from_bytes(data[i : i + 2], 'big') for i in range(0, len(data), 2)]


def choose(samples: Sequence[Sample], seed: int) -> list[Sample]:
  """All, or where there are more than MANY: every disagreement and a random part of the rest, in the old order."""
  if len(samples) <= MANY:
    return list(samples)
  agreeing = [i for i, sample in enumerate(samples) if not sample.disagrees]
  drawn = np.random.default_rng(seed).permutation(len(agreeing))[:RANDOM_PART]
  kept = {agreeing[i] for i in drawn}
  return [sample for i, sample in enumerate(samples) if sample.disagrees or i in kept]


def embed(runs: Sequence[RunView], seed: int = 0, used_bytes: int = 0) -> str:
  """The JSON for the page, small enough that the page stays under PAGE_BYTES if it can.

  Args:
    runs: whose samples.
    seed: of the random part, and of which samples bring their raw replies where not all fit.
    used_bytes: size of the rest of the page.
  """
  everything = [Sample(i, text) for i, run in enumerate(runs) for text in run.texts]
  chosen = choose(everything, seed)
  for limit in TEXT_LIMITS:
    core = _core(runs, chosen, limit)
    size = len(to_json(core).encode())
    if used_bytes + size + MIN_RAW_BYTES <= PAGE_BYTES:
      break
  core |= {'total': len(everything), 'disagreements': sum(s.disagrees for s in everything), 'seed': seed}
  room = max(MIN_RAW_BYTES, PAGE_BYTES - used_bytes - size)
  core |= _raw_part(runs, chosen, core['samples'], room, seed)
  return to_json(core)


def _core(runs: Sequence[RunView], chosen: Sequence[Sample], limit: int) -> dict[str, Any]:
  """Everything but raw replies; a sample is a list, in the order that page.js names."""
  skills: dict[str, int] = {}
  topics: dict[str, int] = {}
  settings: dict[str, int] = {}
  number = lambda names, name: names.setdefault(name, len(names))
  samples = []
  for sample in chosen:
    graded, decoy = sample.graded, sample.graded.decoy
    samples.append([
      sample.run, graded.combination, graded.generation, number(settings, graded.setting), graded.k,
      [number(skills, name) for name in graded.skills], number(topics, graded.topic),
      graded.text[:limit], max(0, len(graded.text) - limit),
      [''.join(map(str, vote)) if vote else 0 for vote in graded.votes],
      [reason[:300] for reason in graded.reasons],
      ''.join(map(str, graded.points)) if graded.points else 0,
      graded.marks.full_marks if graded.marks else None, graded.num_sentences,
      ''.join(str(int(flag)) for flag in graded.named),
      [decoy.position, number(skills, decoy.skill), decoy.point] if decoy else 0,
      -1,
    ])  # fmt: skip
  names = [
    {'name': _unique(runs, i), 'label': label, 'grader': run.grader}
    for i, (run, label) in enumerate(zip(runs, labels(runs)))
  ]
  return {
    'runs': names, 'skills': list(skills), 'topics': list(topics), 'settings': list(settings), 'samples': samples,
    'criteria': OTHERS, 'limit': limit, 'rawLimit': RAW_LIMIT,
  }  # fmt: skip


def _unique(runs: Sequence[RunView], i: int) -> str:
  """A run's name for links, with its place where two folders are named alike."""
  name = runs[i].name
  return name if sum(run.name == name for run in runs) == 1 else f'{name}~{i + 1}'


def _raw_part(runs, chosen: Sequence[Sample], rows: list[list], room: int, seed: int) -> dict[str, Any]:
  """Prompts and replies of as many samples as there is room for, spread evenly over runs, settings and ks."""
  written: list[tuple[int, dict]] = []
  counts: Counter[str] = Counter()
  size = 0
  for index in _spread(chosen, seed):
    sample = chosen[index]
    raw = runs[sample.run].raw(sample.graded.combination, sample.graded.generation)
    parts = _parts(raw, sample.graded, rows[index])
    lines = [part for text in _texts(parts) for part in text if isinstance(part, str)]
    cost = sum(len(to_json(line).encode()) + 1 for line in lines if line not in counts) + 8 * len(lines) + 40
    if size + cost > room:
      break
    size += cost
    counts.update(lines)
    written.append((index, parts))
  numbers = {line: i for i, line in enumerate(line for line, count in counts.items() if count > 1)}
  short = lambda text: [numbers.get(part, part) if isinstance(part, str) else part for part in text]
  details: list[dict] = []
  for index, parts in written:
    rows[index][-1] = len(details)
    details.append(
      {name: [short(v) if v else 0 for v in p] if name == 'votes' else short(p) for name, p in parts.items()}
    )
  return {'strings': list(numbers), 'details': details}


def _spread(chosen: Sequence[Sample], seed: int) -> Iterable[int]:
  """Indices in a seeded order: one of each (run, setting, k), then the next of each."""
  groups = defaultdict(list)
  for i in np.random.default_rng([seed, 1]).permutation(len(chosen)).tolist():
    sample = chosen[i]
    groups[sample.run, sample.graded.setting, sample.graded.k].append(i)
  queues = [groups[name] for name in sorted(groups)]
  for position in range(max(map(len, queues), default=0)):
    yield from (queue[position] for queue in queues if position < len(queue))


def _parts(raw: Exchange, graded: GradedText, sample: list) -> dict[str, Any]:
  """Every prompt and reply as lines and numbers; a number < 0 stands for what the page knows, a pair for a cut."""
  rubric = ', '.join(f'Correctly illustrates {name.strip().lower()}' for name in graded.skills)
  known = {_SKILLS: ', '.join(graded.skills), _TOPIC: graded.topic}
  if rubric.isascii():  # else JavaScript's lower case might be another
    known[_RUBRIC] = rubric
  text = {_TEXT: graded.text} if sample[8] == 0 else {}
  return {
    'round1': _split(raw.round1, known),
    'answer1': _split(raw.answer1, {}),
    'round2': _split(raw.round2, known),
    'answer2': _split(raw.answer2, text),
    'grading': _split(raw.grading, text | known),
    'votes': [_split(reply, {}) if reply is not None else None for reply in raw.votes],
  }


def _split(text: str, known: dict[int, str]) -> list:
  parts: list = [text[:RAW_LIMIT]]
  for number, value in known.items():
    if len(value) >= 4:
      parts = [new for part in parts for new in (_cut_out(part, value, number) if isinstance(part, str) else [part])]
  lines = [line for part in parts for line in (part.splitlines(keepends=True) if isinstance(part, str) else [part])]
  return lines + ([[len(text) - RAW_LIMIT]] if len(text) > RAW_LIMIT else [])


def _cut_out(text: str, value: str, number: int) -> list:
  pieces = text.split(value)
  joined = [new for piece in pieces for new in (number, piece)][1:]
  return [part for part in joined if part != '']


def _texts(parts: dict) -> Iterable[list]:
  for name, part in parts.items():
    yield from (vote for vote in part if vote) if name == 'votes' else [part]
