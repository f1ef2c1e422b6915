"""The dialogs D(k): a first answer with a sentence for each skill, and an improved one that is a sentence shorter.

The second answer has the first two sentences of the first merged into one and the others word for word. So D(1)
shows merging and shortening too: its first answer has the skill's sentence and a plain one. What only D(2) and D(3)
show is two skills in one sentence.

Half of the pairs and half of the triples of train skills never enter a dialog. It is the exact set of skills that is
seen or unseen: a triple that enters may contain a pair that does not.
"""

import itertools
import random
from collections.abc import Iterator, Sequence

from evals import prompts
from evals.catalog import Catalog
from evals.combinations import Combination
from evals.minimix import language

SIZES = {1: 4000, 2: 6200, 3: 3600}  # dialogs of D(k), as many as the paper has (C.1)


def seen_sets(catalog: Catalog, k: int, seed: int) -> list[tuple[str, ...]]:
  """The sets of skills that D(k) is made of: all single skills, half of the pairs and triples of train skills."""
  skills = [skill.name for skill in catalog.pool('generate', split='table', k=k)[0]]
  sets = list(itertools.combinations(skills, k))
  if k == 1:
    return sets
  rng = random.Random(f'minimix/{seed}/seen/{k}')
  return sorted(rng.sample(sets, len(sets) // 2))


def draw(catalog: Catalog, k: int, count: int, seed: int) -> Iterator[dict]:
  """The dialogs of D(k), as evals.select writes them; every set comes equally often, give or take one."""
  rng = random.Random(f'minimix/{seed}/dialogs/{k}')
  sets, topics = seen_sets(catalog, k, seed), catalog.pool('generate', split='table', k=k)[1]
  for i in range(count):
    if i % len(sets) == 0:
      rng.shuffle(sets)
    skills = tuple(rng.sample(sets[i % len(sets)], k))
    combination = Combination(f'minimix-d{k}-{i:05d}', 'generate', k, skills, rng.choice(topics))
    yield _dialog(rng, catalog, combination)


def _dialog(rng: random.Random, catalog: Catalog, combination: Combination) -> dict:
  first, second = answers(rng, combination.skills, combination.topic)
  messages = exchange(prompts.round1(catalog, combination), first, prompts.round2(catalog, combination), second)
  meta = {'k': combination.k, 'skills': list(combination.skills), 'topic': combination.topic}
  return {'id': combination.id, 'messages': messages, 'meta': meta | {'setting': combination.setting}}


def exchange(*contents: str) -> list[dict[str, str]]:
  """Messages of user and assistant in turn."""
  return [{'role': role, 'content': content} for role, content in zip(itertools.cycle(['user', 'assistant']), contents)]


def text(sentences: Sequence[language.Sentence]) -> str:
  return ' '.join(map(str, sentences))


def first_answer(rng: random.Random, skills: Sequence[str], topic: str) -> list[language.Sentence]:
  """A sentence for each skill, in their order; a single skill has a plain sentence in front or behind."""
  author = language.Author(rng, topic)
  if len(skills) == 1:
    return rng.sample([author.sentence(*skills), author.sentence()], 2)
  return [author.sentence(skill) for skill in skills]


def answers(rng: random.Random, skills: Sequence[str], topic: str) -> tuple[str, str]:
  """Both answers of a dialog."""
  first = first_answer(rng, skills, topic)
  return text(first), text([language.merge(*first[:2]), *first[2:]])
