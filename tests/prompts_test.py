"""The prompts have the wording of appendix G, which is written out here by hand."""

import dataclasses
import functools

import pytest

from evals.questions import catalog, combinations, prompts
from evals.questions.catalog import Skill
from evals.questions.combinations import Combination
from skillmix_jax.errors import InputError

ACCIDENT = (
  '**accident (fallacy)**: an informal fallacy and a deductively valid but unsound argument occurring in a statistical '
  'syllogism (an argument based on a generalization) when an exception to a rule of thumb is ignored. For example, '
  'Cutting people with knives is a crime. Surgeons cut people with knives. Surgeons are criminals.'
)
ENTAILMENT = (
  '**entailment (logical)**: An expression A entails B if the truth of A guarantees the truth of B and the falsity of '
  'B guarantees the falsity of A. For example, "The emperor was assassinated" entails "the emperor was dead."'
)
# A grading prompt of somebody's own
SHORT_GRADE = '{{odd}} {topic}{rubric_items} {topic}, {skills_str}: {student_answer} {num_sentences_str}'
ONE = Combination('a', 'train', 1, ('accident (fallacy)',), 'Regatta, sailing')
TWO = Combination('b', 'all', 2, ('entailment (logical)', 'accident (fallacy)'), 'Knots')
ROUND1 = (
  'Greetings! I am interested in natural language processing and I was wondering if you could help me generate an '
  'example of text that illustrates multiple skills in semantics or syntax. The example should be a minimal natural '
  'piece of text with up to a few lines in the context of {} that illustrates all of the following skills: {}. Please '
  'keep the text as short as possible, and make sure the concepts can be found fully from the text. \n'
  '\n'
  'For reference, here are the definitions and examples for the concepts:\n'
  '{}\n'
  '\n'
  "Please start the minimal natural piece of text with 'Answer:' and start the explanation with 'Explanation:'.\n"
  '\n'
  'Thanks very much!'
)
ROUND2 = (
  'Thanks very much. Could you please look over your answer and improve it? Please make sure that the new answer '
  'better illustrates all skills and remains on topic. On top of that, please also make sure the new answer only '
  'contains up to {}. \n'
  "Again, please start the improved minimal natural piece of text with 'Answer:' and start the explanation with "
  "'Explanation:'.\n"
  '\n'
  'Thanks very much!'
)
GRADE = (
  'Greetings! I was wondering if you could help me grade the following answer given by a student.\n'
  '\n'
  'I\u2019ll first describe the question that was given to the student, and then give you the student\u2019s answer, '
  'and the grading rubric.\n'
  '\n'
  'The question given to the student was as follows: "Give a single piece of text with up to {0} in the context of '
  '{1}. This single piece of text should illustrate all of the following skills: {2}."\n'
  '\n'
  'The student\'s answer was: "{3}"\n'
  '\n'
  'For reference, here are the definitions for the skills:\n'
  '{4}\n'
  '\n'
  "Using a rubric table format{5}, please grade the student's answer with positive scoring. Each criterion is worth 1 "
  "point. The criteria are: {6}. The table should only have the following columns: 'Criteria', 'Points Earned'. In the "
  "'Points Earned' column, please provide only numerical values with no additional formatting. Please introduce the "
  "table with 'Here's the grading table:' and please include a row for 'Total Points Earned' at the end of the table. "
  "Finally, please start your grading explanation with 'Explanation':"
)
TEXT = '"{topic} {0} {{" she said: 50%\\n | 1 |'
ODD = Skill(' Odd, "name" | {x} ', 'literary', 'train', 'Ends in a blank. ', '“curly” {y} %s\ttab')


@pytest.fixture(scope='module')
def paper():
  return catalog.load()


@pytest.fixture(scope='module')
def odd(paper):
  return dataclasses.replace(paper, skills=(ODD, *paper.skills))


def test_student_prompts_have_the_wording_of_the_paper(paper):
  assert prompts.round1(paper, ONE) == ROUND1.format('Regatta, sailing', 'accident (fallacy)', ACCIDENT)
  assert prompts.round1(paper, TWO) == ROUND1.format(
    'Knots', 'entailment (logical), accident (fallacy)', f'{ENTAILMENT}\n{ACCIDENT}'
  )
  assert prompts.round2(paper, ONE) == prompts.round2(paper, TWO) == ROUND2.format('one sentence')


def test_grading_prompts_have_the_wording_of_the_paper(paper):
  items = (
    'Correctly illustrates entailment (logical), Correctly illustrates accident (fallacy), Pertains to Knots, '
    'Text makes sense, At most one sentence'
  )
  names, definitions = 'entailment (logical), accident (fallacy)', f'{ENTAILMENT}\n{ACCIDENT}'
  for template, delimiter in (('grade', ''), ('grade_claude', " ('|' as the delimiter)")):
    expected = GRADE.format('one sentence', 'Knots', names, 'Some text.', definitions, delimiter, items)
    assert prompts.grading(paper, TWO, 'Some text.', template) == expected
  assert prompts.grading(paper, TWO, 'Some text.') == prompts.grading(paper, TWO, 'Some text.', 'grade')


