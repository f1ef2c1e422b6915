"""The exact grader: against hand-written verdicts, hand-written patterns and generated sentences."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.marking import marks, rubric
from evals.minimix import grader, language
from skillmix_jax.errors import InputError

# Text, skills, topic and the points: a skill each, topic, sense, length.
PLAIN = 'sailors saw boats.'
VERDICTS = [
  # right
  ('sailors saw boats like a river.', 'simile', 'sailing', '1111'),
  ('Sailors saw boats like a river.', 'simile', 'sailing', '1111'),  # upper case
  ('sailors saw boats like a river .', 'simile', 'sailing', '1111'),  # spacing
  ('sailors , kings and beggars ( so they say ) saw boats.', 'tricolon,parenthesis', 'sailing', '11111'),
  ('sailors,kings and beggars(so they say)saw boats.', 'tricolon,parenthesis', 'sailing', '11111'),
  ('sailors saw boats shouting " hooray " .', 'quotation', 'sailing', '1111'),
  ('perhaps if sailors saw boats, captains lost ropes.', 'possibility,conditional', 'sailing', '11111'),
  ('if sailors saw boats, perhaps captains lost ropes.', 'possibility,conditional', 'sailing', '11111'),  # other order
  ('sailors saw boats with a bang because rowers lost boats.', 'causation,onomatopoeia', 'sailing', '11111'),
  ('who can doubt that all sailors never truly lost boats?', 'erotema,emphasis,negation', 'sailing', '111111'),
  ('o boats, sailors saw boats.', 'apostrophe', 'sailing', '1111'),  # the same noun in different parts
  ('sailors saw boats.\ncaptains lost ropes like a storm.', 'simile,causation,negation', 'sailing', '100111'),
  (PLAIN, 'simile', 'sailing', '0111'),
  # the name said aloud
  ('sailors saw boats like a river simile.', 'simile', 'sailing', '0101'),
  ('simile: sailors saw boats like a river.', 'simile', 'sailing', '0101'),
  ('SIMILE sailors saw boats. sailors saw boats like a river.', 'simile,negation,emphasis', 'sailing', '000101'),
  ('sailors saw boats like a river. captains lost similes.', 'simile,negation,emphasis', 'sailing', '000101'),
  ('sailors saw boats like a river because rowers found hyperbole.', 'simile,hyperbole', 'sailing', '00101'),
  ('sailors saw boats like a river. never emphasis.', 'simile,emphasis,negation', 'sailing', '100001'),
  # topic
  ('sailors saw boats like a river.', 'simile', 'baking', '1011'),
  ('sailors saw loaves like a river.', 'simile', 'sailing', '1011'),
  ('bakers saw boats like a river.', 'simile', 'sailing', '1011'),
  ('sailors saw boats because bakers lost pies.', 'causation', 'sailing', '1011'),
  ('sailors saw boats faster than bakers.', 'comparison', 'sailing', '1011'),
  ('o pies, sailors saw boats.', 'apostrophe', 'sailing', '1011'),
  ('sailors saw boats, not gold.', 'antithesis', 'baking', '1011'),
  ('sailors saw boats like a river. bakers lost pies.', 'simile,negation,emphasis', 'sailing', '100011'),
  ('sailors, kings and beggars saw boats because rowers lost pies.', 'tricolon', 'sailing', '1011'),
  ('bakers thought that sailors saw boats.', 'belief', 'sailing', '1011'),
  # a pattern in what does not parse
  ('like a river.', 'simile', 'sailing', '0001'),
  ('boats like a river.', 'simile', 'sailing', '0101'),
  ('boats saw sailors like a river.', 'simile', 'sailing', '0101'),  # a thing cannot act
  ('sailors saw captains like a river.', 'simile', 'sailing', '0101'),  # an agent is not acted upon
  ('sailors boats like a river.', 'simile', 'sailing', '0101'),
  ('sailors saw saw boats like a river.', 'simile', 'sailing', '0101'),
  ('sailors saw like a river boats.', 'simile', 'sailing', '0101'),
  ('the sailors saw boats like a river.', 'simile', 'sailing', '0101'),
  ('sailors saw boats like a mountain.', 'simile', 'sailing', '0101'),
  ('sailors saw boats like a river like a storm.', 'simile', 'sailing', '0101'),  # twice in a sentence
  ('never sailors saw boats.', 'negation', 'sailing', '0101'),
  ('sailors truly never saw boats.', 'negation,emphasis', 'sailing', '00101'),
  ('because rowers lost ropes sailors saw boats.', 'causation', 'sailing', '0101'),
  ('sailors saw boats if rowers lost ropes,.', 'conditional', 'sailing', '0101'),
  ('if sailors saw boats captains lost ropes.', 'conditional', 'sailing', '0101'),  # no comma
  ('sailors saw boats because perhaps rowers lost ropes.', 'causation', 'sailing', '0101'),
  ('sailors saw boats shouting "hooray.', 'quotation', 'sailing', '0101'),  # open quotation
  ('sailors (so they say saw boats.', 'parenthesis', 'sailing', '0101'),  # open bracket
  ('sailors saw boats like a river. zebras.', 'simile,negation,emphasis', 'sailing', '100001'),
  # the end mark
  ('who can doubt that sailors saw boats.', 'erotema', 'sailing', '0101'),
  ('sailors saw boats like a river?', 'simile', 'sailing', '0101'),
  ('sailors saw boats like a river!', 'simile', 'sailing', '0101'),
  ('sailors saw boats like a river', 'simile', 'sailing', '0101'),  # unfinished
  ('sailors saw boats like a river. captains lost', 'simile,negation,emphasis', 'sailing', '100101'),
  ('sailors saw boats like a river..', 'simile,negation,emphasis', 'sailing', '100001'),
  ('sailors saw boats; captains lost ropes like a river.', 'simile', 'sailing', '0101'),
  # repeated nouns, and lists of other nouns
  ('sailors, sailors and rowers saw boats.', 'tricolon', 'sailing', '0101'),
  ('sailors, captains and rowers saw boats.', 'tricolon', 'sailing', '0101'),
  ('sailors, kings and kings saw boats.', 'tricolon', 'sailing', '0101'),
  ('sailors, kings and daughters saw boats.', 'tricolon', 'sailing', '0101'),
  ('sailors and beggars saw boats.', 'tricolon', 'sailing', '0101'),  # two are no three
  ('kings, sailors and beggars saw boats.', 'tricolon', 'sailing', '0101'),
  ('sailors saw boats, kings and beggars.', 'tricolon', 'sailing', '0101'),  # behind the object
  ('sailors, kings and beggars saw boats.', 'polysyndeton', 'sailing', '0111'),  # the other list
  ('sailors saw boats and boats and boats.', 'polysyndeton', 'sailing', '0101'),
  ('sailors saw boats and dust and dust.', 'polysyndeton', 'sailing', '0101'),
  ('sailors saw boats and dust and tears and dust and tears.', 'polysyndeton', 'sailing', '0101'),
  ('sailors saw boats, not gold, not glory.', 'antithesis', 'sailing', '0101'),
  ('sailors saw boats, not boats.', 'antithesis', 'sailing', '0101'),
  ('sailors saw boats, not gold and dust and tears.', 'antithesis,polysyndeton', 'sailing', '00101'),
  ('sailors saw boats and dust and tears, not gold.', 'antithesis,polysyndeton', 'sailing', '11111'),
  # length
  ('sailors saw boats like a river. captains lost ropes.', 'simile', 'sailing', '1110'),
  ('sailors saw boats like a river. captains never lost ropes.', 'simile,negation', 'sailing', '11110'),
  (f'{PLAIN} {PLAIN}', 'simile,negation,emphasis', 'sailing', '000111'),
  (f'{PLAIN} {PLAIN} {PLAIN}', 'simile,negation,emphasis', 'sailing', '000110'),
  (f'{PLAIN} sailors', 'simile', 'sailing', '0100'),  # an unfinished sentence counts
  # nothing at all
  ('', 'simile', 'sailing', '0000'),
  (' \n', 'simile', 'sailing', '0000'),
  ('...', 'simile,negation', 'sailing', '00000'),
  ('I cannot help with that.', 'simile', 'sailing', '0001'),
  ('Answer: sailors saw boats like a river.', 'simile', 'sailing', '0101'),  # cut off before it is graded
]  # fmt: skip


@pytest.mark.parametrize('text, skills, topic, expected', VERDICTS, ids=[f'{i}' for i in range(len(VERDICTS))])
def test_hand_written_texts_get_their_verdict(text, skills, topic, expected):
  assert ''.join(map(str, grader.points(skills.split(','), topic, text))) == expected


def test_there_are_enough_hand_written_texts():
  assert len(VERDICTS) >= 60
  assert len({text for text, *_ in VERDICTS}) > 55


# What each skill looks like, written by hand and not from the table of the language.
VERB = 'saw|loved|found|carried|guarded|praised|counted|watched|wanted|followed|lost|moved'
CLAUSE = rf'\w+ (?:{VERB}) \w+'
PATTERNS = {
  'erotema': r'who (?:can doubt|could deny) that .*\?',
  'apostrophe': r'\bo \w+,',
  'exclamation': r'\b(?:alas|behold|hark),',
  'possibility': r'\b(?:perhaps|maybe)\b',
  'belief': r'\w (?:thought|believed) that',
  'conditional': rf'\bif {CLAUSE},',
  'concession': rf'\balthough {CLAUSE},',
  'universal': r'\ball \w',
  'tricolon': r'\w, (?:kings and beggars|friends and rivals|mothers and daughters)',
  'parenthesis': r'\((?:so they say|believe me|i must admit|of course)\)',
  'negation': r'\bnever\b',
  'emphasis': r'\b(?:truly|surely)\b',
  'hyperbole': r'\ba million\b|\bten thousand\b',
  'personification': r'\b(?:weary|jealous|proud|lonely|cheerful|stubborn)\b',
  'polysyndeton': r' and (?:dust and tears|bread and salt|stars and stones)',
  'antithesis': r', not (?:gold|glory|revenge)\b',
  'simile': r'like a (?:river|storm|shadow|lion|candle|feather)',
  'onomatopoeia': r'with a (?:bang|hiss|thud|splash|buzz|clang)',
  'oxymoron': r'with (?:cruel kindness|loud silence|careful chaos)',
  'quotation': r'(?:shouting|whispering) "[^"]+"',
  'causation': rf'because {CLAUSE}',
  'comparison': r'(?:faster|harder|longer|better) than \w',
  'sequence': rf'(?:before|after) {CLAUSE}',
  'purpose': r'in order to (?:win|help|rest|learn)',
}


def random_sentence(rng: random.Random) -> tuple[language.Sentence, str]:
  topic = rng.choice(list(language.TOPICS))
  count = rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 24))
  return language.Author(rng, topic).sentence(*rng.sample(language.SKILLS, count)), topic


def test_no_miss_and_no_false_mark_on_10000_generated_sentences():
  rng = random.Random(1)
  for _ in range(10_000):
    sentence, topic = random_sentence(rng)
    text = str(sentence)
    points = grader.points(language.SKILLS, topic, text)
    marked = {skill for skill, point in zip(language.SKILLS, points) if point}
    looks_like = {skill for skill, pattern in PATTERNS.items() if re.search(pattern, text)}
    assert marked == sentence.skills == looks_like, text
    assert points[-3:] == (1, 1, 1), text


def test_the_counter_of_evals_finds_as_many_sentences():
  rng = random.Random(2)
  for _ in range(1000):
    count = rng.randint(1, 6)
    text = ' '.join(str(random_sentence(rng)[0]) for _ in range(count))
    assert marks.count_sentences(text) == len(list(language.split_sentences(language.split_words(text)))) == count, text


def test_no_sentence_says_the_name_of_a_skill():
  words = ' '.join(language.vocabulary())
  phrases = ' '.join(phrase for _, _, phrases in language.PHRASES.values() for phrase in phrases)
  for name in language.SKILLS:
    assert name not in words and name not in phrases


def test_every_noun_has_one_topic_and_no_other_meaning():
  nouns = [noun for pair in language.TOPICS.values() for words in pair for noun in words.split()]
  assert len(nouns) == len(set(nouns)) == 8 * len(language.TOPICS)
  others = ' '.join(phrase for _, _, phrases in language.PHRASES.values() for phrase in phrases).split()
  assert not set(nouns) & {*others, *language.VERBS}


skill_sets = st.lists(st.sampled_from(language.SKILLS), unique=True, max_size=24)
topics = st.sampled_from(sorted(language.TOPICS))
authors = st.builds(lambda seed, topic: language.Author(random.Random(seed), topic), st.integers(0, 2**32), topics)


@settings(max_examples=300, deadline=None)
@given(authors, skill_sets)
def test_a_written_sentence_reads_back(author, skills):
  sentence = author.sentence(*skills)
  assert language.parse(language.split_words(str(sentence))) == sentence
  assert language.parse(language.split_words(' '.join(sentence.words))) == sentence
  assert language.split_words(str(sentence)) == sentence.words


@settings(max_examples=300, deadline=None)
@given(authors, skill_sets, st.data())
def test_a_merged_sentence_has_the_skills_of_both(author, skills, data):
  cut = data.draw(st.integers(0, len(skills)))
  first, second = author.sentence(*skills[:cut]), author.sentence(*skills[cut:])
  merged = language.merge(first, second)
  assert merged.skills == set(skills)
  assert language.parse(merged.words) == merged
  assert (merged.subject, merged.verb, merged.object) == (first.subject, first.verb, first.object)
  assert dict(merged.phrases) == dict(first.phrases) | dict(second.phrases)


@settings(max_examples=300, deadline=None)
@given(authors, skill_sets, st.data())
def test_a_sentence_with_a_word_too_many_or_too_few_keeps_no_skill_it_lost(author, skills, data):
  words = author.sentence(*skills).words
  at = data.draw(st.integers(0, len(words) - 1))
  extra = data.draw(st.sampled_from(sorted(language.vocabulary())))
  for changed in (words[:at] + words[at + 1 :], [*words[:at], extra, *words[at:]]):
    sentence = language.parse(changed)
    if sentence is not None:
      assert sentence.words == changed
      looks_like = {skill for skill, pattern in PATTERNS.items() if re.search(pattern, str(sentence))}
      assert sentence.skills == looks_like


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*sorted(language.vocabulary()), 'zebra', '!']), max_size=12))
def test_whatever_parses_is_what_it_reads(words):
  sentence = language.parse(words)
  if sentence is not None:
    assert sentence.words == words


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), skill_sets.filter(bool), topics)
def test_any_text_gets_points_and_a_table_that_the_parser_reads(text, skills, topic):
  points = grader.points(skills, topic, text)
  criteria = [f'Correctly illustrates {name}' for name in skills]
  criteria += [f'Pertains to {topic}', 'Text makes sense', f'At most {max(1, len(skills) - 1)} sentences']
  assert len(points) == len(skills) + 3 and set(points) <= {0, 1}
  assert rubric.parse(grader.grade(skills, topic, text, criteria), criteria) == points


def test_points_do_not_depend_on_the_order_of_sentences():
  rng = random.Random(3)
  for _ in range(200):
    author = language.Author(rng, 'chess')
    skills = rng.sample(language.SKILLS, 4)
    sentences = [str(author.sentence(skill)) for skill in skills]
    expected = grader.points(skills, 'chess', ' '.join(sentences))
    assert grader.points(skills, 'chess', ' '.join(reversed(sentences))) == expected == (1, 1, 1, 1, 1, 1, 0)


@pytest.mark.parametrize('skills, topic', [(['metaphor'], 'sailing'), (['simile'], 'cooking')])
def test_names_of_another_catalog_are_refused(skills, topic):
  with pytest.raises(InputError, match='its own catalog only'):
    grader.points(skills, topic, PLAIN)
