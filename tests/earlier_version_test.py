"""Files that an earlier version wrote open, mean the same and can be continued; tests/fixtures/make.sh made them."""

import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import minimix
from evals.minimix.__main__ import write as write_world
from evals.report import report_run
from skillmix_jax.answering import Model
from skillmix_jax.checkpoint import Checkpoints, load_params, steps_in
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.mesh import make_mesh
from skillmix_jax.metrics import read_rows
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.prompts import read_dialogs
from skillmix_jax.sample import sample
from skillmix_jax.step import State
from skillmix_jax.train import train
from skillmix_jax.workdir import read_config

OLD = Path(__file__).parent / 'fixtures' / '0.1'
BATCHES = {  # sha256 of batches 0 .. 3, by packing
  False: '9174c04ce48ed2af87ac41f34ca9cfba707eca1f9faddc6cf333b8ed9f437706',
  True: 'afe492718d22fec5dba45bc86ba37aac2a998abdd593963cf3b61f8fc0dbde7e',
}
STATES = {  # sha256 of weights and moments, by step
  1: 'd0e81bc8d474baa4d8f8baf6af264465d9a5130bdef1b2f25c2c61337eb38b01',
  2: '569cbfcfc5be52090e93bdc7257d5fe08c7752fcf7be4eed117763d19fb9e6ec',
}
WORLD = 'a0751fe72ceff27f7fa5fa5c5497d88d859b530f567dcebd7194ac6c46578b64'  # sha256 of seed 0's toy world, second study


def digest(arrays) -> str:
  """sha256 of the bits, in order."""
  sha = hashlib.sha256()
  for x in arrays:
    sha.update(np.ascontiguousarray(x).tobytes())
  return sha.hexdigest()


@pytest.fixture
def workdir(tmp_path):
  """A copy of the earlier version's, which may be written to."""
  return shutil.copytree(OLD / 'workdir', tmp_path / 'workdir')


@pytest.mark.parametrize('packing', [False, True])
def test_earlier_data_give_the_same_batches(packing):
  data = open_data(OLD / 'data')
  assert 'row_length' not in data.manifest and data.row_length == data.length
  mixture = Mixture(data, seed=0, dialogs=4, text_rows=1, packing=packing, steps=4)
  batches = [mixture[g] for g in range(4)]
  assert digest(batch[name] for batch in batches for name in sorted(batch)) == BATCHES[packing]


def test_earlier_checkpoints_hold_the_same_bits(workdir):
  saved = read_config(workdir)
  cfg = Config(**{name: value for name, value in saved['model'].items() if name != 'init_from'})
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh), Checkpoints(workdir, keep=2) as checkpoints:
    params = decoder.abstract(cfg)
    like = State(params, jax.eval_shape(Optimizer(**saved['optimizer']).transform(saved['steps']).init, params))
    for step, expected in STATES.items():
      state = checkpoints.restore(step, like, mesh)
      assert digest(jax.tree.leaves(state)) == expected
      alone = load_params(workdir, step, params, mesh)
      assert digest(jax.tree.leaves(alone)) == digest(jax.tree.leaves(state.params))


def test_an_earlier_run_is_continued(workdir):
  config = minimix.get_config('base')
  saved = read_config(workdir)
  for name in ('dialogs', 'text_rows'):
    config.data[name] = saved['data'][name]
  config.data.path, config.steps, config.log_every = str(OLD / 'data'), 3, 1
  config.optimizer.schedule, config.held_out.every, config.mesh.fsdp = 'constant', 3, 1
  for name in ('dim', 'num_layers', 'ffn_dim', 'num_heads', 'num_kv_heads', 'head_dim'):
    config.model[name] = saved['model'][name]
  before = (OLD / 'workdir' / 'metrics.jsonl').read_text()
  assert train(config, workdir) == 0
  assert (workdir / 'metrics.jsonl').read_text().startswith(before), 'its rows stay as they are'
  assert steps_in(workdir)[-1] == 3
  rows = read_rows(workdir / 'metrics.jsonl')
  assert [row['step'] for row in rows] == [0, 1, 2, 3]
  assert rows[-1].keys() == rows[-2].keys(), 'the held-out losses have the same names'


def test_earlier_answers_are_given_again_and_their_file_is_continued(workdir, tmp_path):
  answers = {row['id']: row for row in map(json.loads, (OLD / 'answers.jsonl').open())}
  model = Model(str(workdir), dtype='float32')
  rows = model.sample_dialogs(read_dialogs(OLD / 'prompts.jsonl'), temperature=0, max_new_tokens=12)
  assert {row['id']: row for row in rows} == answers
  cut = tmp_path / 'answers.jsonl'
  cut.write_text(''.join((OLD / 'answers.jsonl').read_text().splitlines(keepends=True)[:2]))
  sample(model, OLD / 'prompts.jsonl', cut, temperature=0, top_p=1, max_new_tokens=12, seed=0)
  assert {row['id']: row for row in map(json.loads, cut.open())} == answers


@pytest.mark.parametrize('name', ['run_exact', 'run_hosted'])
def test_earlier_runs_give_the_same_metrics(name, tmp_path):
  run = shutil.copytree(OLD / name, tmp_path / name)
  for derived in ('metrics.json', 'grades.jsonl'):
    (run / derived).unlink()
  report_run(run, None)
  assert (run / 'grades.jsonl').read_text() == (OLD / name / 'grades.jsonl').read_text()
  now, then = (json.loads((folder / 'metrics.json').read_text()) for folder in (run, OLD / name))
  assert now.pop('student_health') is not None  # the one thing that is new
  assert now == then and list(now) == list(then)


def test_the_toy_world_is_the_same(tmp_path):
  write_world(tmp_path, seed=0, num_dialogs=500, num_texts=100, pairs=0.15, share=0.05)
  files = sorted(path for path in tmp_path.rglob('*') if path.is_file())
  sha = hashlib.sha256()
  for path in files:
    sha.update(str(path.relative_to(tmp_path)).encode() + path.read_bytes())
  assert sha.hexdigest() == WORLD
