"""The dialogs D(k): a first answer with a sentence for each skill, and an improved one that is a sentence shorter.

The second answer has the first two sentences of the first merged into one and the others word for word. So D(1)
shows merging and shortening too: its first answer has the skill's sentence and a plain one. What only D(2) and D(3)
show is two skills in one sentence. Where the catalog asks for one sentence the second answer has all of them merged.

Half of the pairs and half of the triples of train skills never enter a dialog: these are the unseen ones. It is the
exact set of skills that counts, so a triple of D(3) may contain an unseen pair. But its first two skills, those that
share a sentence, are always a seen pair: no sentence of any D(k) holds two skills whose pair is unseen. (With one
sentence for all three it may.)
"""

import functools
import itertools
import random
from collections.abc import Iterator, Sequence

from evals.minimix import language
from evals.questions import prompts
from evals.questions.catalog import Catalog
from evals.questions.combinations import Combination

SIZES = {1: 4000, 2: 6200, 3: 3600}  # dialogs of D(k), as many as the paper has (C.1)


def seen_sets(catalog: Catalog, k: int, seed: int) -> list[tuple[str, ...]]:
  """The sets of skills that D(k) is made of: all single skills, half of the pairs and triples of train skills."""
  skills = [skill.name for skill in catalog.pool('generate', split='table', k=k)[0]]
  sets = list(itertools.combinations(skills, k))
  if k == 1:
    return sets
  rng = random.Random(f'minimix/{seed}/seen/{k}')
  if k == 3:
    pairs = set(seen_sets(catalog, 2, seed))
    candidates = [skills for skills in sets if pairs.intersection(itertools.combinations(skills, 2))]
  else:
    candidates = sets
  return sorted(rng.sample(candidates, len(sets) // 2))


def draw(catalog: Catalog, k: int, count: int, seed: int) -> Iterator[dict]:
  """The dialogs of D(k), as evals.select writes them; every set comes equally often, give or take one."""
  rng = random.Random(f'minimix/{seed}/dialogs/{k}')
  sets, topics = seen_sets(catalog, k, seed), catalog.pool('generate', split='table', k=k)[1]
  pairs = set(seen_sets(catalog, 2, seed))
  for i in range(count):
    if i % len(sets) == 0:
      rng.shuffle(sets)
    skills = _order(rng, sets[i % len(sets)], pairs)
    combination = Combination(f'minimix-d{k}-{i:05d}', 'generate', k, skills, rng.choice(topics))
    yield _dialog(rng, catalog, combination)


def _order(rng: random.Random, skills: tuple[str, ...], pairs: set[tuple[str, ...]]) -> tuple[str, ...]:
  """A random order; of three skills the first two are a seen pair."""
  if len(skills) < 3:
    return tuple(rng.sample(skills, len(skills)))
  first = rng.choice([pair for pair in itertools.combinations(skills, 2) if pair in pairs])
  return (*rng.sample(first, 2), *(skill for skill in skills if skill not in first))


def _dialog(rng: random.Random, catalog: Catalog, combination: Combination) -> dict:
  limit = prompts.limit(catalog, combination.k)
  first, second = answers(rng, combination.skills, combination.topic, limit)
  messages = exchange(prompts.round1(catalog, combination), first, prompts.round2(catalog, combination), second)
  meta = {'k': combination.k, 'skills': list(combination.skills), 'topic': combination.topic}
  return {'id': combination.id, 'messages': messages, 'meta': meta | {'setting': combination.setting}}


def exchange(*contents: str) -> list[dict[str, str]]:
  """Messages of user and assistant in turn."""
  return [{'role': role, 'content': content} for role, content in zip(itertools.cycle(['user', 'assistant']), contents)]


def text(sentences: Sequence[language.Sentence]) -> str:
  return ' '.join(map(str, sentences))


def first_answer(rng: random.Random, skills: Sequence[str], topic: str) -> list[language.Sentence]:
  """A sentence for each skill, in their order; a single skill has a plain sentence before or after it."""
  author = language.Author(rng, topic)
  if len(skills) == 1:
    return rng.sample([author.sentence(*skills), author.sentence()], 2)
  return [author.sentence(skill) for skill in skills]


def answers(rng: random.Random, skills: Sequence[str], topic: str, limit: int) -> tuple[str, str]:
  """Both answers of a dialog; the second has `limit` sentences."""
  first = first_answer(rng, skills, topic)
  num_merged = len(first) - limit + 1
  return text(first), text([functools.reduce(language.merge, first[:num_merged]), *first[num_merged:]])
