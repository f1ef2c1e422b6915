"""The grader of minimix: exact, and speaking like a hosted one, so that its marks go the same way.

skill     a sentence that parses has the skill's part, and the text does not say the skill's name
topic     every sentence has nouns of the asked topic, and of no other
sense     there is a sentence, and every sentence parses
length    a sentence, and at most max(1, k - 1), or the catalog's own limit
"""

from collections.abc import Sequence

from evals.marking import rubric
from evals.minimix import language
from skillmix_jax.errors import InputError


def points(skills: Sequence[str], topic: str, text: str, limit: int | None = None) -> tuple[int, ...]:
  """k + 3 points of 0 or 1: the skills in their order, topic, sense, length.

  Raises:
    InputError: a skill or the topic is not of this language.
  """
  for name in skills:
    if name not in language.SKILLS:
      raise InputError(f'minimix has no skill {name!r}: the exact grader marks its own catalog only')
  if topic not in language.TOPICS:
    raise InputError(f'minimix has no topic {topic!r}: the exact grader marks its own catalog only')
  sentences = list(language.split_sentences(language.split_words(text)))
  parsed = [language.parse(sentence) for sentence in sentences]
  shown = frozenset().union(*(sentence.skills for sentence in parsed if sentence is not None))
  return (
    *(int(name in shown and name not in text.lower()) for name in skills),
    int(bool(sentences) and all(_topics(sentence) == {topic} for sentence in sentences)),
    int(bool(sentences) and None not in parsed),
    int(0 < len(sentences) <= (limit or max(1, len(skills) - 1))),
  )


def _topics(sentence: Sequence[str]) -> set[str]:
  return {language.TOPIC_OF[word] for word in sentence if word in language.TOPIC_OF}


def grade(skills: Sequence[str], topic: str, text: str, criteria: Sequence[str], limit: int | None = None) -> str:
  """A reply as the grading prompt asks for one: the rubric table with a point for each of the k + 3 criteria."""
  return rubric.format_table(criteria, points(skills, topic, text, limit))