def test_odd_blanks_quotes_and_braces_go_in_verbatim(odd):
  three = Combination('c', 'mine', 3, ('entailment (logical)', ODD.name, 'accident (fallacy)'), 'Knots')
  names = 'entailment (logical),  Odd, "name" | {x} , accident (fallacy)'
  line = '** Odd, "name" | {x} **: Ends in a blank.  For example, “curly” {y} %s\ttab'
  definitions = f'{ENTAILMENT}\n{line}\n{ACCIDENT}'
  assert prompts.round1(odd, three) == ROUND1.format('Knots', names, definitions)
  assert prompts.round2(odd, three) == ROUND2.format('two sentences')
  items = (
    'Correctly illustrates entailment (logical), Correctly illustrates odd, "name" | {x}, '
    'Correctly illustrates accident (fallacy), Pertains to Knots, Text makes sense, At most two sentences'
  )
  expected = GRADE.format('two sentences', 'Knots', names, TEXT, definitions, '', items)
  assert prompts.grading(odd, three, TEXT) == expected


def test_a_decoy_replaces_a_skill_in_all_that_the_grader_sees(paper):
  swapped = prompts.grading(paper, TWO, 'Some text.', swap=(0, paper.skill('dilemma')))
  asked = dataclasses.replace(TWO, skills=('dilemma', 'accident (fallacy)'))
  assert swapped == prompts.grading(paper, asked, 'Some text.')
  assert 'entailment' not in swapped
  assert prompts.rubric(paper, TWO, (0, paper.skill('dilemma')))[:2] == [
    'Correctly illustrates dilemma', 'Correctly illustrates accident (fallacy)',
  ]  # fmt: skip


@pytest.mark.parametrize(
  'k, limit',
  [
    (1, 'one sentence'),
    (2, 'one sentence'),
    (3, 'two sentences'),
    (4, 'three sentences'),
    (5, 'four sentences'),
    (6, 'five sentences'),
    (7, 'six sentences'),
  ],
)
def test_the_limit_is_k_minus_1_sentences_in_words(paper, k, limit):
  assert prompts.num_sentences_text(k) == limit
  names = tuple(skill.name for skill in paper.skills[:k])
  combination = Combination('a', 'all', k, names, 'Knots')
  assert f'up to {limit}.' in prompts.round2(paper, combination)
  assert prompts.rubric(paper, combination)[k:] == ['Pertains to Knots', 'Text makes sense', f'At most {limit}']


def test_any_k_has_a_limit():
  assert (prompts.num_sentences(13), prompts.num_sentences_text(13)) == (12, 'twelve sentences')
  assert prompts.num_sentences_text(30) == '29 sentences'


def test_a_missing_grading_prompt_is_an_error(paper):
  bare = dataclasses.replace(paper, prompts={k: v for k, v in paper.prompts.items() if k != 'grade_claude'})
  for template in ('grade_claude', 'student_round1', 'strict'):
    with pytest.raises(InputError, match=f"grading_prompt '{template}' is not one of catalog 'paper': grade$"):
      prompts.grading(bare, ONE, 'Some text.', template)


@pytest.mark.parametrize(
  'answer, text',
  [
    ('Answer: A text.\n\nExplanation: It is short.', 'A text.'),
    ('Sure! Answer:\n"A text."\n', '"A text."'),
    ('Answer: old\nExplanation: ...\nImproved Answer: new.\nExplanation: better', 'new.'),
    ('Just a text.', 'Just a text.'),
    ('A text.\nExplanation: no label', 'A text.'),
    ('Answer: Explanation: nothing', ''),
    ('', ''),
  ],
)
def test_the_text_stands_between_the_last_answer_and_the_explanation(answer, text):
  assert prompts.extract_text(answer) == text


@pytest.mark.parametrize(
  ('answer', 'text'),
  [
    ('Answer: X. Explanation: y', 'X.'), ('**Answer:** X.\n\n**Explanation:** y', 'X.'), ('**Answer**: X.', 'X.'),
    ('### Answer:\nX.\n### Explanation\ny', 'X.'), ('__Answer:__ X.\n__Explanation__: y', 'X.'),
    ('Answer: *X* is # 1.', '*X* is # 1.'), ('Answer: **X**', '**X**'), ('first Answer: A Answer: B', 'B'),
  ],
)  # fmt: skip
def test_marks_of_bold_type_are_not_of_the_text(answer, text):
  assert prompts.extract_text(answer) == text


@pytest.mark.parametrize('changes', [{}, {'revised_sentences': 4}, {'prompts': {'grade': SHORT_GRADE}}])
def test_the_length_of_a_prompt_is_that_of_its_parts(changes):
  known = catalog.load()
  known = dataclasses.replace(known, **changes | {'prompts': known.prompts | changes.get('prompts', {})})
  drawn = combinations.draw(known, settings=('all', 'held_out'), ks=(1, 2, 3, 4), num_combinations=60, seed=3)
  grading = lambda template: lambda one: prompts.grading(known, one, 'x' * 258, template)
  writers = [functools.partial(prompts.round1, known), functools.partial(prompts.round2, known)]
  for write in [*writers, *(grading(name) for name in known.prompts if name.startswith('grade'))]:
    length = prompts.lengths(write)
    assert [length(one) for one in drawn] == [len(write(one)) for one in drawn]
