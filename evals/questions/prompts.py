"""The prompts of appendix G, filled in: equal to the paper's text up to blanks and quotes."""

import functools
import re
from collections.abc import Callable, Sequence

from evals.questions.catalog import Catalog, Skill
from evals.questions.combinations import Combination
from skillmix_jax.errors import InputError

Swap = tuple[int, Skill]  # the skill at this position is replaced by a decoy in all that the grader is shown

_NUMBERS = (
  'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve',
)  # fmt: skip


_ANSWER = re.compile(r'\*\*Answer:\*\*|\*\*Answer\*\*:|__Answer:__|__Answer__:|Answer:')
_EXPLANATION = re.compile(r'(?:\*\*|__|#{1,6} )?Explanation')


def num_sentences(k: int) -> int:
  """The longest text that earns the length point: max(1, k - 1) sentences."""
  return max(1, k - 1)


def limit(catalog: Catalog, k: int) -> int:
  """The same, in a catalog that may have a limit of its own."""
  return catalog.revised_sentences or num_sentences(k)


def num_sentences_text(k: int) -> str:
  """'one sentence' for k = 1 and 2, 'two sentences' for k = 3; digits beyond twelve."""
  return _sentences(num_sentences(k))


def limit_text(catalog: Catalog, k: int) -> str:
  """`limit` in words."""
  return _sentences(limit(catalog, k))


def _sentences(number: int) -> str:
  word = _NUMBERS[number] if number < len(_NUMBERS) else str(number)
  return f'{word} sentence' if number == 1 else f'{word} sentences'


def round1(catalog: Catalog, combination: Combination) -> str:
  """The student's first prompt."""
  fields = _fields(catalog, combination) | {'num_sentences_str': num_sentences_text(combination.k)}
  return catalog.prompts['student_round1'].format(**fields)


def round2(catalog: Catalog, combination: Combination) -> str:
  """The student's second prompt, which asks for an improved text and names the limit."""
  return catalog.prompts['student_round2'].format(**_fields(catalog, combination))


def grading(
  catalog: Catalog, combination: Combination, text: str, template: str = 'grade', swap: Swap | None = None
) -> str:
  """The grader's prompt for a student's text; braces in the text are text.

  Raises InputError if the catalog has no such template.
  """
  if not template.startswith('grade') or template not in catalog.prompts:
    known = ', '.join(name for name in catalog.prompts if name.startswith('grade'))
    raise InputError(f'grading_prompt {template!r} is not one of catalog {catalog.name!r}: {known}')
  items = ', '.join(rubric(catalog, combination, swap))
  fields = _fields(catalog, combination, swap)
  return catalog.prompts[template].format(**fields, rubric_items=items, student_answer=text)


def rubric(catalog: Catalog, combination: Combination, swap: Swap | None = None) -> list[str]:
  """The k + 3 criteria: the skills in the combination's order, topic, sense, length."""
  names = [skill.name.strip().lower() for skill in _skills(catalog, combination, swap)]
  return [
    *(f'Correctly illustrates {name}' for name in names),
    f'Pertains to {combination.topic}',
    'Text makes sense',
    f'At most {limit_text(catalog, combination.k)}',
  ]


def lengths(write: Callable[[Combination], str]) -> Callable[[Combination], int]:
  """Returns combination -> len(write(combination)) for a `write` that fills in one of these prompts.

  Writes a prompt for each skill, topic and k, and no others: with k given, each skill and the topic have their share of
  a prompt's length, whatever the others are.
  """
  any_topic, any_skill = '', ''
  rest: dict[int, int] = {}  # k -> length beside these shares

  @functools.cache
  def of_skill(name: str) -> int:
    return len(write(Combination('', '', 1, (name,), any_topic)))

  @functools.cache
  def of_topic(topic: str) -> int:
    return len(write(Combination('', '', 1, (any_skill,), topic)))

  def length(combination: Combination) -> int:
    nonlocal any_topic, any_skill
    any_topic, any_skill = any_topic or combination.topic, any_skill or combination.skills[0]
    shares = sum(map(of_skill, combination.skills)) + of_topic(combination.topic)
    if combination.k not in rest:
      rest[combination.k] = len(write(combination)) - shares
    return rest[combination.k] + shares

  return length


def extract_text(answer: str) -> str:
  """Returns the text in an answer: after the last 'Answer:', up to 'Explanation', stripped.

  That is the authors' rule; marks of bold type and of headings around the two words are not of the text either.
  """
  return _EXPLANATION.split(_ANSWER.split(answer)[-1])[0].strip()


def _skills(catalog: Catalog, combination: Combination, swap: Swap | None) -> Sequence[Skill]:
  skills = [catalog.skill(name) for name in combination.skills]
  if swap is not None:
    position, decoy = swap
    skills[position] = decoy
  return skills


def _fields(catalog: Catalog, combination: Combination, swap: Swap | None = None) -> dict[str, str]:
  skills = _skills(catalog, combination, swap)
  return {
    'topic': combination.topic,
    'skills_str': ', '.join(skill.name for skill in skills),
    'skills_defs_and_examples_simple': '\n'.join(
      f'**{skill.name}**: {skill.definition} For example, {skill.example}' for skill in skills
    ),
    'num_sentences_str': limit_text(catalog, combination.k),
  }
