"""Damaged files of a run: each is said in one line, and the run goes on from the checkpoint before."""

import dataclasses
import json
import random
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.damage import damage_bytes, make_checkpoint, truncate
from lock_test import start_holder
from train_test import TIMED, make_config, run, saved_arrays

from skillmix_jax import checkpoint, metrics, train, workdir
from skillmix_jax.checkpoint import steps_in
from skillmix_jax.errors import InputError
from skillmix_jax.models.config import PRESETS
from skillmix_jax.restoring import DamagedCheckpoint


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """(a workdir with the steps 3 and 6 of a small state, what `restore` needs, the arrays)."""
  return make_checkpoint(tmp_path_factory.mktemp('saved') / 'run', steps=(3, 6))


@pytest.fixture
def copy(saved, tmp_path) -> Path:
  return shutil.copytree(saved.folder, tmp_path / 'run')


@pytest.mark.parametrize('seed', range(3))
def test_16_changed_bytes_are_noticed(saved, copy, seed):
  saved.check_damage(copy, random.Random(seed))


@pytest.mark.parametrize(
  ('damage', 'said'),
  [
    (lambda step: truncate(step / 'params'), 'cannot be read: params/'),
    (lambda step: (step / 'params' / '_METADATA').unlink(), '_METADATA'),
    (lambda step: (step / 'params' / '_METADATA').write_text('{"tree'), 'cannot be read'),
    (lambda step: shutil.rmtree(step / 'params'), 'params'),
    (lambda step: shutil.rmtree(step / 'opt'), 'opt'),
    (lambda step: (step / '_CHECKPOINT_METADATA').unlink(), '_CHECKPOINT_METADATA'),
    (lambda step: (step / '_CHECKPOINT_METADATA').write_bytes(b'\xff\x00'), 'cannot be read'),
    (lambda step: (shutil.rmtree(step), step.mkdir()), 'cannot be read'),
  ],
)
def test_what_cannot_be_read_is_one_line_and_the_step_before_is_taken(saved, copy, damage, said, capfd):
  step = copy / 'checkpoints' / '6'
  damage(step)
  content = sorted(path.relative_to(step) for path in step.rglob('*'))
  state, found = saved.restore_latest(copy)
  assert found == 3
  saved.check_equal(state)
  lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith('warning: ')]
  assert len(lines) == 1 and 'step 6 in' in lines[0] and said in lines[0] and 'going on from step 3' in lines[0]
  assert len(lines[0]) < 600
  aside = copy / 'checkpoints' / '6.damaged'  # nothing is deleted
  assert sorted(path.relative_to(aside) for path in aside.rglob('*')) == content and steps_in(copy) == [3]


def test_where_no_step_can_be_read_nothing_is_renamed(saved, copy):
  for step in ('3', '6'):
    truncate(copy / 'checkpoints' / step / 'params')
  with pytest.raises(DamagedCheckpoint, match=r'step 6 .*1 more there cannot be read either'):
    saved.restore_latest(copy)
  assert steps_in(copy) == [3, 6]


def test_a_folder_set_aside_goes_when_a_later_step_is_complete(saved, copy):
  truncate(copy / 'checkpoints' / '6' / 'params')
  with jax.set_mesh(saved.mesh), saved.open(copy) as checkpoints:
    state, _ = checkpoints.restore_latest(saved.like, saved.mesh)
    for step, there in ((5, True), (6, True), (7, False)):
      checkpoints.save(step, state)
      checkpoints.wait()
      assert (copy / 'checkpoints' / '6.damaged').exists() == there, step
  assert steps_in(copy) == [6, 7]


def test_whoever_samples_is_told_the_other_steps_in_one_line(saved, copy):
  truncate(copy / 'checkpoints' / '6' / 'params')
  truncate(copy / 'checkpoints' / '3' / 'opt')  # which is not read
  with jax.set_mesh(saved.mesh):
    with pytest.raises(InputError, match=rf'step 6 .*cannot be read: .*; use {copy}@3$'):
      checkpoint.load_params(copy, 6, saved.like.params, saved.mesh)
    checkpoint.load_params(copy, 3, saved.like.params, saved.mesh)


def test_bfloat16_weights_of_a_sampler_are_compared_too(saved, copy, monkeypatch):
  half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, 'bfloat16', sharding=x.sharding), saved.like.params)
  with jax.set_mesh(saved.mesh):
    got = checkpoint.load_params(copy, 6, half, saved.mesh)
    assert all(x.dtype == 'bfloat16' for x in jax.tree.leaves(got))
    metadata = copy / 'checkpoints' / '6' / '_CHECKPOINT_METADATA'
    content = json.loads(metadata.read_text())
    content['custom_metadata']['checksums']['params']['embed']['bfloat16'] ^= 1
    metadata.write_text(json.dumps(content))
    with pytest.raises(DamagedCheckpoint, match='params/embed is not what was saved'):
      checkpoint.load_params(copy, 6, half, saved.mesh)


def test_a_checkpoint_without_checksums_opens_and_says_so_once(saved, copy, capfd):
  metadata = copy / 'checkpoints' / '6' / '_CHECKPOINT_METADATA'
  content = json.loads(metadata.read_text())
  metadata.write_text(json.dumps(content | {'custom_metadata': {}}))
  state, step = saved.restore_latest(copy)
  assert step == 6 and capfd.readouterr().err.count('without checksums') == 1
  saved.check_equal(state)


