"""A data folder that is damaged, mixed or in use is named in one line; folders of earlier versions still open."""

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl
from rich.console import Console

from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.data_summary import show
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare

NEW = ('files', 'records_sha256')  # what manifests of earlier versions lack


def make(folder, number=0):
  """A small data folder; `number` changes the contents, not the number of rows."""
  rng = random.Random(number)
  folder.mkdir(parents=True, exist_ok=True)
  dialogs = write_jsonl(folder / 'dialogs.jsonl', [two_rounds(rng, i, k=1 + i % 3, words=8) for i in range(40)])
  text = write_jsonl(folder / 'text.jsonl', [{'text': f'{number} {i} ' + 'moon river ' * 40} for i in range(40)])
  out = folder / 'data'
  tokenizer = bpe_folder(folder / 'tokenizer')
  prepare(
    out=out, tokenizer_path=tokenizer, template='mistral', length=200, dialogs=[str(dialogs)], text=[str(text)],
    held_out=0.1,
  )  # fmt: skip
  return out


def age(data):
  """Makes a folder what earlier versions wrote."""
  manifest = json.loads((data / 'manifest.json').read_text())
  (data / 'manifest.json').write_text(json.dumps({name: x for name, x in manifest.items() if name not in NEW}))
  return data


def read_all(path) -> list:
  """Everything that training, `view` and `prepare` read of it."""
  data = open_data(path)
  text_rows = 3 * ('text' in data.sources('train'))
  batches = [Mixture(data, seed=0, dialogs=5, text_rows=text_rows, packing=True, steps=4)[g] for g in range(4)]
  show(data.manifest, Console(quiet=True))
  rows = [[tuple(map(str, dialog)) for dialog in data.dialogs(split)] for split in ('train', 'held_out')]
  return [*rows, *([row.tolist() for row in data.text(split)] for split in ('train', 'held_out')), batches[0].keys()]


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
  return {'new': make(tmp_path_factory.mktemp('new')), 'old': age(make(tmp_path_factory.mktemp('old')))}


def test_a_folder_of_an_earlier_version_opens_to_the_same(originals):
  assert read_all(originals['new']) == read_all(originals['old'])


@pytest.mark.parametrize('version', ['new', 'old'])
def test_damage_is_one_line_or_changes_nothing(originals, tmp_path, version):
  shutil.copytree(originals[version], tmp_path / 'data')
  expected, rng, named = read_all(tmp_path / 'data'), random.Random(0), 0
  files = sorted(path for path in (tmp_path / 'data').rglob('*') if path.is_file())
  for path in files * 12:
    whole = path.read_bytes()
    damaged, place = bytearray(whole), rng.randrange(len(whole))
    length = rng.choice((1, 4, 16))
    if rng.random() < 0.3:
      damaged = damaged[:place]
    else:
      damaged[place : place + length] = rng.randbytes(len(damaged[place : place + length]))
    path.write_bytes(damaged)
    try:
      found = read_all(tmp_path / 'data')
    except InputError as error:
      named += 1
      assert '\n' not in str(error) and str(tmp_path) in str(error)
    else:
      # What nothing was known of in earlier versions: the numbers of the manifest that are only shown.
      assert found == expected and (version == 'old' or bytes(damaged) == whole)
    path.write_bytes(whole)
  assert named > len(files) * 4


@pytest.mark.parametrize('file', ['dialogs-train-00000.array_record', 'text-train-00000.array_record', 'lengths.npy'])
def test_a_file_of_another_preparation_is_named(originals, tmp_path, file):
  other = make(tmp_path / 'other', number=1)
  shutil.copytree(originals['new'], tmp_path / 'data')
  shutil.copyfile(other / file, tmp_path / 'data' / file)
  with pytest.raises(InputError, match=f'{file} is damaged or of another preparation; run prepare again'):
    open_data(tmp_path / 'data')


def test_a_tokenizer_of_another_preparation_is_named(originals, tmp_path):
  shutil.copytree(originals['old'], tmp_path / 'data')
  bpe_folder(tmp_path / 'data' / 'tokenizer', specials=('<a>', '<s>', '</s>'))
  with pytest.raises(InputError, match='is not the tokenizer that the manifest names'):
    open_data(tmp_path / 'data')


def test_lengths_that_another_library_wrote_wrong_are_named(originals, tmp_path):
  shutil.copytree(originals['old'], tmp_path / 'data')
  lengths = np.load(tmp_path / 'data' / 'lengths.npy')
  for wrong in (lengths[:-1], lengths.astype(np.int64), lengths[::-1] + 1, lengths[None]):
    np.save(tmp_path / 'data' / 'lengths.npy', wrong)
    with pytest.raises(InputError, match=r'lengths\.npy is damaged'):
      open_data(tmp_path / 'data')


def test_a_second_prepare_to_one_place_is_refused_with_who_holds_it(tmp_path):
  out = tmp_path / 'data'
  holder = (
    'import sys; from pathlib import Path; from skillmix_jax.lock import hold\n'
    f'with hold(Path({str(out)!r}), Path({str(tmp_path / ".data.lock")!r})): print(flush=True); sys.stdin.read()'
  )
  with subprocess.Popen(
    [sys.executable, '-c', holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
  ) as process:
    process.stdout.readline()
    with pytest.raises(InputError, match=f'data is in use by process {process.pid} on '):
      make(tmp_path)
    process.stdin.close()
  read_all(make(tmp_path))


def test_a_jsonl_file_in_the_place_of_data_names_the_command_that_prepares_it(tmp_path):
  file = write_jsonl(tmp_path / 'a.jsonl', [{}])
  with pytest.raises(InputError, match=f'is a file; .* --dialogs={file} .*--out={tmp_path / "a"}$'):
    open_data(file)
