"""Eight CPU devices, one compile cache for all tests, and a small prepared data set."""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ['JAX_PLATFORMS'] = 'cpu'  # also where there is a GPU, and for every command that a test starts
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(Path(tempfile.gettempdir()) / 'skillmix_jax_test_compile_cache'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')

import jax
import pytest
import tokenizers
from helpers import fake_openai

from skillmix_jax.mesh import initialize_distributed

jax.config.update('jax_num_cpu_devices', 8)
initialize_distributed()  # as every command does, before the first device is touched

WORDS = ('sun', 'moon', 'river', 'stone', 'laughs', 'sings', 'falls', 'like', 'the', 'silver', 'storm', 'home')


def words(start: int, count: int) -> str:
  """A text of `count` words that differs for every start."""
  return ' '.join(WORDS[(start * start + 3 * i + start * i) % len(WORDS)] for i in range(count))


def make_dialog(i: int) -> dict:
  """A two-round dialog of about 45 tokens."""
  contents = [words(i, 4) + f' {i}', words(i + 7, 6), 'improve it', words(i + 11, 5)]
  roles = ['user', 'assistant'] * 2
  messages = [{'role': role, 'content': content} for role, content in zip(roles, contents)]
  return {'id': f'd{i}', 'messages': messages, 'meta': {'k': 1 + i % 3}}


def write_jsonl(path: Path, records: list[dict]) -> Path:
  """One record a line."""
  path.write_text(''.join(json.dumps(record) + '\n' for record in records))
  return path


@pytest.fixture(scope='session')
def small_raw(tmp_path_factory) -> Path:
  """32 dialogs, 60 documents and a byte-level BPE tokenizer of 304 pieces, all made on the spot."""
  folder = tmp_path_factory.mktemp('raw')
  write_jsonl(folder / 'dialogs.jsonl', [make_dialog(i) for i in range(32)])
  write_jsonl(folder / 'text.jsonl', [{'text': words(i, 80)} for i in range(100, 160)])
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
  bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  bpe.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=304, special_tokens=['<s>', '</s>'], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
  )
  bpe.train_from_iterator([words(i, 40) + ' [INST] [/INST] improve it' for i in range(50)], trainer)
  (folder / 'tokenizer').mkdir()
  bpe.save(str(folder / 'tokenizer' / 'tokenizer.json'))
  return folder


@pytest.fixture(scope='session')
def small_data(small_raw, tmp_path_factory) -> Path:
  """The same, prepared in rows of 64 tokens, with held-out rows of both sources."""
  from skillmix_jax.prepare import prepare

  out = tmp_path_factory.mktemp('prepared') / 'data'
  prepare(
    out=out, tokenizer_path=small_raw / 'tokenizer', template='mistral', length=64,
    dialogs=[str(small_raw / 'dialogs.jsonl')], text=[str(small_raw / 'text.jsonl')], held_out=0.2,
  )  # fmt: skip
  return out


@pytest.fixture(scope='session')
def small_hf(tmp_path_factory, small_raw) -> Path:
  """A random Mistral folder with the tokenizer of the small data."""
  from helpers.from_torch import torch_model

  folder = tmp_path_factory.mktemp('hf') / 'model'
  torch_model('mistral', vocab_size=304).save_pretrained(folder)
  shutil.copy(small_raw / 'tokenizer' / 'tokenizer.json', folder)
  return folder


@pytest.fixture(scope='session')
def inputs(tmp_path_factory) -> Path:
  """A folder with one file of every source that `prepare` takes, and a tokenizer."""
  from helpers.preparing import write_inputs

  return write_inputs(tmp_path_factory.mktemp('inputs'))


@pytest.fixture
def planted_keys(monkeypatch):
  """A key of its own for each vendor, and no server but the vendors'."""
  monkeypatch.delenv('OPENAI_BASE_URL', raising=False)
  for name in fake_openai.KEYS:
    monkeypatch.setenv(name, fake_openai.KEYS[name])


@pytest.fixture(scope='module')
def results():
  """What the paper prints, for the tests of the report page."""
  from helpers import page_fixtures

  return page_fixtures.results()


@pytest.fixture(scope='module')
def runs():
  """A few small runs for the report page."""
  from helpers import page_fixtures

  return page_fixtures.small_runs()


@pytest.fixture(scope='module')
def text():
  """The report page of `runs`."""
  from helpers import page_fixtures

  return page_fixtures.small_page()
