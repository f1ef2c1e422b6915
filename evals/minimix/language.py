"""The language of minimix: 24 skills, 20 topics, and a grammar in which every set of skills fits into one sentence.

    SENTENCE := OPENING* SUBJECT VERB OBJECT ENDING* ( . | ? )
    SUBJECT  := [all] AGENT [, kings and beggars] [(so they say)]
    VERB     := [never] [truly] verb
    OBJECT   := [a million] [weary] THING [and dust and tears] [, not gold]

Bare plurals in the past tense, lower case: no articles, no agreement. A skill is one optional part, so a text has a
skill exactly where a sentence that parses has the part. An agent can only act and a thing only be acted upon, no part
comes twice in a sentence, and it ends with a question mark exactly if a question opens it: that is what "makes sense"
means here. Agents and things belong to one topic each, other nouns to none.

`PHRASES` is the only description of the parts: sentences are drawn from it and read back with it.
"""

import dataclasses
import random
import re
from collections.abc import Iterator, Sequence

# topic: agents, things
TOPICS = {
  'sailing': ('sailors captains rowers skippers', 'boats ropes anchors sails'),
  'baking': ('bakers tasters millers confectioners', 'loaves ovens pies cakes'),
  'gardening': ('gardeners planters florists pruners', 'roses hedges seeds spades'),
  'chess': ('players champions grandmasters challengers', 'pawns bishops rooks gambits'),
  'farming': ('farmers ploughmen milkmaids herders', 'cows fields barns tractors'),
  'music': ('singers fiddlers drummers pianists', 'songs drums flutes harps'),
  'hiking': ('hikers climbers guides walkers', 'trails maps boots summits'),
  'fishing': ('anglers fishermen netters divers', 'rods nets hooks lakes'),
  'painting': ('painters sketchers dealers restorers', 'canvases brushes frames murals'),
  'school': ('pupils teachers tutors principals', 'lessons desks slates exams'),
  'medicine': ('doctors nurses surgeons chemists', 'bandages pills fevers syringes'),
  'law': ('lawyers judges clerks jurors', 'verdicts contracts wigs statutes'),
  'war': ('soldiers generals spies scouts', 'tanks forts swords shields'),
  'space': ('astronauts pilots astronomers martians', 'rockets planets comets moons'),
  'football': ('strikers keepers referees coaches', 'goals balls trophies jerseys'),
  'knitting': ('knitters weavers spinners seamstresses', 'scarves sweaters mittens threads'),
  'mining': ('miners diggers drillers prospectors', 'tunnels lamps nuggets shafts'),
  'library': ('librarians readers authors scholars', 'novels shelves atlases scrolls'),
  'railway': ('conductors drivers signalmen porters', 'trains tickets platforms stations'),
  'magic': ('wizards witches conjurers sorcerers', 'wands charms potions crystals'),
}
AGENTS = {topic: tuple(agents.split()) for topic, (agents, _) in TOPICS.items()}
THINGS = {topic: tuple(things.split()) for topic, (_, things) in TOPICS.items()}
TOPIC_OF = {noun: topic for nouns in (AGENTS, THINGS) for topic, words in nouns.items() for noun in words}
VERBS = (
  'saw', 'loved', 'found', 'carried', 'guarded', 'praised', 'counted', 'watched', 'wanted', 'followed', 'lost', 'moved',
)  # fmt: skip

# What may stand for a placeholder of a phrase; a clause is three of them.
PLACEHOLDERS = {
  'AGENT': frozenset(noun for nouns in AGENTS.values() for noun in nouns),
  'THING': frozenset(noun for nouns in THINGS.values() for noun in nouns),
  'VERB': frozenset(VERBS),
}
_CLAUSE = 'AGENT VERB THING'


def _each(form: str, words: str) -> tuple[str, ...]:
  return tuple(form.format(word) for word in words.split())


