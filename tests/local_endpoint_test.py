"""A checkpoint of ours as an endpoint: no network, no key, the same answers after a restart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.collecting import ROOT, requests

from evals.replies.endpoints import Local, collect
from evals.replies.ledger import Ledger, Request, Slot
from skillmix_jax.errors import InputError


@pytest.fixture(scope='module')
def trained(small_data, tmp_path_factory) -> Path:
  from train_test import run

  folder = tmp_path_factory.mktemp('trained')
  run(folder / 'run', small_data, steps=1, data__text_rows=0, checkpoint__every=1000)
  return folder / 'run'


def test_a_checkpoint_answers_without_a_network_and_loses_a_batch_at_most(trained, tmp_path):
  local = lambda **options: Local(str(trained), max_tokens=8, dtype='float32', batch_size=8, **options)
  endpoint, asked = local(), requests(20)
  assert endpoint.model.startswith('checkpoint:') and endpoint.prices == (0.0, 0.0)
  assert endpoint.params == {'temperature': 0.7, 'top_p': 1.0, 'max_tokens': 8, 'seed': 0, 'dtype': 'float32'}

  def kill(request, reply):
    if len(Ledger(tmp_path / 'a')) == 11:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    collect(Ledger(tmp_path / 'a'), 'sample', asked, endpoint, kill)
  assert len(Ledger(tmp_path / 'a')) == 11
  for folder in ('a', 'b'):
    assert collect(Ledger(tmp_path / folder), 'sample', asked, endpoint) == []
  texts = [{row.slot: row.reply.text for row in Ledger(tmp_path / folder).rows()} for folder in ('a', 'b')]
  assert texts[0] == texts[1] and len(set(texts[0].values())) > 10  # the same after a restart; no two votes the same
  for row in Ledger(tmp_path / 'a').rows():
    assert 0 < row.reply.usage['completion_tokens'] <= 8 and row.reply.usage['prompt_tokens'] > 3
    assert row.reply.finish_reason in ('stop', 'length') and row.reply.model == endpoint.model
  code = 'import sys, evals.replies.endpoints as e; e.Local(sys.argv[1]); sys.exit("openai" in sys.modules)'
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  assert subprocess.run([sys.executable, '-c', code, str(trained)], cwd=ROOT, env=environment).returncode == 0


def test_a_prompt_that_is_too_long_is_refused_before_anything_is_sampled(trained, tmp_path):
  asked = [*requests(3), Request(Slot('long', 2, 'answer1'), ({'role': 'user', 'content': 'moon ' * 500},))]
  with pytest.raises(InputError, match=r"prompt 'long/g2/answer1' has \d+ tokens"):
    collect(Ledger(tmp_path), 'sample', asked, Local(str(trained), max_tokens=8))
  assert not list(tmp_path.iterdir())
  with pytest.raises(InputError, match='no checkpoint there'):
    Local('/nowhere')
