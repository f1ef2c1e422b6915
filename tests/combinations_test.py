"""The drawing: no repetition, a longer run extends a shorter one, nothing depends on what else is drawn."""

import dataclasses
import itertools
import json
import math
import time
from collections import Counter

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.questions import catalog, combinations
from evals.questions.catalog import Catalog, Skill
from evals.questions.combinations import Combination
from skillmix_jax.errors import InputError

PAPER = catalog.load()


def small(num_train: int, num_held_out: int = 1, num_topics: int = 1) -> Catalog:
  """Skills t0, t1, ... and h0, h1, ...; topics T0, T1, ... and H0, H1, ..."""
  skills = [Skill(f't{i}', 'literary', 'train', 'd', 'e') for i in range(num_train)]
  skills += [Skill(f'h{i}', 'logic', 'held_out', 'd', 'e') for i in range(num_held_out)]
  topics = {'train': tuple(f'T{i}' for i in range(num_topics)), 'held_out': tuple(f'H{i}' for i in range(num_topics))}
  return dataclasses.replace(PAPER, skills=tuple(skills), topics=topics)


def draw(of=PAPER, setting='all', k=3, n=100, seed=0, **more) -> list[Combination]:
  return combinations.draw(of, settings=(setting,), ks=(k,), num_combinations=n, seed=seed, **more)


def pairs(drawn):
  return [(frozenset(one.skills), one.topic) for one in drawn]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 6), st.integers(0, 2**40))
def test_asking_for_all_gives_each_pair_once(num_skills, k, num_topics, seed):
  k = min(k, num_skills)
  of = small(num_skills, num_topics=num_topics)
  drawn = pairs(draw(of, 'train', k, 10**6, seed))
  subsets = [frozenset(chosen) for chosen in itertools.combinations([f't{i}' for i in range(num_skills)], k)]
  assert len(drawn) == len(set(drawn)) == math.comb(num_skills, k) * num_topics
  assert set(drawn) == set(itertools.product(subsets, of.topics['train']))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(catalog.SETTINGS), st.integers(1, 7), st.integers(1, 99), st.integers(1, 99), st.integers(0, 9))
def test_a_longer_run_extends_a_shorter_one(setting, k, n, more, seed):
  longer = draw(PAPER, setting, k, n + more, seed)
  assert longer[:n] == draw(PAPER, setting, k, n, seed)
  assert len(set(pairs(longer))) == len(longer) == len({one.id for one in longer})


def test_a_cell_does_not_depend_on_other_settings_and_ks():
  both = combinations.draw(PAPER, settings=('held_out', 'train'), ks=(5, 2), num_combinations=(7, 30), seed=3)
  assert [one for one in both if (one.setting, one.k) == ('train', 2)] == draw(PAPER, 'train', 2, 30, 3)
  assert Counter((one.setting, one.k) for one in both) == Counter({
    ('held_out', 5): 7, ('held_out', 2): 30, ('train', 5): 7, ('train', 2): 30,
  })  # fmt: skip


def test_seeds_settings_and_ks_draw_differently():
  assert len(set(pairs(draw(n=1000, seed=0))) & set(pairs(draw(n=1000, seed=1)))) < 10
  of = small(8, num_topics=3)  # same pool for both settings
  assert pairs(draw(of, 'train', 3, 50)) != pairs(draw(of, 'generate', 3, 50))


def test_what_is_drawn_never_changes():
  """A golden value: a change here would mix two experiments in every run folder that exists."""
  first, last = draw(PAPER, 'held_out', 3, 400)[::399]
  assert first == Combination('held_out-k3-0000', 'held_out', 3, GOLDEN[0][0], GOLDEN[0][1])
  assert last == Combination('held_out-k3-0399', 'held_out', 3, GOLDEN[1][0], GOLDEN[1][1])


GOLDEN = (
  (('hindsight bias', 'intention (pragmatics)', 'temporal reasoning'), 'Gymnastics'),
  (('modus ponens', 'analogical induction', "false consensus (belief one's own opinion is right)"), 'Consequentialism'),
)


def chi_squared_p(counts, expected_total, num_values):
  expected = expected_total / num_values
  return scipy.stats.chi2.sf(sum((count - expected) ** 2 / expected for count in counts), num_values - 1)


def test_skills_topics_and_pairs_of_skills_are_uniform():
  drawn = draw(PAPER, 'all', 2, 20_000, seed=5)
  skills = Counter(name for one in drawn for name in one.skills)
  topics = Counter(one.topic for one in drawn)
  sets = Counter(frozenset(one.skills) for one in drawn)
  assert chi_squared_p([skills[skill.name] for skill in PAPER.skills], 40_000, 104) > 1e-3
  assert chi_squared_p([topics[name] for half in PAPER.topics.values() for name in half], 20_000, 100) > 1e-3
  assert chi_squared_p([*sets.values(), *[0] * (5356 - len(sets))], 20_000, 5356) > 1e-3


def test_the_order_of_skills_is_random():
  orders = Counter()
  position = {skill.name: i for i, skill in enumerate(PAPER.skills)}
  for one in draw(PAPER, 'all', 4, 6000):
    orders[tuple(np.argsort([position[name] for name in one.skills]))] += 1
  assert len(orders) == 24 and chi_squared_p(orders.values(), 6000, 24) > 1e-3


def test_small_permutations_are_uniform_over_seeds():
  of = small(4)
  seen = Counter(tuple(one.skills[0] for one in draw(of, 'train', 1, 4, seed)) for seed in range(2400))
  assert len(seen) == 24 and chi_squared_p(seen.values(), 2400, 24) > 1e-3