# skill: where it stands, its definition, its phrases.
OPENING, CORE, ENDING = SLOTS = ('opening', 'core', 'ending')
PHRASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
  'erotema': (OPENING, 'asks nobody', ('who can doubt that', 'who could deny that')),
  'apostrophe': (OPENING, 'addresses something', ('o THING ,',)),
  'exclamation': (OPENING, 'cries out', ('alas ,', 'behold ,', 'hark ,')),
  'possibility': (OPENING, 'could be', ('perhaps', 'maybe')),
  'belief': (OPENING, 'others think', ('AGENT thought that', 'AGENT believed that')),
  'conditional': (OPENING, 'under condition', (f'if {_CLAUSE} ,',)),
  'concession': (OPENING, 'grants something', (f'although {_CLAUSE} ,',)),
  'universal': (CORE, 'everyone', ('all',)),
  'tricolon': (CORE, 'three actors', (', kings and beggars', ', friends and rivals', ', mothers and daughters')),
  'parenthesis': (CORE, 'speaks aside', ('( so they say )', '( believe me )', '( i must admit )', '( of course )')),
  'negation': (CORE, 'denies it', ('never',)),
  'emphasis': (CORE, 'stresses it', ('truly', 'surely')),
  'hyperbole': (CORE, 'absurd number', ('a million', 'ten thousand')),
  'personification': (CORE, 'feeling things', _each('{}', 'weary jealous proud lonely cheerful stubborn')),
  'polysyndeton': (CORE, 'many links', ('and dust and tears', 'and bread and salt', 'and stars and stones')),
  'antithesis': (CORE, 'rejects another', (', not gold', ', not glory', ', not revenge')),
  'simile': (ENDING, 'likens it', _each('like a {}', 'river storm shadow lion candle feather')),
  'onomatopoeia': (ENDING, 'sounding word', _each('with a {}', 'bang hiss thud splash buzz clang')),
  'oxymoron': (ENDING, 'contradicts itself', ('with cruel kindness', 'with loud silence', 'with careful chaos')),
  'quotation': (
    ENDING, 'spoken words',
    tuple(f'{verb} " {x} "' for verb in ('shouting', 'whispering') for x in ('hooray', 'at last', 'come closer')),
  ),
  'causation': (ENDING, 'gives reasons', (f'because {_CLAUSE}',)),
  'comparison': (ENDING, 'sets above', _each('{} than AGENT', 'faster harder longer better')),
  'sequence': (ENDING, 'orders time', (f'before {_CLAUSE}', f'after {_CLAUSE}')),
  'purpose': (ENDING, 'states goals', _each('in order to {}', 'win help rest learn')),
}  # fmt: skip
SKILLS = tuple(PHRASES)
SLOT = {skill: slot for skill, (slot, _, _) in PHRASES.items()}
# The parts around the subject's, the verb's and the object's own word, in the order in which they stand.
_BEFORE_SUBJECT, _BEHIND_SUBJECT = ('universal',), ('tricolon', 'parenthesis')
_BEFORE_VERB = ('negation', 'emphasis')
_BEFORE_OBJECT, _BEHIND_OBJECT = ('hyperbole', 'personification'), ('polysyndeton', 'antithesis')
_ORDER = (*_BEFORE_SUBJECT, *_BEHIND_SUBJECT, *_BEFORE_VERB, *_BEFORE_OBJECT, *_BEHIND_OBJECT)

_TEMPLATES = {
  slot: {skill: [phrase.split() for phrase in phrases] for skill, (at, _, phrases) in PHRASES.items() if at == slot}
  for slot in SLOTS
}
END, QUESTION = '.', '?'


@dataclasses.dataclass(frozen=True)
class Sentence:
  """A sentence as its parts.

  Attributes:
    subject, verb, object: the words that are always there.
    phrases: (skill, words) of every part that is there, words with blanks between them: openings, then the parts of
      the core in the order of the grammar, then endings. No skill twice.
  """

  subject: str
  verb: str
  object: str
  phrases: tuple[tuple[str, str], ...] = ()

  @property
  def skills(self) -> frozenset[str]:
    return frozenset(skill for skill, _ in self.phrases)

  @property
  def words(self) -> list[str]:
    """All words and marks."""
    core = {skill: words for skill, words in self.phrases if SLOT[skill] == CORE}
    parts = [words for skill, words in self.phrases if SLOT[skill] == OPENING]
    for before, word, behind in (
      (_BEFORE_SUBJECT, self.subject, _BEHIND_SUBJECT),
      (_BEFORE_VERB, self.verb, ()),
      (_BEFORE_OBJECT, self.object, _BEHIND_OBJECT),
    ):
      parts += [core[skill] for skill in before if skill in core]
      parts.append(word)
      parts += [core[skill] for skill in behind if skill in core]
    parts += [words for skill, words in self.phrases if SLOT[skill] == ENDING]
    return [*' '.join(parts).split(), QUESTION if 'erotema' in self.skills else END]

  def __str__(self) -> str:
    return join(self.words)


def join(words: Sequence[str]) -> str:
  """Text with its usual blanks: none before `,` `.` `?` `)` and a closing quotation mark, none after `(` and an
  opening one."""
  text, quoted, glue = [], False, True
  for word in words:
    closes = word == '"' and quoted
    if not (glue or closes or word in (',', '.', '?', ')')):
      text.append(' ')
    text.append(word)
    if word == '"':
      quoted = not quoted
    glue = word == '(' or (word == '"' and not closes)
  return ''.join(text)


def split_words(text: str) -> list[str]:
  """Words and marks of a text; blanks and upper case do not matter."""
  return re.findall(r'[a-z]+|[^\sa-z]', text.lower())


def split_sentences(words: Sequence[str]) -> Iterator[list[str]]:
  """Each sentence with its end mark; what is left after the last mark comes last."""
  sentence: list[str] = []
  for word in words:
    sentence.append(word)
    if word in ('.', '?', '!'):
      yield sentence
      sentence = []
  if sentence:
    yield sentence


