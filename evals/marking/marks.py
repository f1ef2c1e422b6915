"""From points to the paper's three metrics (appendix C.3 and H): sentences, names said aloud, votes, generations."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence

# The points of a text are one for each of its k skills, then these.
OTHERS = ('topic', 'sense', 'length')

# The first are never the end of a sentence; the others, and initials, are where a word follows that begins sentences.
_NEVER_LAST = re.compile(r'mr|mrs|ms|mx|dr|prof|vs|e\.g|i\.e|eg|ie|cf|viz|approx')
_MAYBE_LAST = re.compile(
  r'etc|inc|ltd|co|corp|jr|sr|ph\.d|st|mt|gen|sen|rep|capt|lt|col|sgt|rev|hon|gov|pres|fr|'
  r'(?![ia]$)[^\W\d_](?:\.[^\W\d_])*'
)
_STARTERS = re.compile(
  'a|after|all|an|and|another|as|at|but|by|did|do|does|for|from|he|her|here|his|how|however|i|if|in|is|it|its|let|many|'
  'meanwhile|my|no|not|now|of|on|one|or|our|she|since|so|some|still|such|that|the|their|then|there|therefore|these|they|'
  'this|those|thus|to|was|we|were|what|when|where|while|who|why|with|yes|yet|you|your|'
  r"(?:he|i|it|she|that|there|they|we|what|who|you|let)['’](?:d|ll|m|re|s|ve)|[a-z]+n['’]t"
)
_END = re.compile(
  r"""(?P<blank>\s?)(?<![.!?…])(?P<mark>[.!?…]++)(?P<close>["'”’»)\]*_]*+)(?=\s|$)   # ends a word, or is a token itself
  |(?<=[a-z])(?P<tight>[.!?]["'”’]*)(?=["'“‘]?[A-Z][a-z])   # no blank after it: 'sense.The'
  |(?P<wide>[。！？]+)   # scripts that put no blank between sentences
  |(?P<paragraph>\n\s*\n)""",
  re.VERBOSE,
)
_WORD = re.compile(r'[^\W_]')
_FOLLOWING = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_BEFORE_A_WORD = '([“‘"\'*_'
_SPACED_ELLIPSIS = re.compile(r'\.(?:[ \t]\.){2,}')


def count_sentences(text: str) -> int:
  """Counts the sentences of a text; an unfinished last one counts, a text without a letter or digit has none.

  The authors' code counts 1 + matches of `[.!?]['"]* ['"]*[A-Z]` after removing the blank after five titles. Ours
  differs where that rule errs: the end of a sentence may be followed by a line break, by curly quotes, by a
  lower-case word ('One. two.') or, in languages with blanks between all tokens, be a token of its own ('boats .
  rowers saw'); initials and abbreviations (U.S. Army, e.g., p.m.) end a sentence only before a word that often begins
  one; a paragraph ends a sentence; an empty text has 0 sentences, not 1. An ellipsis, and a mark within closing
  quotes or brackets, end a sentence only before a capital ('"Really?" she said' is one). A quotation before a name
  ('"Stop!" Ann said.') is
  counted as two, as in the authors' code.
  """
  text = _SPACED_ELLIPSIS.sub('…', text.strip())
  count = begin = 0
  word, following = _WORD.search(text), _FOLLOWING.search(text)  # the first of the sentence, and after its end
  for match in _END.finditer(text):
    if word is None or word.start() >= match.start():
      continue
    if following is not None and following.start() < match.end():
      following = _FOLLOWING.search(text, match.end())
    if _is_end(text, begin, word.start(), match, following):
      count += 1
      begin = match.end()
      word = _WORD.search(text, begin)
  return count + (word is not None)


def _is_end(text: str, begin: int, word: int, match: re.Match, following: re.Match | None) -> bool:
  """Whether a sentence from `begin`, whose first word starts at `word`, ends here."""
  if match['mark'] is None or following is None:
    return True
  is_lower = following[0][0].islower()
  mark, close = match['mark'], match['close']
  if mark == '…' or (set(mark) == {'.'} and len(mark) > 1):
    return not is_lower
  if match['blank']:
    return True
  if is_lower and close:
    return False
  if mark != '.' or close.strip(')*_'):
    return True
  return _ends_at_stop(text, begin, word, match.start(), following[0])


def _ends_at_stop(text: str, begin: int, word: int, end: int, following: str) -> bool:
  """Says whether a single full stop at `end` ends its sentence, and does not just abbreviate the last word."""
  start = end
  while start > begin and not (text[start - 1].isspace() or text[start - 1] in _BEFORE_A_WORD):
    start -= 1
  last = text[start:end].casefold()
  if _NEVER_LAST.fullmatch(last):
    return False
  if last == 'no' and following[0].isdigit():
    return False
  if last.isdigit() and word >= start:  # the number of an item: '2. Stir.'
    return False
  if _MAYBE_LAST.fullmatch(last):
    return following[0].isupper() and _STARTERS.fullmatch(following.casefold()) is not None
  return True


def named_skills(text: str, names: Sequence[str]) -> tuple[bool, ...]:
  """Says for each skill whether its name, without text in brackets, occurs in the text: the authors' substring rule.

  It finds 'dilemma' in 'dilemmas' and misses 'self-regulate your emotions'. A name of nothing but brackets is never
  said aloud.
  """
  said = [name.split('(')[0].strip().lower() for name in names]
  return tuple(bool(name) and name in text.lower() for name in said)


def adjust(
  points: Sequence[int],
  k: int,
  *,
  num_sentences_found: int,
  limit: int,
  named: Sequence[bool],
  length: str = 'count',
  name_filter: bool = True,
) -> tuple[int, ...]:
  """Returns the points of a text after the counter and the name rule.

  Args:
    points: k skills, topic, sense, length: 0 or 1 each, by the grader.
    k: number of skills.
    num_sentences_found: `count_sentences` of the text.
    limit: the most sentences that earn the length point.
    named: `named_skills` of the text, one per skill.
    length: 'count' puts the counter's verdict in the place of the grader's length point, as the authors' code does;
      'grader' keeps the grader's. A text of no sentence earns none either way.
    name_filter: a skill that is named in the text earns nothing, the paper's harder variant.
  """
  _check_points(points, k)
  if len(named) != k:
    raise ValueError(f'{len(named)} flags for {k} skills')
  if length not in ('count', 'grader'):
    raise ValueError(f'length={length!r} is not one of count, grader')
  skills = [0 if name_filter and is_named else int(point) for point, is_named in zip(points[:k], named)]
  has_length = num_sentences_found <= limit if length == 'count' else points[-1] == 1
  return (*skills, *points[k:-1], int(has_length and num_sentences_found > 0))


def majority(votes: Sequence[tuple[int, ...]], num_votes: int) -> tuple[int, ...] | None:
  """Returns for each criterion the point that more than half of the `num_votes` votes asked for agree on.

  Missing votes agree with nothing: of three votes two decide, and two that differ give None, as does any criterion
  without a majority. So two equal votes of an adaptive run decide what three would have.
  """
  if len(votes) > num_votes:
    raise ValueError(f'{len(votes)} votes where {num_votes} were asked for')
  decided = []
  for column in zip(*votes, strict=True):
    point, num_agreeing = Counter(column).most_common(1)[0]
    if 2 * num_agreeing <= num_votes:
      return None
    decided.append(point)
  return tuple(decided) or None


@dataclasses.dataclass(frozen=True)
class Marks:
  """The three metrics of one text.

  Attributes:
    full_marks: 1 if all k + 3 points are earned.
    all_skills: 1 if all k skills and at least 2 of the other 3 points are earned.
    skills_fraction: the share of the skills that are earned if the other 3 points are, else 0.
  """

  full_marks: int
  all_skills: int
  skills_fraction: float


@dataclasses.dataclass(frozen=True)
class Best:
  """The three metrics of one combination, over its generations."""

  full_marks: float
  all_skills: float
  skills_fraction: float


def marks(points: Sequence[int], k: int) -> Marks:
  """Computes the metrics of a text from its k + 3 points."""
  _check_points(points, k)
  num_skills, num_others = sum(points[:k]), sum(points[k:])
  return Marks(
    full_marks=int(num_skills == k and num_others == 3),
    all_skills=int(num_skills == k and num_others >= 2),
    skills_fraction=num_skills / k if num_others == 3 else 0.0,
  )


def combine(generations: Sequence[Marks]) -> Best:
  """Returns for each metric the maximum over up to 3 generations, as in the paper; of more, the unbiased estimate of
  it.

  The estimate is the mean of the maximum over all subsets of three: the i-th smallest of G values is the largest of
  C(i-1, 2) of the C(G, 3) subsets. Max of fewer than 3 is smaller in expectation: do not mix the two in a cell.
  """

  def best_of_three(values: list[float]) -> float:
    if len(values) <= 3:
      return float(max(values))
    total = sum(math.comb(i, 2) * value for i, value in enumerate(sorted(values)))
    return total / math.comb(len(values), 3)

  return _per_metric(generations, best_of_three)


def mean_of_one(generations: Sequence[Marks]) -> Best:
  """Returns for each metric the mean over the generations: what a single text earns."""
  return _per_metric(generations, lambda values: math.fsum(values) / len(values))


def _per_metric(generations: Sequence[Marks], reduce) -> Best:
  if not generations:
    raise ValueError('no generation to take marks of')
  return Best(*(reduce([getattr(each, field.name) for each in generations]) for field in dataclasses.fields(Best)))


def _check_points(points: Sequence[int], k: int):
  if k < 1 or len(points) != k + 3:
    raise ValueError(f'{len(points)} points for k={k}: expected k + 3')
