"""Sentences, names, votes and the three metrics, against cases worked out by hand and against enumeration."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.marking.marks import (
  Best,
  Marks,
  adjust,
  combine,
  count_sentences,
  majority,
  marks,
  mean_of_one,
  named_skills,
)

SENTENCES = {
  '': 0,
  ' \n ': 0,
  '...': 0,
  '"!"': 0,
  'Go': 1,
  'Go.': 1,
  'A cat. 🐱': 1,
  'It rained. We left.': 2,
  'It rained.\nWe left.': 2,
  'It rained.\n\nWe left.': 2,
  'A title\n\nThe text.': 2,
  'Roses are red\nViolets are blue': 1,
  'It’s “fine.” She left.': 2,
  '“Really?” she asked.': 1,
  '"Really?" she asked. Nobody spoke!': 2,
  'He said "Stop." and left.': 1,
  'He said "no!". Then he left.': 2,
  "It's done.' Ann left.": 2,
  '(He left.) She stayed.': 2,
  '**Bold.** Next one.': 2,
  'One. two. three': 3,
  'sailors loved boats . rowers saw anchors .': 2,
  'who can doubt it ? rowers saw anchors . yes': 3,
  'sailors loved boats': 1,
  'Join the U.S. Army. Go': 2,
  'I live in the U.S. It is big.': 2,
  "He is in Washington, D.C. We're not.": 2,
  'J. R. R. Tolkien wrote.': 1,
  'She is taller than I. He is not.': 2,
  'Mr. Smith met Dr. Jones.': 1,
  "St. Paul's is old. Go": 2,
  'One more rep. Then rest.': 2,
  'Use spices, e.g. cumin, i.e. the best. Stir.': 2,
  'A draw vs. Win Ltd. was fair.': 1,
  'We left at 5 p.m. on Monday.': 1,
  'We left at 5 p.m. The sun was low.': 2,
  'Apples, pears, etc. and figs.': 1,
  'Apples, pears, etc. The rest rotted.': 2,
  'He earned a Ph.D. in knots.': 1,
  'No. 5 is alive.': 1,
  'Did he say no. Yes.': 2,
  'It costs 3.5 dollars. Buy.': 2,
  'He won 3. He lost 2.': 2,
  '1. Stir it. 2. Bake it.': 2,
  'Visit example.com. Now.': 2,
  'It makes sense.The end.': 2,
  'Well... maybe.': 1,
  'Well… maybe.': 1,
  'She waited . . . and left.': 1,
  'I lost it... Then I won.': 2,
  'What?! No way.': 2,
  'What?! no way.': 2,
  'Stop!!! Go!!!': 2,
  'The sea was calm; the crew slept: all was well.': 1,
  '犬が好き。猫も。': 2,
  'a' + '.' * 30_000 + 'x': 1,
}


@pytest.mark.parametrize('text', SENTENCES, ids=lambda text: text[:40])
def test_sentences(text):
  assert count_sentences(text) == SENTENCES[text]


@given(st.lists(st.sampled_from(['The boat sank.', 'Who knew?', 'Run!', 'it was 3.5 m long.', '“Go.”']), max_size=6))
def test_whole_sentences_add_up(sentences):
  joined = [
    count_sentences(blank.join(text[0].upper() + text[1:] for text in sentences)) for blank in (' ', '\n', '\n\n')
  ]
  assert joined == [len(sentences)] * 3


def test_names_are_found_as_the_authors_find_them():
  names = ('dilemma', 'anchoring (cognitive bias)', 'emotional self regulation', 'Red herring ', '(brackets only)')
  said = named_skills('Dilemmas of ANCHORING: self-regulate, said the red herring.', names)
  assert said == (True, True, False, True, False)


def test_named_skills_and_long_texts_lose_their_points():
  points = (1, 1, 1, 1, 1, 0)
  common = {'limit': 2, 'named': (False, True, False)}
  assert adjust(points, 3, num_sentences_found=2, **common) == (1, 0, 1, 1, 1, 1)
  assert adjust(points, 3, num_sentences_found=3, **common) == (1, 0, 1, 1, 1, 0)
  assert adjust(points, 3, num_sentences_found=2, length='grader', **common) == (1, 0, 1, 1, 1, 0)
  assert adjust((1,) * 6, 3, num_sentences_found=9, length='grader', **common) == (1, 0, 1, 1, 1, 1)
  assert adjust(points, 3, num_sentences_found=2, name_filter=False, **common) == (1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize('length', ['count', 'grader'])
def test_an_empty_text_earns_no_length_point(length):
  assert adjust((1,) * 4, 1, num_sentences_found=0, limit=1, named=(False,), length=length) == (1, 1, 1, 0)


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(ValueError, match='k=2'):
    marks((1, 1, 1, 1), 2)
  with pytest.raises(ValueError, match='flags'):
    adjust((1,) * 5, 2, num_sentences_found=1, limit=1, named=(False,))
  with pytest.raises(ValueError, match='length'):
    adjust((1,) * 4, 1, num_sentences_found=1, limit=1, named=(False,), length='none')
  with pytest.raises(ValueError, match='4 votes'):
    majority([(1,)] * 4, 3)
  with pytest.raises(ValueError):
    majority([(1, 0), (1,)], 3)
  with pytest.raises(ValueError, match='no generation'):
    combine([])


@pytest.mark.parametrize(
  ('votes', 'num_votes', 'expected'),
  [
    ([(1, 0, 1), (1, 1, 0), (0, 1, 0)], 3, (1, 1, 0)),
    ([(1, 0, 1), (1, 0, 1)], 3, (1, 0, 1)),  # two that agree decide what the third cannot change
    ([(1, 0, 1), (1, 0, 0)], 3, None),
    ([(1, 0, 1)], 3, None),
    ([], 3, None),
    ([(1, 0)], 1, (1, 0)),
    ([(1, 0), (0, 0)], 2, None),
    ([(1, 1)] * 2 + [(0, 1)] * 2, 4, None),
    ([(1, 1)] * 3 + [(0, 1)] * 2, 5, (1, 1)),
    ([(1, 1)] * 2 + [(0, 1)], 5, None),
  ],
)
def test_majority_of_the_votes_asked_for(votes, num_votes, expected):
  assert majority(votes, num_votes) == expected


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 4), min_size=3, max_size=3))
def test_two_equal_votes_decide_as_three(votes):
  if votes[0] == votes[1]:
    assert majority(votes[:2], 3) == majority(votes, 3) == votes[0]
  assert majority(votes, 3) == tuple(int(sum(column) >= 2) for column in zip(*votes))


@pytest.mark.parametrize(
  ('points', 'k', 'expected'),
  [
    ((1, 1, 1, 1, 1), 2, Marks(1, 1, 1.0)),
    ((1, 1, 0, 1, 1), 2, Marks(0, 1, 0.0)),  # off topic: all skills, nothing else
    ((1, 1, 0, 1, 0), 2, Marks(0, 0, 0.0)),
    ((1, 0, 1, 1, 1), 2, Marks(0, 0, 0.5)),
    ((0, 0, 1, 1, 1), 2, Marks(0, 0, 0.0)),
    ((1, 0, 1, 1, 1, 0), 3, Marks(0, 0, 0.0)),
    ((1, 0, 1, 1, 1, 1), 3, Marks(0, 0, 2 / 3)),
    ((1, 1, 1, 1), 1, Marks(1, 1, 1.0)),
    ((0, 1, 1, 1), 1, Marks(0, 0, 0.0)),
  ],
)
def test_metrics_by_hand(points, k, expected):
  assert marks(points, k) == expected


POINTS = st.integers(1, 6).flatmap(lambda k: st.lists(st.integers(0, 1), min_size=k + 3, max_size=k + 3))


@given(POINTS)
def test_inequalities_of_the_metrics(points):
  k = len(points) - 3
  mark = marks(points, k)
  assert mark.full_marks <= mark.all_skills
  assert mark.full_marks <= mark.skills_fraction <= 1
  if k == 1:
    assert mark.full_marks == mark.skills_fraction


MARKS = st.integers(1, 5).flatmap(
  lambda k: st.lists(st.lists(st.integers(0, 1), min_size=k + 3, max_size=k + 3), min_size=1, max_size=8)
)


@given(MARKS)
def test_best_of_three_and_mean_of_one_equal_enumeration(generations):
  all_marks = [marks(points, len(points) - 3) for points in generations]
  subsets = list(itertools.combinations(all_marks, 3)) if len(all_marks) > 3 else [all_marks]
  best, mean = combine(all_marks), mean_of_one(all_marks)
  for name in ('full_marks', 'all_skills', 'skills_fraction'):
    expected = sum(max(getattr(one, name) for one in subset) for subset in subsets) / len(subsets)
    assert getattr(best, name) == pytest.approx(expected)
    assert getattr(mean, name) == pytest.approx(sum(getattr(one, name) for one in all_marks) / len(all_marks))
  assert best.full_marks <= best.all_skills + 1e-9
  assert best.full_marks <= best.skills_fraction + 1e-9


def test_best_of_each_metric_may_come_from_different_generations():
  assert combine([Marks(0, 1, 0.0), Marks(0, 0, 0.5), Marks(0, 0, 0.0)]) == Best(0.0, 1.0, 0.5)
  assert mean_of_one([Marks(0, 1, 0.0), Marks(1, 1, 1.0)]) == Best(0.5, 1.0, 0.5)


@pytest.mark.parametrize('text', ['... ', 'e.g. ', 'a b... ', 'Mr. ', '"… ', '1. ', '(A. '])
def test_a_text_of_a_hundred_thousand_letters_is_counted_as_its_parts_are(text):
  """Which would take minutes if each end of a sentence looked at the whole text."""
  short = [count_sentences(text * times) for times in (10, 20)]
  assert count_sentences(text * 100_000) == short[1] + (short[1] - short[0]) * 9_998