def test_neighbours_are_not_related():
  """The serial correlation of topics along i is that of independent draws."""
  topics = np.array([PAPER.topics['train'].index(one.topic) for one in draw(PAPER, 'train', 5, 5000)])
  assert abs(np.corrcoef(topics[:-1], topics[1:])[0, 1]) < 4 / math.sqrt(5000)


def test_huge_spaces_are_drawn_from_without_listing_them():
  drawn = draw(small(2000, num_topics=1000), 'train', 7, 200)
  assert len(set(pairs(drawn))) == 200 and all(len(set(one.skills)) == 7 for one in drawn)


def test_drawing_is_fast():
  start = time.process_time()
  draw(PAPER, 'all', 5, 20_000)
  assert time.process_time() - start < 2


def test_where_fewer_exist_all_are_used_once():
  assert len(draw(small(3, num_topics=2), 'train', 3, 100)) == 2
  assert len(draw(PAPER, 'generate', 1, 10_000)) == 104 * 50


def test_generate_takes_all_skills_only_at_k_1():
  held_out = {skill.name for skill in PAPER.pool('held_out')[0]}
  assert any(set(one.skills) & held_out for one in draw(PAPER, 'generate', 1, 100))
  drawn = draw(PAPER, 'generate', 2, 500)
  assert not any(set(one.skills) & held_out for one in drawn)
  assert {one.topic for one in drawn} <= set(PAPER.topics['train'])


def test_excluded_skills_are_not_drawn():
  names = {skill.name for skill in PAPER.skills[10:]}
  assert {name for one in draw(PAPER, 'all', 5, 50, exclude=names) for name in one.skills} == {
    skill.name for skill in PAPER.skills[:10]
  }


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(ks=(3, 55)), 'setting train: k=55 needs more skills than the 54 there are'),
    (dict(settings=('train', 'tests')), "setting 'tests' is not one of train"),
    (dict(settings=('train,all',)), 'several are written'),
    (dict(settings=()), 'settings is empty'),
    (dict(settings=('train', 'train')), 'names a setting twice'),
    (dict(ks=()), r'ks=\(\): whole numbers of 1 and more'),
    (dict(ks=(2, 2)), 'names a k twice'),
    (dict(ks=(0,)), r'ks=\(0,\)'),
    (dict(ks=('x',)), r"ks=\('x',\)"),
    (dict(ks=(2, 3), num_combinations=(1, 2, 3)), r'3 numbers for ks=\(2, 3\): give one for all, or one per k'),
    (dict(num_combinations=0), r'num_combinations=\(0,\)'),
    (dict(num_combinations='many'), r"num_combinations=\('many',\)"),
    (dict(exclude=('irony?',)), r"no skill 'irony\?'"),
  ],
)
def test_what_cannot_be_drawn_is_said(change, message):
  with pytest.raises(InputError, match=message):
    combinations.draw(PAPER, **(dict(settings=('train',), ks=(2,), num_combinations=5, seed=0) | change))


def test_a_file_of_combinations_is_read_as_it_was_written(tmp_path):
  drawn = combinations.draw(PAPER, settings=('train', 'all'), ks=(1, 4), num_combinations=(3, 5), seed=0)
  drawn.append(Combination('mine', 'a setting of mine', 1, ('dilemma',), 'Knots'))
  combinations.write(tmp_path / 'c.jsonl', drawn)
  assert combinations.read(tmp_path / 'c.jsonl', PAPER) == drawn
  assert [entry.name for entry in tmp_path.iterdir()] == ['c.jsonl']


GOOD = {'id': 'a', 'setting': 'mine', 'k': 2, 'skills': ['dilemma', 'metaphor'], 'topic': 'Knots'}


@pytest.mark.parametrize(
  'line, message',
  [
    ('{"id": ', 'not JSON'),
    ('[]', 'not a JSON object'),
    (GOOD | {'k': 3}, 'k=3, but "skills" has 2 different names'),
    (GOOD | {'k': True}, '"k" is True; int is needed'),
    (GOOD | {'skills': ['dilemma', 'dilemma']}, 'k=2, but "skills" has 1 different names'),
    (GOOD | {'skills': ['dilemma', 'metafor']}, "no skill 'metafor': did you mean 'metaphor'"),
    (GOOD | {'skills': ['dilemma', 3]}, 'skill 3 is not a string'),
    (GOOD | {'skills': 'dilemma'}, '"skills" is \'dilemma\'; list is needed'),
    (GOOD | {'topic': 'Knot'}, "no topic 'Knot': did you mean 'Knots'"),
    (GOOD | {'id': ''}, '"id" is \'\'; str is needed'),
    ({key: value for key, value in GOOD.items() if key != 'topic'}, '"topic" is missing'),
    (GOOD | {'id': 'first'}, "id 'first' occurs twice"),
  ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, message):
  path = tmp_path / 'c.jsonl'
  line = line if isinstance(line, str) else json.dumps(line)
  path.write_text('\n'.join([json.dumps(GOOD | {'id': 'first'}), '', line]))
  with pytest.raises(InputError) as error:
    combinations.read(path, PAPER)
  assert str(error.value).startswith(f'{path}:3: ') and message in str(error.value)


def test_a_file_without_combinations_is_an_error(tmp_path):
  (tmp_path / 'c.jsonl').write_text('\n')
  with pytest.raises(InputError, match='no combinations in it'):
    combinations.read(tmp_path / 'c.jsonl', PAPER)
  with pytest.raises(InputError, match='No such file'):
    combinations.read(tmp_path / 'd.jsonl', PAPER)
