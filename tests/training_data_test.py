"""What a student has seen is read from its training dialogs, whatever their texts hold."""

import json

import pytest

from evals.results import training_data
from skillmix_jax.errors import InputError

STRANGE = 'one\u2028two\u2029three\u0085four\x0bfive\x0c\x1c\x1d\x1e'


def dialog(*skills, text=STRANGE):
  return {'messages': [{'role': 'user', 'content': text}], 'meta': {'skills': skills, 'student': 'gpt-6-luna'}}


def write(path, *dialogs, end='\n'):
  path.write_text(''.join(json.dumps(one, ensure_ascii=False) + end for one in dialogs), encoding='utf-8', newline='')
  return str(path)


@pytest.mark.parametrize('end', ['\n', '\r\n', '\n\n'])
def test_a_text_may_hold_any_character_that_some_call_a_line_end(tmp_path, end):
  found = training_data.read([write(tmp_path / 'a.jsonl', dialog('irony', 'pun'), dialog('pun'), end=end)])
  assert found.skill_sets == {frozenset(('irony', 'pun')), frozenset(('pun',))}
  assert (found.files, found.families) == (('a.jsonl',), {'openai'})


def test_a_line_that_is_no_dialog_is_named(tmp_path):
  path = write(tmp_path / 'a.jsonl', dialog('irony'), {'messages': []})
  with pytest.raises(InputError, match=r'a\.jsonl:2: no dialog with "skills"'):
    training_data.read([path])


@pytest.mark.parametrize(
  ('line', 'words'),
  [(b'\xff{}', 'not UTF-8 at byte 0 of the line'), (b'{"meta', 'not JSON'), (b'["meta"]', 'not a JSON object')],
)
def test_a_damaged_line_is_named(tmp_path, line, words):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(json.dumps(dialog('irony')).encode() + b'\n\n' + line + b'\n')
  with pytest.raises(InputError, match=rf'a\.jsonl:3: {words}'):
    training_data.read([str(path)])
