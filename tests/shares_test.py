"""`prepare --shares`: how many rows of text each source gives."""

import json
import re

import pytest
from helpers.preparing import hashes, make_data
from rich.console import Console

from skillmix_jax import data_summary
from skillmix_jax import prepare as command
from skillmix_jax.errors import InputError


def test_shares_decide_how_many_rows_each_source_has(inputs, tmp_path):
  shares = {'code': 1, 'wet': 2, 'text': 5}
  sources = make_data(inputs, tmp_path / 'a', dialogs=[], max_rows=40, shares=shares)['sources']
  num_rows = {name: counts['train_rows'] for name, counts in sources.items()}
  assert sum(num_rows.values()) == 40
  for name, wanted in {'code': 5, 'wet': 10, 'text': 25}.items():
    assert abs(num_rows[name] - wanted) <= 1, 'a document may fill more than one row'
    assert sources[name]['share_reached'] == num_rows[name] / 40
  assert [sources[name]['share_wanted'] for name in shares] == [0.125, 0.25, 0.625]
  assert not any(counts['ran_out'] for counts in sources.values())


def test_a_source_that_runs_out_is_said(inputs, tmp_path, capsys):
  there = make_data(inputs, tmp_path / 'all', dialogs=[], text=[])['sources']
  assert there['code']['train_rows'] > 8
  asked = there['wet']['train_rows'] + 8
  shares = {'code': 1, 'wet': 99}
  manifest = make_data(inputs, tmp_path / 'a', dialogs=[], text=[], max_rows=asked, shares=shares)
  code, wet = manifest['sources']['code'], manifest['sources']['wet']
  assert wet['ran_out'] and not code['ran_out'] and (code['train_rows'], wet['train_rows']) == (8, asked - 8)
  assert wet['share_reached'] == (asked - 8) / asked < wet['share_wanted'] == 0.99
  data_summary.show(manifest, Console(width=200))
  said = capsys.readouterr().out
  assert 'wants 99.0%; it ran out' in said and said.count('ran out') == 1


def test_without_shares_the_bytes_are_those_of_equal_ones(inputs, tmp_path):
  make_data(inputs, tmp_path / 'a', max_rows=30)
  make_data(inputs, tmp_path / 'b', max_rows=30, shares={'code': 2, 'wet': 2, 'text': 2})
  a, b = hashes(tmp_path / 'a'), hashes(tmp_path / 'b')
  assert {name for name in a if a[name] != b[name]} == {'manifest.json'}
  fingerprint = lambda name: json.loads((tmp_path / name / 'manifest.json').read_text())['fingerprint']
  assert fingerprint('a') == fingerprint('b')


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    (['code:1', 'crawl:3'], "--shares names code, crawl, but the text sources given are code, wet, text: 'crawl'"),
    (['code:1', 'text:1'], "'wet' must be in both"), (['code:0', 'wet:1'], "'code:0' must be NAME:NUMBER"),
    (['code'], "'code' must be NAME:NUMBER"), (['code:1', 'code:2'], "'code:2' must be"), (['code:nan'], 'above 0'),
  ],
)  # fmt: skip
def test_wrong_shares_are_refused(inputs, tmp_path, flag, message):
  with pytest.raises(InputError, match=re.escape(message)):
    make_data(inputs, tmp_path / 'a', max_rows=10, shares=command.parse_shares(flag))


def test_shares_of_everything_are_refused(inputs, tmp_path):
  with pytest.raises(InputError, match='--shares needs --rows'):
    make_data(inputs, tmp_path / 'a', shares={'code': 1, 'wet': 1, 'text': 1})
