"""A key is taken out of a text in whatever form, and nothing else is."""

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.replies.redaction import HIDDEN, Redaction

LETTERS = string.ascii_letters + string.digits + '-_'


def key_of(length, seed=0):
  return 'sk-' + ''.join(random.Random(seed).choices(LETTERS, k=length - 3))


@pytest.mark.parametrize('length', [16, 17, 20, 37, 51, 164])
def test_the_key_its_halves_and_its_base64_are_hidden(length):
  key = key_of(length)
  redaction, half = Redaction(key), length // 2
  for told in (key, key[:half], key[half:], key[: half + 1]):
    assert redaction.hide(f'It is "{told}".') == f'It is "{HIDDEN}".'
  assert redaction.hide(key + key) == HIDDEN
  assert redaction.hide(f'{key[:half]}\n{key[half:]}') == f'{HIDDEN}\n{HIDDEN}'
  for before in ('', 'x', 'me:', 'Bearer ', 'Authorization: Bearer '):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
      told = redaction.hide(f'<{encode(f"{before}{key} and more".encode()).decode()}>')
      pieces = base64.b64encode(key.encode()).decode()
      assert HIDDEN in told and key[-6:] not in told and pieces[4:12] not in told
      rest = told.strip('<>').split(HIDDEN)
      assert len(rest) == 2 and len(rest[0]) <= -(-len(before) * 4 // 3) + 1 and len(rest[1]) <= 16


@pytest.mark.parametrize('key', ['', 'EMPTY', 'none', 'password'])
def test_a_word_is_no_key(key):
  text = 'The EMPTY house has none, and no password.'
  assert Redaction(key).hide(text) == text


@given(st.text(alphabet='ab\u2028 *k-s', max_size=60))
def test_a_text_without_the_key_stays_as_it_is(text):
  assert Redaction(key_of(40)).hide(text) == text


def test_a_message_also_loses_what_servers_show_of_other_keys():
  redaction = Redaction(key_of(40))
  assert redaction.one_line('wrong key\n sk-ab12****wxyz, 1234***89!') == f'wrong key {HIDDEN} {HIDDEN}'