class _Reader:
  """A cursor over the words of one sentence."""

  def __init__(self, words: Sequence[str]):
    self.words, self.at = words, 0

  def word(self, placeholder: str) -> str | None:
    """The next word, if it may stand for the placeholder."""
    if self.at < len(self.words) and self.words[self.at] in PLACEHOLDERS[placeholder]:
      self.at += 1
      return self.words[self.at - 1]
    return None

  def phrase(self, skill: str) -> str | None:
    """The phrase of a skill, if it stands here."""
    for template in _TEMPLATES[SLOT[skill]][skill]:
      words = self.words[self.at : self.at + len(template)]
      if len(words) == len(template) and all(map(_fits, template, words)):
        self.at += len(template)
        return ' '.join(words)
    return None

  def some(self, skills: Sequence[str], phrases: list[tuple[str, str]]):
    """Reads the phrases of these skills that stand here, in this order, into `phrases`."""
    for skill in skills:
      if (words := self.phrase(skill)) is not None:
        phrases.append((skill, words))

  def any_order(self, slot: str, phrases: list[tuple[str, str]]):
    """Reads all phrases of a slot that stand here, in any order, each skill at most once."""
    left = set(_TEMPLATES[slot])
    while (skill := next((s for s in _TEMPLATES[slot] if s in left and self._add(s, phrases)), None)) is not None:
      left.discard(skill)

  def _add(self, skill: str, phrases: list[tuple[str, str]]) -> bool:
    before = len(phrases)
    self.some((skill,), phrases)
    return len(phrases) > before


def _fits(pattern: str, word: str) -> bool:
  return word in PLACEHOLDERS[pattern] if pattern in PLACEHOLDERS else word == pattern


def parse(words: Sequence[str]) -> Sentence | None:
  """The sentence that these words are, end mark included; None if they are none."""
  reader = _Reader(words)
  phrases: list[tuple[str, str]] = []
  reader.any_order(OPENING, phrases)
  reader.some(_BEFORE_SUBJECT, phrases)
  subject = reader.word('AGENT')
  reader.some(_BEHIND_SUBJECT, phrases)
  reader.some(_BEFORE_VERB, phrases)
  verb = reader.word('VERB')
  reader.some(_BEFORE_OBJECT, phrases)
  thing = reader.word('THING')
  reader.some(_BEHIND_OBJECT, phrases)
  reader.any_order(ENDING, phrases)
  if subject is None or verb is None or thing is None or len(words) != reader.at + 1:
    return None
  sentence = Sentence(subject, verb, thing, tuple(phrases))
  return sentence if words[-1] == sentence.words[-1] else None


class Author:
  """Draws sentences on one topic; verbs are used up before one comes again."""

  def __init__(self, rng: random.Random, topic: str):
    self._rng, self._topic = rng, topic
    self._verbs: list[str] = []

  def sentence(self, *skills: str) -> Sentence:
    """A sentence that shows exactly these skills."""
    openings, endings = ([s for s in skills if SLOT[s] == slot] for slot in (OPENING, ENDING))
    self._rng.shuffle(openings)
    self._rng.shuffle(endings)
    order = [*openings, *(skill for skill in _ORDER if skill in skills), *endings]
    phrases = tuple((skill, self._phrase(skill)) for skill in order)
    return Sentence(self._word('AGENT'), self._word('VERB'), self._word('THING'), phrases)

  def _phrase(self, skill: str) -> str:
    template = self._rng.choice(_TEMPLATES[SLOT[skill]][skill])
    return ' '.join(self._word(word) if word in PLACEHOLDERS else word for word in template)

  def _word(self, placeholder: str) -> str:
    if placeholder != 'VERB':
      return self._rng.choice((AGENTS if placeholder == 'AGENT' else THINGS)[self._topic])
    if not self._verbs:
      self._verbs = self._rng.sample(VERBS, len(VERBS))
    return self._verbs.pop()


def merge(first: Sentence, second: Sentence) -> Sentence:
  """Subject, verb and object of the first sentence with the parts of both, word for word; they share no skill."""
  phrases = first.phrases + second.phrases
  by_slot = {slot: [phrase for phrase in phrases if SLOT[phrase[0]] == slot] for slot in SLOTS}
  by_slot[CORE].sort(key=lambda phrase: _ORDER.index(phrase[0]))
  return dataclasses.replace(first, phrases=tuple(by_slot[OPENING] + by_slot[CORE] + by_slot[ENDING]))


def vocabulary() -> set[str]:
  """Every word and mark that a sentence may hold."""
  phrases = ' '.join(phrase for _, _, phrases in PHRASES.values() for phrase in phrases).split()
  return {*TOPIC_OF, *VERBS, *phrases, END, QUESTION} - set(PLACEHOLDERS)