def test_too_little_disk_keeps_one_checkpoint_and_says_so(saved, copy, monkeypatch, capsys):
  size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(saved.like))
  usage = type('Usage', (), {'free': int(1.5 * size)})
  shutil.rmtree(copy / 'checkpoints' / '3')
  monkeypatch.setattr('skillmix_jax.checkpoint.shutil.disk_usage', lambda path: usage)
  with jax.set_mesh(saved.mesh), saved.open(copy) as checkpoints:
    state, _ = checkpoints.restore_latest(saved.like, saved.mesh)
    checkpoints.check_disk(saved.like)
    assert 'only the last checkpoint is kept' in capsys.readouterr().err
    checkpoints.save(7, state)
  assert steps_in(copy) == [7]


def test_the_last_good_checkpoint_can_be_read_and_is_finite(saved, copy):
  with jax.set_mesh(saved.mesh), saved.open(copy) as checkpoints:
    state, _ = checkpoints.restore_latest(saved.like, saved.mesh)
    assert checkpoints.last_good(saved.like, saved.mesh) == 6
    truncate(copy / 'checkpoints' / '6' / 'opt')
    assert checkpoints.last_good(saved.like, saved.mesh) == 3
    broken = jax.tree.map(lambda x: x * np.nan, state.params)
    with pytest.raises(FloatingPointError, match='step 7'):
      checkpoints.save(7, state._replace(params=broken))
  assert steps_in(copy) == [3, 6]


def test_a_run_goes_back_a_checkpoint_and_ends_as_if_nothing_had_happened(tmp_path, small_data, capfd):
  numbers = lambda folder: [
    {name: x for name, x in row.items() if name not in TIMED} for row in metrics.read_rows(folder / 'metrics.jsonl')
  ]
  options = dict(checkpoint__every=2, held_out__rows=0, mesh__fsdp=1)
  run(tmp_path / 'whole', small_data, steps=6, **options)
  run(tmp_path / 'run', small_data, steps=4, **options)
  damage_bytes(tmp_path / 'run' / 'checkpoints' / '4' / 'params', random.Random(0), amount=4000)
  run(tmp_path / 'run', small_data, steps=6, **options)
  assert 'going on from step 2' in capfd.readouterr().err
  assert numbers(tmp_path / 'run') == numbers(tmp_path / 'whole')
  ours, theirs = saved_arrays(tmp_path / 'run', 6), saved_arrays(tmp_path / 'whole', 6)
  assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)

  starts = tmp_path / 'run' / 'run.json'
  starts.write_text(starts.read_text()[:100])
  with pytest.raises(InputError, match=r'run.json:\d+: not JSON .* or delete it'):
    train.train(make_config(small_data, **options, steps=7), tmp_path / 'run')
  with start_holder(tmp_path / 'run') as holder:
    with pytest.raises(InputError, match=f'is in use by process {holder.pid}'):
      train.train(make_config(small_data, **options, steps=7), tmp_path / 'run')
    holder.kill()


def test_samples_that_a_kill_prevented_are_written_by_the_next_start(tmp_path, small_data, monkeypatch):
  written = []

  class Samples:
    def __init__(self, *args):
      pass

    def has(self, step):
      return step in written

    def write(self, step, params):
      written.append(step)

  monkeypatch.setattr('skillmix_jax.train.TrainingSamples', Samples)
  options = dict(held_out__rows=0, mesh__fsdp=1, sample_every=1, sample_prompts='x', checkpoint__every=9)
  run(tmp_path, small_data, steps=2, **options)
  written.remove(2)
  run(tmp_path, small_data, steps=3, **options)
  assert written == [1, 2, 3]


def test_a_broken_line_in_the_middle_of_the_metrics_costs_that_line(tmp_path, capsys):
  path = tmp_path / 'metrics.jsonl'
  lines = [json.dumps({'step': step, 'loss': 1.0}) for step in range(1, 6)]
  lines[2] = lines[2][:7] + '\u2028\x00'
  path.write_text('\n'.join(lines) + '\n{"step": 6, "lo', encoding='utf-8')
  metrics.Writer(tmp_path, 4, 10).close()
  assert [row['step'] for row in metrics.read_rows(path)] == [1, 2, 4]
  said = capsys.readouterr().err.splitlines()
  assert len(said) == 1 and said[0].startswith(f'{path}:3: not a row')


@pytest.mark.parametrize('content', [b'', b'{"model": 1', b'\xff', b'[]', b'{"model": {}}'])
def test_a_damaged_config_is_one_line(tmp_path, content):
  (tmp_path / 'config.json').write_bytes(content)
  with pytest.raises(InputError, match=r'config\.json'):
    workdir.read_config(tmp_path)


@pytest.mark.parametrize(
  'edit',
  [{'lora': {'rank': 'x', 'alpha': 1.0, 'targets': []}}, {'lora': {'rank': 4}}, {'of_later': 1}, {'dim': 'wide'}],
)
def test_a_shape_that_was_edited_or_is_of_a_later_version_is_one_line(tmp_path, edit):
  model = {'init_from': ''} | dataclasses.asdict(PRESETS['qwen3-4b'])
  assert workdir.saved_model(tmp_path, {'model': model}) == PRESETS['qwen3-4b']
  with pytest.raises(InputError, match=r'config\.json: "model" is damaged, or a later version wrote it \(.*\); put a'):
    workdir.saved_model(tmp_path, {'model': model | edit})
