"""Corrected marks: what people would have given, from a sheet that is no simple random sample."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import simulated_audits as simulated

from configs import eval_paper
from evals.marking.marks import Marks
from evals.questions import catalog
from evals.questions.settings import from_config
from evals.results import corrected
from evals.results.corrected import Corrections
from evals.results.graded import GradedText


def texts_of(counts):
  """{(setting, k): (texts with the grader's full marks, others)} -> texts, each a combination."""
  texts = []
  for (setting, k), numbers in counts.items():
    for is_full, number in zip((1, 0), numbers):
      for i in range(number):
        name, marks = f'{setting}-{k}-{is_full}-{i}', SimpleNamespace(full_marks=is_full)
        texts.append(SimpleNamespace(combination=name, generation=1, setting=setting, k=k, marks=marks))
  return texts


def said(texts, plan):
  """{(setting, k, is_full): (people's full marks, marked texts)} -> what people say of the first texts of a stratum."""
  found = {}
  for (setting, k, is_full), (yes, n) in plan.items():
    group = [one for one in texts if (one.setting, one.k, one.marks.full_marks) == (setting, k, is_full)]
    found |= {(one.combination, 1): float(i < yes) for i, one in enumerate(group[:n])}
  return found


COUNTS = {('train', 2): (300, 100), ('held_out', 2): (40, 360)}
PLAN = {('train', 2, 1): (18, 20), ('train', 2, 0): (3, 20), ('held_out', 2, 1): (12, 20), ('held_out', 2, 0): (1, 20)}


def test_corrected_marks_are_those_computed_by_hand():
  texts = texts_of(COUNTS)
  found = corrected.correct(texts, said(texts, PLAN), seed=0)
  run, train, held_out = found.ratios
  assert (run.texts, run.graded.mean, run.marked) == (800, 340 / 800, (40, 40))
  # prediction-powered: the grader's mean plus the mean error of each stratum, which counts by its texts
  assert train.prediction_powered.mean == pytest.approx(300 / 400 - 300 / 400 * 2 / 20 + 100 / 400 * 3 / 20)
  assert held_out.prediction_powered.mean == pytest.approx(40 / 400 * 12 / 20 + 360 / 400 * 1 / 20)
  whole = (300 * 18 / 20 + 100 * 3 / 20 + 40 * 12 / 20 + 360 * 1 / 20) / 800
  assert run.prediction_powered.mean == pytest.approx(whole)
  # Rogan and Gladen, from the weighted table of the whole run
  both, only_people = 300 * 18 / 20 + 40 * 12 / 20, 100 * 3 / 20 + 360 * 1 / 20
  sensitivity, specificity = both / (both + only_people), (460 - only_people) / (800 - both - only_people)
  assert found.sensitivity.mean == pytest.approx(sensitivity) and found.specificity.mean == pytest.approx(specificity)
  for one, p in ((run, 340 / 800), (train, 300 / 400), (held_out, 40 / 400)):
    theirs = min(1, max(0, (p + specificity - 1) / (sensitivity + specificity - 1)))
    assert one.rogan_gladen.mean == pytest.approx(theirs)
  assert run.rogan_gladen == run.prediction_powered
  for one in found.ratios:
    for estimate in (one.graded, one.prediction_powered, one.rogan_gladen):
      assert 0 <= estimate.ci95.low <= estimate.mean <= estimate.ci95.high <= 1


def test_a_sheet_that_is_taken_for_a_simple_random_sample_would_be_wrong():
  """Of 40 + 360 texts 20 + 20 are marked: unweighted, people seem to give full marks to 13 of 40."""
  texts = texts_of({('held_out', 2): (40, 360)})
  found = corrected.correct(texts, said(texts, {('held_out', 2, 1): (12, 20), ('held_out', 2, 0): (1, 20)}), seed=0)
  low, high = found.ratios[0].prediction_powered.ci95
  assert low < 0.105 < high < 13 / 40


def test_the_interval_carries_the_noise_of_the_sheet():
  """The same texts and shares: four times the marked texts, about half the width, and never that of the raw mark."""
  texts = texts_of({('all', 2): (2000, 2000)})
  widths = []
  for n in (20, 80, 320):
    found = corrected.correct(texts, said(texts, {('all', 2, 1): (n * 0.8, n), ('all', 2, 0): (n * 0.2, n)}), seed=0)
    one = found.ratios[0]
    widths.append(one.prediction_powered.ci95.high - one.prediction_powered.ci95.low)
    normal = 2 * 1.96 * np.sqrt(0.36 * 0.25 / 4000 + 2 * 0.25 * 0.16 / n)  # p A + q B to first order
    assert widths[-1] == pytest.approx(normal, rel=0.12)
  assert widths[0] > 1.6 * widths[1] > 1.6**2 * widths[2]


def test_where_the_sheet_is_too_small_there_is_no_number():
  texts = texts_of(COUNTS)
  few = said(texts, PLAN | {('held_out', 2, 1): (3, 4)})
  run, train, held_out = corrected.correct(texts, few, seed=0).ratios
  assert held_out.prediction_powered is None and held_out.rogan_gladen is not None
  assert held_out.reason == '4 marked texts with full marks and 20 without; 5 of each needed'
  assert run.prediction_powered and train.prediction_powered and not run.reason
  nearly_none = corrected.correct(texts, said(texts, {('train', 2, 1): (2, 3), ('train', 2, 0): (0, 3)}), seed=0)
  assert nearly_none.sensitivity is None and '3 marked texts with full marks and 3 without' in nearly_none.reason
  assert all(one.rogan_gladen is None and one.prediction_powered is None for one in nearly_none.ratios)
  blind = {place: (n / 2, n) for place, (_, n) in PLAN.items()}  # people's marks have nothing to do with the grader's
  found = corrected.correct(texts, said(texts, blind), seed=0)
  assert found.sensitivity is None and 'do not show that the grader tells' in found.reason
  assert found.ratios[1].rogan_gladen is None and found.ratios[1].prediction_powered is not None


def test_a_cell_without_full_marks_needs_none_on_the_sheet():
  texts = texts_of({('all', 5): (0, 100)})
  (run, cell) = corrected.correct(texts, said(texts, {('all', 5, 0): (1, 20)}), seed=0).ratios
  assert cell.prediction_powered.mean == pytest.approx(1 / 20) and not cell.reason
  assert run.rogan_gladen == run.prediction_powered


def graded(named=(False, False), num_sentences=1, points=(1, 1, 1, 1, 1)):
  return GradedText(
    'a',
    'all',
    2,
    ('x', 'y'),
    't',
    1,
    'g',
    'Text.',
    '',
    '',
    (points,),
    ('',),
    num_sentences,
    named,
    points,
    Marks(1, 1, 1.0),
  )


def test_people_count_alike_and_by_the_rules_of_the_run():
  settings = from_config(eval_paper.get_config().to_dict())
  full = {'skills': [1, 1], 'on_topic': [1], 'sense': [1], 'length': [1]}
  given = lambda people, text: corrected.full_marks_of(
    [{('a', 1): full | one} for one in people], {('a', 1): text}, catalog.load(), settings
  )
  assert given([{}, {'sense': [0]}, {}], graded()) == {('a', 1): pytest.approx(2 / 3)}
  assert given([{'sense': [None]}, {}], graded()) == {('a', 1): 1}  # one left open what counts
  assert given([{'sense': [None]}], graded()) == {}
  assert given([{'length': [0]}], graded()) == given([{'length': [None]}], graded()) == {('a', 1): 1}  # it is counted
  assert given([{}], graded(num_sentences=2)) == {('a', 1): 0}
  assert (
    given([{}], graded(named=(True, False))) == given([{'skills': [None, 1]}], graded((True, False))) == {('a', 1): 0}
  )
  settings = dataclasses.replace(settings, length='grader', name_filter=False)
  assert given([{'length': [0]}], graded()) == {('a', 1): 0} and given([{}], graded((True, False))) == {('a', 1): 1}


def test_corrections_are_read_back():
  texts = texts_of(COUNTS)
  found = corrected.correct(texts, said(texts, PLAN | {('held_out', 2, 1): (3, 4)}), seed=0)
  assert Corrections.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_intervals_of_a_simulated_audit_cover():
  """A quick look; tests/slow/corrected_coverage_test.py has the shares."""
  found, width = simulated.coverage(25, 100, lambda *_: 0.9, lambda *_: 0.85, num=60)
  assert found['run'] >= 0.84 and found['cells'] >= 0.89 and found['rogan_gladen'] >= 0.89, found
  assert found['graded'] < 0.8 and width['cells'] > width['graded']
