"""A run folder can be begun again after a kill at any moment, and changed until the first reply is paid for."""

import dataclasses
import json
import os
import shutil

import pytest

from configs import eval_generate, eval_paper
from evals import select
from evals.questions import catalog
from evals.questions.settings import from_config
from evals.replies import run
from evals.replies.ledger import Ledger, Reply, Request, Slot
from evals.replies.run import Student
from skillmix_jax.errors import InputError
from skillmix_jax.lock import hold

STUDENT = Student('openai:fake-1', 'fake-1', {})


def settings(config=eval_generate, **changes):
  return from_config(config.get_config().to_dict() | {'ks': (1, 2), 'num_combinations': 3} | changes)


def pay_for_one(path):
  with Ledger(path / 'replies').open_writer('answers') as writer:
    reply = Reply('text', 'stop', 'fake-1', {'prompt_tokens': 1, 'completion_tokens': 1}, 'c', 1.0, 't')
    writer.append(Request(Slot('x', 1, 'answer1'), ({'role': 'user', 'content': 'p'},)), 'key', 'fake-1', {}, reply)


class Killed(BaseException):
  """Not an Exception: nothing may catch it, as nothing catches a kill."""


def kill_at(monkeypatch, number):
  """Every call that changes the disk counts; that with this number does not happen, nor does any after it."""
  count, changes = -1, ('mkdir', 'replace', 'rmdir', 'unlink', 'open', 'rename')

  def guard(call):
    def counted(*arguments, **options):
      nonlocal count
      count += 1
      if count >= number:
        raise Killed
      return call(*arguments, **options)

    return counted

  for name in changes:
    monkeypatch.setattr(os, name, guard(getattr(os, name)))
  monkeypatch.setattr(shutil, 'copyfile', guard(shutil.copyfile))


def test_a_start_that_is_killed_anywhere_is_continued_by_the_same_command(tmp_path, monkeypatch):
  with hold(tmp_path / 'whole'):
    whole = run.start(tmp_path / 'whole', settings(), STUDENT)
  for number in range(100):
    path = tmp_path / f'killed{number}'
    with hold(path), monkeypatch.context() as patch:
      kill_at(patch, number)
      try:
        run.start(path, settings(), STUDENT)
      except Killed:
        pass
      else:
        break
    with hold(path):
      again = run.start(path, settings(), STUDENT)
    assert again.combinations == whole.combinations and again.catalog.fingerprint == whole.catalog.fingerprint
    assert {entry.name for entry in path.iterdir()} == {'catalog', 'combinations.jsonl', 'config.json'}
  assert 10 < number < 99


def test_a_run_without_replies_may_change_and_one_with_replies_may_not(tmp_path):
  path = tmp_path / 'run'
  run.start(path, settings(), STUDENT)
  other = Student('openai:fake-2', 'fake-2', {'temperature': 0.5})
  changed = settings(seed=5, exclude_skills=('dilemma',))
  assert run.start(path, changed, other).student == other
  assert run.open_run(path).settings == changed
  pay_for_one(path)
  for first, second, said in ((settings(), other, 'exclude_skills'), (changed, STUDENT, 'fake-2')):
    with pytest.raises(InputError, match=said):
      run.preview(path, first, second)
    with pytest.raises(InputError, match=said):
      run.start(path, first, second)


def test_a_folder_that_holds_something_else_is_refused_and_stays(tmp_path):
  (tmp_path / 'mine/catalog').mkdir(parents=True)
  (tmp_path / 'mine/catalog/skills.json').write_text('{}')
  (tmp_path / 'model').mkdir()
  (tmp_path / 'model/config.json').write_text('{"model_type": "llama"}')
  for name, said in (('mine', 'not empty and not a run'), ('model', 'not the config of a run')):
    with hold(tmp_path / name), pytest.raises(InputError, match=said):
      run.start(tmp_path / name, settings(), STUDENT)
  assert (tmp_path / 'mine/catalog/skills.json').read_text() == '{}'


@pytest.mark.parametrize(
  'changes',
  [
    {'generations': 10**20}, {'votes': 10**20}, {'num_combinations': 10**20}, {'ks': 10**20}, {'seed': 10**20},
    {'num_combinations': 900_000, 'generations': 900_000},
    {'student': {'temperature': None, 'top_p': None, 'max_tokens': 10**20}}, {'generations': 1.5}, {'votes': -1},
  ],
  ids=str,
)  # fmt: skip
def test_numbers_that_nobody_means_are_refused(changes):
  with pytest.raises(InputError, match=r'must be a whole number from . to|texts are asked for') as error:
    settings(**changes)
  assert '\n' not in str(error.value)


def test_held_out_texts_are_training_data_only_if_asked_for(tmp_path):
  both = run.start(tmp_path / 'both', settings(eval_paper), STUDENT)
  with pytest.raises(InputError, match=r'texts of all and held_out, .*--settings=train, or .*eval_generate'):
    select.check_settings(both, [])
  for asked in (['train'], ['train', 'held_out']):
    select.check_settings(both, asked)
  with pytest.raises(InputError, match=r"--settings=trian: .* has no 'trian', but train, held_out, all"):
    select.check_settings(both, ['trian'])
  generate = run.start(tmp_path / 'generate', settings(), STUDENT)
  select.check_settings(generate, [])  # D(1) is of all skills

  # a file of combinations may call its settings what it likes: then the skills and the topics tell
  paper = catalog.load()
  skill = {half: paper.pool(half)[0][0].name for half in ('train', 'held_out')}
  for number, (skills, topics, is_refused) in enumerate(
    (('train', 'train', False), ('held_out', 'train', True), ('train', 'held_out', True))
  ):
    line = {'id': 'a', 'setting': 'mine', 'k': 1, 'skills': [skill[skills]], 'topic': paper.topics[topics][0]}
    file = tmp_path / f'{number}.jsonl'
    file.write_text(json.dumps(line) + '\n')
    mine = run.start(tmp_path / f'mine{number}', settings(combinations=str(file)), STUDENT)
    assert select.held_out_settings(mine) == (['mine'] if is_refused else [])
    assert select.held_out_settings(dataclasses.replace(mine, combinations=[])) == []
