"""A whole run: it learns, it resumes bit for bit, and it refuses what it cannot do before it costs anything."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import make_dialog, write_jsonl
from ml_collections import ConfigDict

from configs import tiny
from skillmix_jax import checkpoint, metrics
from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError
from skillmix_jax.experiment import default_workdir, model_config
from skillmix_jax.prepare import prepare
from skillmix_jax.train import Report, train

TIMED = ('tokens_per_second', 'trained_tokens_per_second', 'mfu')


def make_config(data: Path, **overrides) -> ConfigDict:
  """configs/tiny.py on small data with keys set as on the command line: 'a.b' is written a__b."""
  config = tiny.get_config()
  config.data.path = str(data)
  config.log_every, config.steps, config.checkpoint.every, config.held_out.every = 1, 6, 3, 3
  for name, value in overrides.items():
    *groups, key = name.split('__')
    node = config
    for group in groups:
      node = node[group]
    node[key] = value
  return config


def run(folder: Path, data: Path, **overrides) -> dict[tuple[int, str], float]:
  """Trains and returns every logged number but the timings, by (step, name)."""
  assert train(make_config(data, **overrides), folder) == 0
  rows = metrics.read_rows(folder / 'metrics.jsonl')
  return {(row['step'], name): x for row in rows for name, x in row.items() if name not in TIMED}


def saved_arrays(folder: Path, step: int) -> dict[str, np.ndarray]:
  """All arrays of a checkpoint as stock orbax reads them."""
  from orbax.checkpoint import v1 as ocp

  tree = ocp.load_checkpointables(folder.absolute() / 'checkpoints' / str(step))
  leaves = jax.tree_util.tree_leaves_with_path({'params': tree['params'], 'opt': tree['opt']})
  return {jax.tree_util.keystr(path): np.asarray(x) for path, x in leaves}


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, small_data):
  folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
  return folder, run(folder, small_data)


@pytest.mark.parametrize('stop', [1, 4])
def test_resume_equals_uninterrupted_run(tmp_path, small_data, uninterrupted, stop):
  folder, expected = uninterrupted
  run(tmp_path / 'run', small_data, steps=stop)
  resumed = run(tmp_path / 'run', small_data)
  extra = {key for key in resumed if key[0] == stop and key[1].startswith('held_out')}  # a run's last step is measured
  assert {key: x for key, x in resumed.items() if key not in extra} == {
    key: x for key, x in expected.items() if key not in extra
  }
  ours, theirs = saved_arrays(tmp_path / 'run', 6), saved_arrays(folder, 6)
  assert ours.keys() == theirs.keys() and len(ours) > 30
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_run_moves_from_8_to_4_to_2_to_1_devices(tmp_path, small_data, uninterrupted):
  _, expected = uninterrupted
  for steps, devices in ((2, 8), (3, 4), (4, 2), (5, 1)):
    run(tmp_path, small_data, steps=steps, mesh__fsdp=devices)
  moved = run(tmp_path, small_data, mesh__data=2, mesh__fsdp=4)
  for step in range(1, 7):  # the same batches, so the same numbers but for the order of additions
    for name in ('loss', 'loss_dialog', 'loss_text', 'grad_norm'):
      np.testing.assert_allclose(moved[step, name], expected[step, name], rtol=1e-4)


def test_restored_arrays_are_bit_equal_on_every_mesh(small_data, uninterrupted):
  from skillmix_jax.mesh import make_mesh
  from skillmix_jax.models import decoder
  from skillmix_jax.models.config import Config
  from skillmix_jax.workdir import read_config

  folder, _ = uninterrupted
  expected = saved_arrays(folder, 6)
  shape = read_config(folder)['model']
  cfg = Config(**{name: x for name, x in shape.items() if name != 'init_from'})
  for sizes in ((1, 8, 1), (1, 4, 1), (2, 1, 1), (1, 1, 1), (2, 2, 2)):
    mesh = make_mesh(*sizes)
    with jax.set_mesh(mesh):
      params = checkpoint.load_params(folder, 6, decoder.abstract(cfg), mesh)
    assert params.blocks.query[...].sharding.mesh.shape == mesh.shape
    np.testing.assert_array_equal(params.blocks.query[...], expected["['params']['blocks']['query']"])
    np.testing.assert_array_equal(params.embed[...], expected["['params']['embed']"])


def test_rows_of_a_run(small_data, uninterrupted):
  folder, rows = uninterrupted
  assert {step for step, _ in rows} == set(range(7))
  held_out = {(s, f'held_out_loss_{x}') for s in (0, 3, 6) for x in ('dialogs', 'text')}
  assert {key for key in rows if 'held_out' in key[1]} == held_out
  assert rows[1, 'learning_rate'] == 0 and rows[2, 'learning_rate'] == np.float32(3e-3 / 8)
  assert abs(rows[0, 'held_out_loss_dialogs'] - np.log(304)) < 0.2  # a random model knows nothing
  assert abs(rows[1, 'loss'] - rows[1, 'loss_dialog'] - rows[1, 'loss_text']) < 1e-5
  start = json.loads((folder / 'run.json').read_text())['starts'][0]
  assert start['packages']['jax'] == jax.__version__ and start['devices']['num'] == 8
  assert list(folder.glob('events.out.tfevents.*')) and (folder / 'tokenizer' / 'tokenizer.json').exists()


def test_another_run_starts_from_the_weights_it_is_told(tmp_path, small_data, uninterrupted):
  folder, _ = uninterrupted
  kept = folder / 'checkpoints' / '6' / 'params'
  assert kept.exists()
  rows = run(tmp_path / 'next', small_data, model__init_from=f'{folder}@6', seed=1)
  before = metrics.read_rows(folder / 'metrics.jsonl')[-1]
  assert rows[0, 'held_out_loss_dialogs'] == before['held_out_loss_dialogs']


def test_a_run_goes_on_without_what_it_started_from(tmp_path, small_data, uninterrupted):
  folder, _ = uninterrupted
  shutil.copytree(folder, tmp_path / 'base')
  expected = run(tmp_path / 'whole', small_data, model__init_from=str(tmp_path / 'base'), steps=2)
  run(tmp_path / 'run', small_data, model__init_from=str(tmp_path / 'base'), steps=1)
  shutil.rmtree(tmp_path / 'base')
  resumed = run(tmp_path / 'run', small_data, model__init_from=str(tmp_path / 'base'), steps=2)
  assert resumed[2, 'loss'] == expected[2, 'loss']


def test_packing_trains_on_the_same_tokens(tmp_path, small_raw, small_data, capsys):
  # Rows three times as long hold several dialogs; of the two rows of text that 4 pieces take, one is not full.
  longer = tmp_path / 'data'
  prepare(
    out=longer, tokenizer_path=small_raw / 'tokenizer', template='mistral', length=64, row_length=192,
    dialogs=[str(small_raw / 'dialogs.jsonl')], text=[str(small_raw / 'text.jsonl')], held_out=0.2,
  )  # fmt: skip
  packed = {'steps': 2, 'data__text_rows': 4, 'data__packing': True, 'mesh__fsdp': 1, 'checkpoint__every': 1}
  apart = run(tmp_path / 'apart', small_data, steps=1, data__text_rows=4, mesh__fsdp=4)
  together = run(tmp_path / 'together', longer, **packed)
  assert 'rows x 192 tokens' in capsys.readouterr().err
  for name in ('loss', 'loss_dialog', 'loss_text', 'grad_norm'):
    np.testing.assert_allclose(together[1, name], apart[1, name], rtol=1e-5)
  gradients, expected = (  # ten times Adam's first moments
    {name: x for name, x in saved_arrays(tmp_path / name, 1).items() if '.mu' in name or "'mu'" in name}
    for name in ('together', 'apart')
  )
  assert gradients.keys() == expected.keys() and len(expected) > 9
  for name, x in expected.items():
    np.testing.assert_allclose(gradients[name], x, rtol=1e-4, atol=1e-5 * np.abs(x).max(), err_msg=name)

  shutil.rmtree(tmp_path / 'together' / 'checkpoints' / '2')
  assert run(tmp_path / 'together', longer, **packed) == together  # it resumes bit for bit
  with pytest.raises(InputError, match=r'rows of 192 tokens .* --config\.data\.packing=True'):
    train(make_config(longer), tmp_path / 'not packed')


def test_it_overfits_32_dialogs(tmp_path, small_raw):
  data = tmp_path / 'data'
  prepare(
    out=data, tokenizer_path=small_raw / 'tokenizer', template='mistral', length=64,
    dialogs=[str(small_raw / 'dialogs.jsonl')], held_out=0.0,
  )  # fmt: skip
  rows = run(
    tmp_path / 'run', data, steps=260, data__text_rows=0, data__dialogs=32, checkpoint__every=1000, mesh__fsdp=1,
    optimizer__learning_rate=1e-2,
  )  # fmt: skip
  assert rows[1, 'loss_dialog'] > 5
  assert rows[260, 'loss_dialog'] < 0.05
  assert rows[260, 'loss_text'] is None


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, small_data, capsys):
  config = make_config(small_data, steps=40, optimizer__learning_rate=1e30, checkpoint__every=1)
  assert train(config, tmp_path) == 1
  said = capsys.readouterr().err.splitlines()[-1]
  assert 'not finite' in said and 'the last good checkpoint is step' in said
  good = int(said.split('is step ')[1].split()[0])
  for name, array in saved_arrays(tmp_path, good).items():
    assert np.isfinite(array).all(), name


@pytest.mark.parametrize(
  ('overrides', 'said'),
  [
    ({'steps': 0}, 'steps=0'),
    ({'data__dialogs': -1}, 'data.dialogs=-1'),
    ({'data__dialogs': 0, 'data__text_rows': 0}, 'a step needs rows'),
    ({'loss__chunks': 7}, 'loss.chunks=7 must divide'),
    ({'mesh__fsdp': 3, 'mesh__data': 3}, 'there are 8'),
    ({'mesh__fsdp': 0}, 'mesh.fsdp=0'),
    ({'mesh__tensor': 8}, 'num_kv_heads=2'),
    ({'data__dialogs': 4, 'data__text_rows': 2}, '8 devices, but a step has only 6 rows'),
    ({'model__vocab_size': 10}, 'too small for the data: 304 tokens'),
    ({'model__init_from': '/nowhere'}, 'no checkpoint there'),
    ({'checkpoint__keep': 0}, 'checkpoint.keep=0'),
    ({'model__attention': 'cudnn'}, 'needs NVIDIA GPUs'),
    ({'model__attention': 'splash'}, 'needs TPUs, this is cpu'),
    ({'data__path': None}, 'data.path is not set'),
    ({'data__path': '/nowhere/data'}, 'skillmix_jax.prepare'),
  ],
)
def test_what_cannot_be_done_is_said_before_compiling(tmp_path, small_data, overrides, said):
  with pytest.raises(InputError, match=said):
    train(make_config(small_data, **overrides), tmp_path / 'run')
  assert not (tmp_path / 'run' / 'metrics.jsonl').exists()


def test_on_gpus_float32_takes_xla_attention_and_cudnn_is_refused(tmp_path, small_data, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  data = open_data(str(small_data))
  for dtype, attention in (('float32', 'xla'), ('bfloat16', 'cudnn')):
    assert model_config(make_config(small_data, model__dtype=dtype), data, tmp_path).attention == attention
  with pytest.raises(InputError, match=r'model\.attention=cudnn does not compute in model\.dtype=float32'):
    model_config(make_config(small_data, model__attention='cudnn'), data, tmp_path)


@pytest.mark.parametrize(
  ('overrides', 'said'),
  [
    ({'optimizer__learning_rate': 1.0}, 'optimizer.learning_rate=0.003, not 1.0'),
    ({'seed': 5}, 'seed=0, not 5'),
    ({'data__dialogs': 9}, 'data.dialogs=8, not 9'),
    ({'model__dim': 32}, 'model.dim=64, not 32'),
  ],
)
def test_the_folder_of_another_run_is_refused(small_data, uninterrupted, overrides, said):
  folder, _ = uninterrupted
  with pytest.raises(InputError, match=said):
    train(make_config(small_data, **overrides), folder)


def test_a_folder_in_which_nothing_was_saved_is_free(tmp_path, small_data):
  with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
    patch.setattr('skillmix_jax.train.mixtures.iterate', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    train(make_config(small_data), tmp_path)
  assert (tmp_path / 'config.json').exists()
  assert run(tmp_path, small_data, steps=1, seed=5)[1, 'loss'] > 0


def test_changed_data_is_refused_by_what_changed(tmp_path, small_raw, small_data, uninterrupted):
  folder, _ = uninterrupted
  dialogs = write_jsonl(tmp_path / 'more.jsonl', [make_dialog(i) for i in range(33)])
  options = dict(
    tokenizer_path=small_raw / 'tokenizer', length=64, text=[str(small_raw / 'text.jsonl')], held_out=0.2,
    dialogs=[str(dialogs)],
  )  # fmt: skip
  for name, template in (('fingerprint', 'mistral'), ('template', 'llama2')):
    prepare(out=tmp_path / name, template=template, **options)
    says = (
      'was trained on other data .fingerprint [0-9a-f]{12}, then in .*prepared' if name == 'fingerprint' else 'another'
    )
    with pytest.raises(InputError, match=says) as error:
      train(make_config(tmp_path / name), folder)
    assert str(tmp_path / name) in str(error.value) or name == 'template'
    assert len(re.findall('[0-9a-f]{64}', str(error.value))) == 0
    if name == 'template':
      with pytest.raises(InputError, match='another template'):
        train(make_config(tmp_path / name, model__init_from=str(folder)), tmp_path / 'run')


def test_a_folder_that_cannot_be_made_is_said(tmp_path, small_data):
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='cannot be made'):
    train(make_config(small_data), tmp_path / 'file' / 'run')


def test_running_out_of_memory_ends_with_advice(tmp_path, small_data, monkeypatch, capsys):
  def too_large(*args):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 40986628232 bytes.')

  monkeypatch.setattr('skillmix_jax.train.place_batch', too_large)
  assert train(make_config(small_data, held_out__rows=0), tmp_path) == 1
  assert 'model.remat=full' in capsys.readouterr().err


def test_a_row_is_written_without_work_for_the_device(tmp_path, small_data, monkeypatch):
  """Such work waits for the step that is queued: the devices idle, and that step's time counts for the wrong row."""
  original = Report.finish

  def finish(*args, **options):
    with jax.transfer_guard_host_to_device('disallow'):
      original(*args, **options)

  monkeypatch.setattr(Report, 'finish', finish)
  assert train(make_config(small_data, held_out__rows=0, steps=3), tmp_path) == 0


def test_a_full_disk_is_said_before_training(tmp_path, small_data, monkeypatch):
  usage = type('Usage', (), {'free': 1000})
  monkeypatch.setattr('skillmix_jax.checkpoint.shutil.disk_usage', lambda path: usage)
  with pytest.raises(InputError, match='GiB free, but a checkpoint and the next one'):
    train(make_config(small_data), tmp_path)
  assert not (tmp_path / 'metrics.jsonl').exists()


def test_the_workdir_is_named_after_the_config():
  assert str(default_workdir('configs/llama13b.py:D12')) == 'runs/llama13b-D12'
  assert str(default_workdir('configs/tiny.py')) == 'runs/tiny'
