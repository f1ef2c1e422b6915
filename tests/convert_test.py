"""Hugging Face folders become checkpoints and checkpoints become Hugging Face folders, or nothing is left behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from helpers.chat_models import PUBLISHED
from helpers.data_fixtures import bpe_folder, fuzz_messages, mistral_folder
from helpers.from_torch import torch_model
from hf_test import cut_short, pickle_only
from train_test import make_config, run

from skillmix_jax import convert, pretrained
from skillmix_jax.answering import Model
from skillmix_jax.data import chat, tokenizer, tokenizer_export
from skillmix_jax.errors import InputError
from skillmix_jax.models import tensor_files
from skillmix_jax.train import train

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope='module')
def small_run(tmp_path_factory, small_hf) -> Path:
  """The same as a workdir."""
  folder = tmp_path_factory.mktemp('converted') / 'run'
  convert.from_hf(str(small_hf), folder, None)
  return folder


def left_in(folder: Path) -> list[str]:
  return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_there_and_back_is_bit_equal(tmp_path, small_hf, small_run, dtype):
  convert.to_hf(str(small_run), tmp_path / 'out', dtype, None)
  before, after = (tensor_files.open_folder(folder) for folder in (small_hf, tmp_path / 'out'))
  assert before.keys() == after.keys()
  for name in before:
    wanted = torch.from_numpy(before[name].read()).to(getattr(torch, dtype)).float().numpy()
    assert after[name].dtype == dtype
    np.testing.assert_array_equal(after[name].read().astype(np.float32), wanted)
  model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'out')
  assert model.generation_config.eos_token_id == 1 and model.dtype == getattr(torch, dtype)


def test_training_starts_from_a_folder_a_workdir_and_the_hub_alike(tmp_path, small_hf, small_run, small_data, hub):
  name = hub(small_hf)
  rows = [
    run(tmp_path / str(i), small_data, steps=1, model__init_from=reference, model__ffn_dim=96)
    for i, reference in enumerate((str(small_hf), str(small_run), f'{small_run}@0', name))
  ]
  assert all(row == rows[0] for row in rows)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(small_hf)
  config = json.loads((tmp_path / '0' / 'config.json').read_text())['model']
  assert config['num_kv_heads'] == 2 and config['max_positions'] == 256 and config['init_from'] == str(small_hf)
  assert theirs.config.hidden_size == config['dim']


def test_a_fine_tuned_model_is_the_same_model_in_transformers(tmp_path, small_hf, small_data):
  import jax

  from skillmix_jax.checkpoint import load_params
  from skillmix_jax.mesh import make_mesh, place_batch
  from skillmix_jax.models import decoder

  run(tmp_path / 'run', small_data, steps=3, model__init_from=str(small_hf), model__ffn_dim=96)
  convert.to_hf(f'{tmp_path}/run@3', tmp_path / 'out', 'float32', None)
  tokens = np.random.default_rng(0).integers(0, 304, (8, 16)).astype(np.int32)
  with torch.no_grad():
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'out')(torch.from_numpy(tokens)).logits
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    cfg = pretrained.open_source(str(tmp_path / 'run')).config
    model = load_params(tmp_path / 'run', 3, decoder.abstract(cfg), mesh)
    batch = place_batch(mesh, {'tokens': tokens, 'positions': np.tile(np.arange(16, dtype=np.int32), (8, 1))})
    ours = jax.jit(lambda model, tokens, positions: model(tokens, positions) @ model.head())(model, *batch.values())
  np.testing.assert_allclose(ours, expected.numpy().reshape(8 * 16, -1), atol=1e-4)

  card = (tmp_path / 'out' / 'README.md').read_text()
  fingerprint = json.loads((small_data / 'manifest.json').read_text())['fingerprint']
  for part in (str(small_hf), fingerprint, 'step 3', 'learning_rate | 0.003', 'loss_dialog', 'float32', '## Command'):
    assert part in card


def test_stock_orbax_opens_the_folder_as_the_docs_say(small_hf, small_run):
  text = (ROOT / 'docs' / 'guides' / 'weights.md').read_text()
  code = text.split('```python\n')[1].split('```')[0]
  names: dict = {}
  exec(code.replace('/absolute/path/to/W', str(small_run)), names)  # noqa: S102
  theirs = tensor_files.open_folder(small_hf)
  np.testing.assert_array_equal(names['params']['embed'], theirs['model.embed_tokens.weight'].read())
  query = theirs['model.layers.1.self_attn.q_proj.weight'].read()
  np.testing.assert_array_equal(names['params']['blocks']['query'][1], query.T)


@pytest.mark.parametrize('template', ['llama2', 'mistral'])
@pytest.mark.parametrize('kind', ['sentencepiece', 'byte-level'])
def test_the_exported_chat_template_gives_our_ids(tmp_path, kind, template):
  make = {'sentencepiece': mistral_folder, 'byte-level': bpe_folder}[kind]
  encoder = tokenizer.load(make(tmp_path / 'in'))
  (tmp_path / 'out').mkdir()
  tokenizer_export.export(encoder, template, tmp_path / 'out', 1024)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
  rng = random.Random(0)
  spelled = 0
  for number in range(1000):
    messages = fuzz_messages(rng, rounds=1 + number % 3, system=number % 5 == 0)
    spelled += any('</s>' in message['content'] for message in messages)
    ids, _ = chat.encode_dialog(template, encoder, messages)
    assert theirs.apply_chat_template(messages, return_dict=False) == ids.tolist(), messages
    prompt = chat.encode_prompt(template, encoder, messages[:-1]).tolist()
    assert theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False) == prompt, messages
  assert spelled > 100
  assert (theirs.bos_token_id, theirs.eos_token_id) == (encoder.bos_id, encoder.eos_id)
  text = 'def f(x):\n    return  x  # 日本語 🙂'
  assert theirs.decode(theirs(text, add_special_tokens=False).input_ids) == text


def test_an_exported_sentencepiece_tokenizer_is_the_same_tokenizer_when_it_comes_back(tmp_path):
  encoder = tokenizer.load(mistral_folder(tmp_path / 'in'))
  (tmp_path / 'out').mkdir()
  tokenizer_export.export(encoder, 'mistral', tmp_path / 'out', 1024)
  assert tokenizer.load(tmp_path / 'out').identity == encoder.identity


def test_roles_out_of_order_are_refused_by_the_exported_template(tmp_path):
  tokenizer_export.export(tokenizer.load(bpe_folder(tmp_path / 'in')), 'mistral', tmp_path / 'in', 1024)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'in')
  with pytest.raises(Exception, match='take turns'):
    theirs.apply_chat_template([{'role': 'assistant', 'content': 'a'}])


@pytest.mark.parametrize('how', [KeyboardInterrupt(), InputError('bad'), OSError(28, 'No space left on device')])
@pytest.mark.parametrize('where', ['from_hf', 'to_hf'])
def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch, small_hf, small_run, where, how):
  def fail(*args, **kwargs):
    raise how

  monkeypatch.setattr(convert, 'save_params', fail)
  monkeypatch.setattr(convert.hf, 'save', fail)
  expected = InputError if isinstance(how, OSError) else type(how)
  with pytest.raises(expected):
    if where == 'from_hf':
      convert.from_hf(str(small_hf), tmp_path / 'out', None)
    else:
      convert.to_hf(str(small_run), tmp_path / 'out', 'float32', None)
  assert left_in(tmp_path) == []


def test_what_a_killed_convert_left_is_cleared_away(tmp_path, small_hf):
  (tmp_path / '.run.part').mkdir()
  (tmp_path / '.run.part' / 'junk').write_text('half')
  convert.from_hf(str(small_hf), tmp_path / 'run', 'llama2')
  assert left_in(tmp_path) == ['run'] and not (tmp_path / 'run' / 'junk').exists()
  assert json.loads((tmp_path / 'run' / 'config.json').read_text())['data_identity']['template']['name'] == 'llama2'


def test_a_full_disk_and_a_taken_place_are_found_first(tmp_path, monkeypatch, small_hf, small_run):
  for out in (small_hf, small_run / 'config.json'):
    with pytest.raises(InputError, match='exists: give another folder'):
      convert.to_hf(str(small_run), out, 'float32', None)
    with pytest.raises(InputError, match='exists: give another folder'):
      convert.from_hf(str(small_hf), out, None)
  with pytest.raises(InputError, match='is not a folder'):
    convert.from_hf(str(small_hf), small_hf / 'config.json' / 'run', None)
  usage = shutil.disk_usage(tmp_path)._replace(free=1000)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  for act in (lambda: convert.to_hf(str(small_run), tmp_path / 'out', 'bfloat16', None),
              lambda: convert.from_hf(str(small_hf), tmp_path / 'out', None)):  # fmt: skip
    with pytest.raises(InputError, match=r'needs 0\.00 GiB.*free the space'):
      act()
  assert left_in(tmp_path) == []


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path, small_raw):
  torch_model('llama', vocab_size=160).save_pretrained(tmp_path)
  shutil.copy(small_raw / 'tokenizer' / 'tokenizer.json', tmp_path)
  with pytest.raises(InputError, match='has 304 tokens, but the embedding of the model has 160 rows'):
    convert.from_hf(str(tmp_path), tmp_path / 'run', None)


def test_training_refuses_weights_of_another_template_or_tokenizer(tmp_path, small_data, small_hf):
  llama = shutil.copytree(small_hf, tmp_path / 'llama')
  torch_model('llama', vocab_size=304).save_pretrained(llama)
  with pytest.raises(InputError, match='another template'):
    train(make_config(small_data, model__init_from=str(llama)), tmp_path / 'run')
  other = shutil.copytree(small_hf, tmp_path / 'other')
  mistral_folder(other)
  with pytest.raises(InputError, match='has 32000 tokens, but the embedding'):
    train(make_config(small_data, model__init_from=str(other)), tmp_path / 'run')
  with pytest.raises(InputError, match=r'make it from Hugging Face weights: python -m skillmix_jax\.convert'):
    train(make_config(small_data, model__init_from='checkpoints/nothing-here'), tmp_path / 'run')


def test_auto_takes_the_template_that_the_tokenizer_brought_along(tmp_path, small_hf, small_run):
  for use in (lambda: convert.to_hf(str(small_run), tmp_path / 'out', 'float32', 'auto'),
              lambda: Model(str(small_run), template='auto')):  # fmt: skip
    with pytest.raises(InputError, match='--template=auto: there is no chat template beside'):
      use()
  brought = shutil.copytree(small_hf, tmp_path / 'hf')
  (brought / 'chat_template.jinja').write_text(PUBLISHED['llama2'])
  convert.from_hf(str(brought), tmp_path / 'run', 'auto')
  saved = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert saved['data_identity']['template']['name'] == 'llama2'
  assert Model(str(tmp_path / 'run'), template='auto').settings['template'] == 'llama2'
  assert Model(str(brought), template='auto').settings['template'] == 'llama2'


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
  """Puts a folder into a cache of huggingface_hub and goes offline; returns its name there."""

  def install(folder: Path) -> str:
    home = tmp_path_factory.mktemp('home')
    entry = home / 'models--some-org--tiny-model'
    revision = '0123456789' * 4
    shutil.copytree(folder, entry / 'snapshots' / revision)
    (entry / 'refs').mkdir()
    (entry / 'refs' / 'main').write_text(revision)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(home))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    return 'some-org/tiny-model'

  return install


def test_the_cache_of_the_hub_is_used_offline(tmp_path, small_hf, hub):
  folder = pretrained.fetch(hub(small_hf))
  assert left_in(folder) == left_in(small_hf)
  with pytest.raises(InputError, match='is not in the cache of huggingface_hub and the Hub cannot be reached'):
    pretrained.fetch('some-org/another-model')


@pytest.mark.parametrize(
  ('error', 'said'),
  [('GatedRepoError', 'is gated: accept its licence'), ('RepositoryNotFoundError', 'nor a repository on the Hub'),
   ('LocalEntryNotFoundError', 'cannot be reached'), ('HfHubHTTPError', 'could not be downloaded: ')],
)  # fmt: skip
def test_what_the_hub_refuses_is_explained(monkeypatch, error, said):
  from huggingface_hub import errors

  kind = getattr(errors, error)

  def refuse(name, **kwargs):
    raise kind.__new__(kind, '503')  # their constructors want a whole HTTP response

  monkeypatch.setattr('huggingface_hub.snapshot_download', refuse)
  with pytest.raises(InputError, match=said):
    pretrained.fetch('some-org/some-model')


def start(*arguments: str) -> subprocess.Popen:
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'HF_HUB_OFFLINE': '1', 'HF_HOME': '/nowhere'}
  return subprocess.Popen(
    [sys.executable, '-m', 'skillmix_jax.convert', *arguments],
    cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def test_bad_input_is_one_line_and_exit_code_2_and_leaves_nothing(tmp_path, small_hf, small_run):
  copies = {name: shutil.copytree(small_hf, tmp_path / name) for name in ('cut', 'pickle', 'scaled')}
  cut_short(copies['cut'] / tensor_files.SINGLE)
  pickle_only(copies['pickle'])
  config = json.loads((small_hf / 'config.json').read_text())
  config['rope_parameters'] = {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 1e4}
  (copies['scaled'] / 'config.json').write_text(json.dumps(config))
  out = tmp_path / 'place' / 'out'
  out.parent.mkdir()
  cases = {
    'header says': [f'--from_hf={copies["cut"]}', f'--checkpoint={out}'],
    'is a pickle': [f'--from_hf={copies["pickle"]}', f'--checkpoint={out}'],
    'rope scaling': [f'--from_hf={copies["scaled"]}', f'--checkpoint={out}'],
    'not in the cache': ['--from_hf=some-org/some-model', f'--checkpoint={out}'],
    'is neither a folder': ['--from_hf=/no/such/folder', f'--checkpoint={out}'],
    'give --checkpoint': [f'--from_hf={small_hf}'],
    'no checkpoint of step 7': [f'--checkpoint={small_run}@7', f'--to_hf={out}'],
    '--dtype belongs to --to_hf': [f'--from_hf={small_hf}', f'--checkpoint={out}', '--dtype=bfloat16'],
  }
  running = {said: start(*arguments) for said, arguments in cases.items()}
  for said, process in running.items():
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert errors.startswith('error: ') and errors.count('\n') == 1 and said in errors
  assert left_in(out.parent) == []


def test_sigterm_leaves_nothing(tmp_path, small_hf):
  process = start(f'--from_hf={small_hf}', f'--checkpoint={tmp_path}/run')
  while not (tmp_path / '.run.part').exists():
    assert process.poll() is None, process.stderr.read()
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=120)
  assert process.returncode == 143 and left_in(tmp_path) == []
