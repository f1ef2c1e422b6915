"""Two runs get a verdict only where nothing but the student differs."""

import shutil

import pytest
from helpers.graded_runs import make

from evals import compare, report
from evals.questions import catalog
from evals.results import comparable, contrasts, graded
from skillmix_jax.errors import InputError


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """Eight combinations without a point."""
  return make(tmp_path_factory.mktemp('comparable') / 'base', 0)


def found(*paths):
  """What `compare` prints of runs."""
  runs = [graded.load(path, name) for path, name in zip(paths, comparable.names(paths))]
  return contrasts.decide(compare.find(runs, 'ratio_of_full_marks', [], []))


def test_a_better_student_is_higher(base, tmp_path):
  (one,) = found(base, make(tmp_path / 'better', 1))
  assert (one.verdict, one.n, one.asked, one.difference) == ('higher', 8, 8, 1)


def other_catalog(folder):
  """The paper's, with another word in the prompt that grades."""
  shutil.copytree(catalog.PAPER, folder / 'paper')
  prompt = folder / 'paper' / 'prompts' / 'grade.txt'
  prompt.write_text(prompt.read_text().replace('Greetings', 'Hello'))
  return str(folder / 'paper')


DIFFERING = {
  'temperature': {'params': {'temperature': 0.7}},
  'top p': {'params': {'top_p': 0.9}},
  'max tokens': {'params': {'max_tokens': 512}},
  'generations': {'generations': 3},
  'votes': {'votes': 1},
  'length': {'length': 'grader'},
  'name filter': {'name_filter': False},
  'grading prompt': {'grading_prompt': 'grade_claude'},
  'grader': {'grader': lambda request: 'fake-2-2026-12'},
  'grader params': {'grader_params': {'reasoning_effort': 'low'}},
  'catalog': {'catalog': other_catalog},
}
IN_A_CELL = {  # at k = 2; the grader of k = 1 is the base's
  'two graders': {'ks': (1, 2), 'grader': lambda request: f'fake-2-2026-1{1 + ("k2-0003" in str(request.slot))}'},
  'two models': {'student': lambda request: f'fake-1-{"k2-0003" in str(request.slot)}'},
}


@pytest.mark.parametrize('what', DIFFERING)
def test_runs_that_differ_in_anything_but_the_student_are_refused(what, base, tmp_path):
  changes = {name: value(tmp_path) if name == 'catalog' else value for name, value in DIFFERING[what].items()}
  path = make(tmp_path / 'other', 1, **changes)
  with pytest.raises(InputError) as refusal:
    found(base, path)
  said = str(refusal.value)
  assert f'base and other are not comparable: they differ in {what} (' in said, said
  assert any(remedy in said for remedy in ('sample other again', 'sample one of', 'repeat evals.sample', 'grade both'))
  with pytest.raises(InputError):  # the other way round too
    found(path, base)
  reports = [report.report_run(one, None) for one in (base, path)]
  assert report.find_contrasts(reports, None) == ([], [said])


@pytest.mark.parametrize('what', IN_A_CELL)
def test_a_cell_of_two_graders_or_of_a_renamed_student_gets_no_verdict(what, base, tmp_path):
  path = make(tmp_path / 'other', 1, **IN_A_CELL[what])
  for pair in ((base, path), (path, base)):
    (one,) = found(*pair)
    assert one.verdict == 'refused' and what in one.reason and one.p_holm == 1, one


def test_runs_without_a_question_in_common_are_refused(base, tmp_path):
  with pytest.raises(InputError, match='share no complete combination'):
    found(base, make(tmp_path / 'other', 1, seed=1))


def test_what_does_not_change_marks_may_differ(base, tmp_path):
  """More questions, adaptive votes, another folder's noise; a top_p of 1 is what a server takes."""
  longer = make(tmp_path / 'longer', 1, num_combinations=9, votes_mode='adaptive', params={'top_p': 1.0, 'seed': 3})
  (one,) = found(base, longer)
  assert (one.verdict, one.n, one.asked) == ('higher', 8, 8)


def test_what_is_refused_is_not_corrected_for(base, tmp_path):
  both = make(tmp_path / 'both', 0, ks=(1, 2))
  renamed = make(tmp_path / 'r', 1, ks=(1, 2), student=lambda r: f'fake-1-{r.slot.combination == "held_out-k2-0003"}')
  first, second = found(both, renamed)
  assert (first.k, first.verdict, second.verdict) == (1, 'higher', 'refused')
  assert first.p_holm == first.p


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
  """The toy experiment's own layout: s1/base, s1/ft, s2/base, s2/ft."""
  won = {'s1/base': 0, 's1/ft': 1, 's2/base': 1, 's2/ft': 1}
  paths = [make(tmp_path / name, points) for name, points in won.items()]
  by_pair = {(one.a, one.b): one.difference for one in found(*paths)}
  assert by_pair['s1/ft', 's1/base'] == 1 and by_pair['s2/ft', 's2/base'] == 0
  reports = [report.report_run(path, None, name) for path, name in zip(paths, comparable.names(paths))]
  contrasted, _ = report.find_contrasts(reports, None)
  views = {view.name: [(one.b, one.difference) for one in view.contrasts] for view in
           (report.to_view(one, contrasted) for one in reports)}  # fmt: skip
  assert views['s2/ft'] == [('s1/base', 1), ('s1/ft', 0), ('s2/base', 0)]


def test_a_run_is_called_by_as_little_of_its_path_as_tells_it_apart(tmp_path):
  paths = [tmp_path / name for name in ('s1/base', 's2/base', 'alone', 'x/s1/base')]
  assert comparable.names(paths)[1:] == ['s2/base', 'alone', 'x/s1/base']
  assert comparable.names(paths)[0] == f'{tmp_path.name}/s1/base'
  with pytest.raises(InputError, match='is given twice'):
    comparable.names([tmp_path / 'a', tmp_path / 'b' / '..' / 'a'])
