"""Which skills share a sentence in what a model is trained on, read from the files themselves."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from evals import files
from evals.minimix import language

Skills = frozenset[str]


def sentences(paths: Iterable[Path]) -> Iterator[Skills]:
  """The skills of every sentence that is trained on: answers of dialogs, and texts."""
  for path in paths:
    for _, record in files.read_jsonl(path):
      turns = record.get('messages', [])
      texts = (
        [record['text']] if 'text' in record else [turn['content'] for turn in turns if turn['role'] == 'assistant']
      )
      for text in texts:
        for words in language.split_sentences(language.split_words(text)):
          if (sentence := language.parse(_without_heading(words))) is not None:
            yield sentence.skills


def _without_heading(words: list[str]) -> list[str]:
  """Without `TOPIC :` at the head of a page and `for example ,` in a lexicon."""
  words = words[words.index(':') + 1 :] if ':' in words else words
  return words[3:] if words[:3] == ['for', 'example', ','] else words


def sharing(paths: Iterable[Path]) -> Counter[Skills]:
  """Pairs and triples of skills, and in how many sentences all of them are."""
  counts: Counter[Skills] = Counter()
  for skills, count in Counter(sentences(paths)).items():
    for size in (2, 3):
      for together in itertools.combinations(sorted(skills), size):
        counts[frozenset(together)] += count
  return counts


def pairs(skills: Collection[str]) -> set[Skills]:
  """All pairs of some skills."""
  return set(map(frozenset, itertools.combinations(skills, 2)))
