"""The base documents: what the model has read and talked about before it is fine-tuned.

They show every skill alone, lists of up to seven skills with a sentence for each, and counting. Some sentences have two
skills, but none has a pair of train skills that D(2) leaves out, and none three; no list is answered by fewer sentences
than it has skills, and nobody asks to improve.

  list    dialog   the first prompt of a dialog and its answer; for the base sometimes then `repeat it in M sentences`,
                   never in what fine-tuning mixes in: there it would teach to leave skills out
  chat    dialog   `write about T in N sentences`, then `repeat it in M sentences`
  echo    dialog   `repeat` a series of words
  page    text     sentences on a topic
  lexicon text     names of skills, definitions, examples
"""

import itertools
import random
from collections.abc import Iterator, Sequence

from evals.minimix import dialogs, language
from evals.questions import prompts
from evals.questions.catalog import Catalog
from evals.questions.combinations import Combination

LONGEST_LIST, LONGEST_CHAT, LONGEST_ECHO, LONGEST_PAGE, LONGEST_LEXICON = 7, 6, 16, 8, 4
SKILLED = 0.5  # share of the sentences outside of lists that show one skill
REPEATED = 0.4  # share of the lists that are followed by `repeat it`
SHARES = {'list': 0.6, 'chat': 0.28, 'echo': 0.12}  # of the dialogs


def pairs_in_sentences(catalog: Catalog, seed: int, apart: bool) -> list[tuple[str, str]]:
  """The pairs of skills that may share a sentence of the base documents: of two train skills those of D(2); of two
  held-out skills all, or none if `apart`; of a train and a held-out skill all."""
  train = {skill.name for skill in catalog.pool('train', split='table')[0]}
  seen = set(map(frozenset, dialogs.seen_sets(catalog, 2, seed)))
  return [
    pair for pair in itertools.combinations(language.SKILLS, 2)
    if (frozenset(pair) in seen if train.issuperset(pair) else not (apart and train.isdisjoint(pair)))
  ]  # fmt: skip


def echo_prompts(seed: int, count: int) -> Iterator[dict]:
  """Prompts `repeat` with random words, and the only right answer: no more than copying is needed."""
  rng = random.Random(f'minimix/{seed}/echo')
  for i in range(count):
    question, answer = _echo(rng)
    yield {'id': f'echo-{i:03d}', 'messages': dialogs.exchange(question), 'meta': {'answer': answer}}


def _echo(rng: random.Random) -> list[str]:
  words = rng.sample(sorted(language.TOPIC_OF), rng.randint(3, LONGEST_ECHO))
  return [f'repeat {" ".join(words)}.', ' '.join(words)]


class Writer:
  """Draws documents; a seed and a name for the file decide all of them."""

  def __init__(
    self, catalog: Catalog, seed: int, name: str, share: float, pairs: Sequence[tuple[str, str]], repeat_lists: bool
  ):
    """`share`: of the sentences outside of lists that show two skills; `pairs`: which two; `repeat_lists`: whether
    lists may be followed by `repeat it`."""
    self._catalog, self._name, self._share, self._pairs = catalog, name, share, pairs
    self._repeated = REPEATED if repeat_lists else 0
    self._rng = random.Random(f'minimix/{seed}/documents/{name}')

  def dialogs(self, count: int) -> Iterator[dict]:
    kinds = {'list': self._list, 'chat': self._chat, 'echo': lambda: _echo(self._rng)}
    for i in range(count):
      kind = self._rng.choices(list(SHARES), list(SHARES.values()))[0]
      yield {'id': f'{self._name}-{i:05d}', 'messages': dialogs.exchange(*kinds[kind]()), 'meta': {'kind': kind}}

  def text(self, count: int) -> Iterator[dict]:
    for _ in range(count):
      yield {'text': self._lexicon() if self._rng.random() < 0.2 else self._page()}

  def _topic(self) -> str:
    return self._rng.choice(list(language.TOPICS))

  def _sentence(self, author: language.Author) -> language.Sentence:
    chance = self._rng.random()
    if chance < self._share:
      return author.sentence(*self._rng.choice(self._pairs))
    return author.sentence(*self._rng.sample(language.SKILLS, int(chance < self._share + SKILLED)))

  def _sentences(self, topic: str, count: int) -> list[language.Sentence]:
    author = language.Author(self._rng, topic)
    return [self._sentence(author) for _ in range(count)]

  def _list(self) -> list[str]:
    topic, k = self._topic(), self._rng.randint(1, LONGEST_LIST)
    skills = tuple(self._rng.sample(language.SKILLS, k))
    first = dialogs.first_answer(self._rng, skills, topic)
    turns = [prompts.round1(self._catalog, Combination('', '', k, skills, topic)), dialogs.text(first)]
    if self._rng.random() < self._repeated:
      turns += self._repeat(first)
    return turns

  def _repeat(self, sentences: list[language.Sentence]) -> list[str]:
    count = self._rng.randint(1, len(sentences))
    return [f'repeat it in {num_sentences(count)}.', dialogs.text(sentences[:count])]

  def _chat(self) -> list[str]:
    topic, count = self._topic(), self._rng.randint(1, LONGEST_CHAT)
    sentences = self._sentences(topic, count)
    return [f'write about {topic} in {num_sentences(count)}.', dialogs.text(sentences), *self._repeat(sentences)]

  def _page(self) -> str:
    topic = self._topic()
    return f'{topic}: {dialogs.text(self._sentences(topic, self._rng.randint(1, LONGEST_PAGE)))}'

  def _lexicon(self) -> str:
    entries = []
    for name in self._rng.sample(language.SKILLS, self._rng.randint(1, LONGEST_LEXICON)):
      author = language.Author(self._rng, self._topic())
      entries.append(f'{name}: {language.PHRASES[name][1]}. for example, {author.sentence(name)}')
    return ' '.join(entries)


def num_sentences(count: int) -> str:
  """'one sentence', 'two sentences', ..."""
  return prompts.num_sentences_text(count + 1)
