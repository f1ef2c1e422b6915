"""What prepare writes: the same bytes for the same input, every source, who is held out, what is cut."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from helpers.data_fixtures import two_rounds, write_jsonl
from helpers.preparing import LENGTH, hashes, make_data, only

from skillmix_jax import progress, workdir
from skillmix_jax.data import records, rows, sources
from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError


def test_same_input_gives_same_bytes(inputs, tmp_path):
  for name in ('a', 'b'):
    make_data(inputs, tmp_path / name)
  first, second = hashes(tmp_path / 'a'), hashes(tmp_path / 'b')
  assert first == second
  assert {'manifest.json', 'lengths.npy', 'tokenizer/tokenizer.json'} < first.keys()
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b']  # nothing temporary is left


def test_longer_rows_change_nothing_but_the_rows(inputs, tmp_path):
  folders = tmp_path / 'rows', tmp_path / 'longer'
  short, longer = make_data(inputs, folders[0]), make_data(inputs, folders[1], row_length=2 * LENGTH)
  assert (short.pop('row_length'), longer.pop('row_length')) == (LENGTH, 2 * LENGTH)
  assert short == longer and workdir.data_identity(short) == workdir.data_identity(longer)
  first, second = map(hashes, folders)
  assert [name for name in first | second if first.get(name) != second.get(name)] == ['manifest.json']
  for wrong in (LENGTH - 1, LENGTH + 1, 0, -LENGTH):
    with pytest.raises(InputError, match=f'--row_length={wrong} must be a multiple of --length={LENGTH}'):
      make_data(inputs, tmp_path / 'wrong', row_length=wrong)
  path = folders[1] / 'manifest.json'
  for wrong in ('3.5', '-200', f'"{LENGTH}"', f'{LENGTH + 1}', 'true'):
    path.write_text(path.read_text().replace(f'"row_length": {2 * LENGTH}', f'"row_length": {wrong}'))
    with pytest.raises(InputError, match='row_length is no multiple of length'):
      open_data(folders[1])
    path.write_text(path.read_text().replace(f'"row_length": {wrong}', f'"row_length": {2 * LENGTH}'))
  assert open_data(folders[1]).row_length == 2 * LENGTH


def test_what_is_written_is_read_back(inputs, tmp_path, monkeypatch):
  monkeypatch.setattr(records, 'RECORDS_PER_SHARD', 7)  # several shards of each
  manifest = make_data(inputs, tmp_path / 'd')
  data = open_data(tmp_path / 'd')
  assert data.manifest == manifest and data.length == LENGTH
  assert data.sources('train') == ('dialogs', 'code', 'wet', 'text')
  train, held_out = data.dialogs('train'), data.dialogs('held_out')
  assert len(train) + len(held_out) == 60 and len(held_out) > 0
  assert {dialog.id for split in (train, held_out) for dialog in split} == {f'dialog-{i}' for i in range(60)}
  assert data.lengths.tolist() == [len(dialog.tokens) for dialog in train]
  counts = manifest['sources']['dialogs']
  assert counts['tokens'] == data.lengths.sum()
  assert counts['trained_tokens'] == sum(dialog.mask.sum() for dialog in train)
  assert train[20].tokens.dtype == np.int32 and train[20].mask.dtype == bool
  shuffled = [30, 2, 9, 2]
  assert [dialog.id for dialog in train.read(shuffled)] == [train[i].id for i in shuffled]
  text = data.text('train')
  together = np.concatenate([data.text('train', source).read(range(len(data.text('train', source))))
                             for source in ('code', 'wet', 'text')])  # fmt: skip
  assert np.array_equal(text.read(range(len(text))), together) and together.shape[1] == LENGTH
  assert [text.source(i) for i in (0, len(text) - 1)] == ['code', 'text']
  with pytest.raises(IndexError):
    text[len(text)]


def test_text_rows_are_the_documents_between_bos_and_eos_without_gaps(inputs, tmp_path):
  make_data(inputs, tmp_path / 'd', **only(text=[str(inputs / 'text.jsonl')]))
  data = open_data(tmp_path / 'd')
  from skillmix_jax.data import tokenizer

  encoder = tokenizer.load(data.path / 'tokenizer')
  for split in records.SPLITS:
    expected = []
    for _, record in sources.dialogs([str(inputs / 'text.jsonl')]):
      if rows.is_held_out(record['text'], 0.1) == (split == 'held_out'):
        expected += [encoder.bos_id, *encoder.encode(record['text']), encoder.eos_id]
    found = data.text(split).read(range(len(data.text(split)))).ravel().tolist()
    assert found and found == expected[: len(found)] and len(expected) - len(found) < LENGTH
  trained = data.text('train').read(range(len(data.text('train'))))[:, 1:] != encoder.bos_id
  assert data.manifest['sources']['text']['trained_tokens'] == trained.sum()


def test_code_that_is_no_text_is_left_out_and_counted(inputs, tmp_path):
  counts = make_data(inputs, tmp_path / 'd', **only(code=str(inputs / 'src' / '**' / '*.py')))['sources']['code']
  assert (counts['documents'], counts['skipped_not_utf8'], counts['skipped_empty']) == (30, 1, 1)


@pytest.mark.parametrize(
  ('languages', 'documents', 'notes'),
  [
    ([], 40, {}),
    (['eng'], 30, {'kept_without_language': 10, 'skipped_other_language': 10}),
    (['deu'], 20, {'kept_without_language': 10, 'skipped_other_language': 20}),
  ],
)
def test_wet_pages_are_kept_by_language(inputs, tmp_path, languages, documents, notes):
  manifest = make_data(inputs, tmp_path / 'd', **only(wet=str(inputs / '*.wet.gz')), languages=languages)
  counts = manifest['sources']['wet']
  assert counts['documents'] == documents
  assert {key: n for key, n in counts.items() if key.startswith(('kept', 'skipped'))} == notes


def test_tfds_is_read_without_tensorflow(inputs, tmp_path):
  tfds = pytest.importorskip('tensorflow_datasets')
  texts = [f'stored {i} ' + 'storm ' * 60 for i in range(30)]

  class TinyStories(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({'text': tfds.features.Text()}))

    def _split_generators(self, dl_manager):
      return {'train': ((i, {'text': text}) for i, text in enumerate(texts))}

    def _generate_examples(self):
      raise NotImplementedError

  TinyStories(data_dir=str(tmp_path / 'tfds'), file_format='array_record').download_and_prepare()
  script = (
    'import sys; from skillmix_jax.prepare import prepare; from skillmix_jax.data import sources; '
    f'prepare(out={str(tmp_path / "d")!r}, tokenizer_path={str(inputs / "tokenizer")!r}, template="mistral", '
    f'length={LENGTH}, text=["tfds:tiny_stories:train"]); '
    'assert len(list(sources.text(["tfds:tiny_stories:1.0.0:train[:10%]"]))) == 3; '
    'assert "tensorflow" not in sys.modules and "torch" not in sys.modules, "imported"\n'
    'for spec in ("tfds:no_such_set:train", "tfds:tiny_stories:no_such_split", "tfds:tiny_stories"):\n'
    '  try: list(sources.text([spec])); print("no error")\n'
    '  except ValueError as error: print(type(error).__name__, str(error).count(chr(10)), error)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script],
    env={**os.environ, 'TFDS_DATA_DIR': str(tmp_path / 'tfds')},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert json.loads((tmp_path / 'd' / 'manifest.json').read_text())['sources']['text']['documents'] == 30
  errors = done.stdout.splitlines()[-3:]
  assert all(line.startswith('InputError 0 ') for line in errors), errors
  assert 'tfds build no_such_set --file_format=array_record' in errors[0]
  assert 'no_such_split' in errors[1] and 'tfds:NAME:SPLIT' in errors[2]


def test_rows_are_shared_equally_and_short_sources_leave_theirs(inputs, tmp_path):
  everything = {name: counts['train_rows'] for name, counts in make_data(inputs, tmp_path / 'a')['sources'].items()}
  shares = lambda max_rows: {
    name: counts['train_rows']
    for name, counts in make_data(inputs, tmp_path / str(max_rows), dialogs=[], max_rows=max_rows)['sources'].items()
  }
  assert shares(30) == {'code': 10, 'wet': 10, 'text': 10}
  shortest = min(('code', 'wet', 'text'), key=everything.get)
  wanted = 3 * everything[shortest] + 8
  uneven = shares(wanted)
  assert sum(uneven.values()) == wanted and uneven[shortest] == everything[shortest]
  assert max(uneven.values()) - everything[shortest] <= 8


def test_growing_files_and_copies_move_no_dialog_to_the_other_side(inputs, tmp_path):
  lines = [json.loads(line) for line in (inputs / 'dialogs.jsonl').read_text().splitlines()]
  copies = [{**line, 'id': 'copy-of-' + line['id'], 'meta': {}} for line in lines]
  rng = random.Random(5)
  more = [two_rounds(rng, 1000 + i, words=8) for i in range(40)]
  grown = write_jsonl(tmp_path / 'grown.jsonl', more[:20] + copies + lines + more[20:])
  sides = []
  for number, file in enumerate((inputs / 'dialogs.jsonl', grown)):
    make_data(inputs, tmp_path / str(number), **only(dialogs=[str(file)]))
    data = open_data(tmp_path / str(number))
    sides.append({dialog.id: split for split in records.SPLITS for dialog in data.dialogs(split)})
  before, after = sides
  assert len(after) == 160
  assert all(after[name] == after['copy-of-' + name] == split for name, split in before.items())


def test_a_cut_dialog_keeps_its_beginning_and_gets_no_end_token(inputs, tmp_path):
  for length in (LENGTH, 130):
    make_data(inputs, tmp_path / str(length), **only(dialogs=[str(inputs / 'dialogs.jsonl')]), length=length, max_cut=1)
  whole, short = open_data(tmp_path / str(LENGTH)), open_data(tmp_path / '130')
  cut = lost = 0
  for split in records.SPLITS:
    for dialog, kept in zip(whole.dialogs(split), short.dialogs(split), strict=True):
      assert kept.tokens.tolist() == dialog.tokens[:130].tolist() and kept.mask.tolist() == dialog.mask[:130].tolist()
      assert (kept.tokens[-1] == whole.eos_id) == (len(dialog.tokens) <= 130)
      cut += len(dialog.tokens) > 130
      lost += int(dialog.mask[130:].sum())
  by_k = short.manifest['cuts']
  assert by_k.keys() == {'1', '2', '3'} and cut > 0
  assert sum(counts['cut'] for counts in by_k.values()) == cut
  assert sum(counts['lost_tokens'] for counts in by_k.values()) == lost
  assert sum(counts['dialogs'] for counts in by_k.values()) == 60


def test_dialogs_of_whose_last_answer_nothing_is_left_are_dropped_when_asked_and_counted(inputs, tmp_path):
  lines = [json.loads(line) for line in (inputs / 'dialogs.jsonl').read_text().splitlines()[:30]]
  rng = random.Random(9)
  late = [two_rounds(rng, 100 + i, k=3, words=8) for i in range(4)]
  for line in late:
    line['messages'][2]['content'] = 'moon ' * LENGTH
  without, mixed = (
    write_jsonl(tmp_path / 'a.jsonl', lines),
    write_jsonl(tmp_path / 'b.jsonl', late[:2] + lines + late[2:]),
  )
  expected = make_data(inputs, tmp_path / 'a', **only(dialogs=[str(without)]))
  with pytest.raises(InputError, match='--drop_cut'):
    make_data(inputs, tmp_path / 'b', **only(dialogs=[str(mixed)]))
  manifest = make_data(inputs, tmp_path / 'b', **only(dialogs=[str(mixed)]), drop_cut=True)
  assert manifest['fingerprint'] == expected['fingerprint'] and manifest['sources'] == expected['sources']
  longest = manifest['cuts']['3'].pop('longest'), expected['cuts']['3'].pop('longest')
  assert longest[0] > LENGTH >= longest[1]
  assert manifest['cuts']['3'] == {**expected['cuts']['3'], 'dropped': 4}
  assert {k: manifest['cuts'][k] for k in '12'} == {k: expected['cuts'][k] for k in '12'}
  only_late = write_jsonl(tmp_path / 'c.jsonl', late)
  for max_cut, says in ((0.5, 'k=3: 100%'), (1, 'in every dialog')):
    with pytest.raises(InputError, match=says):
      make_data(inputs, tmp_path / 'c', **only(dialogs=[str(only_late)]), drop_cut=True, max_cut=max_cut)


def test_a_dialog_of_exactly_the_length_is_not_cut():
  cuts = rows.Cuts(length=4)
  cuts.add('f:1', 'a', '1', np.array([False, True, True, True]))
  cuts.check(max_cut=0)
  cuts.add('f:2', 'b', '1', np.array([False, False, True, True, True]))
  assert cuts.by_k == {'1': {'dialogs': 2, 'cut': 1, 'lost_tokens': 1, 'longest': 5}}
  cuts.check(max_cut=0.5)
  with pytest.raises(InputError, match=r'50% of the dialogs.*a larger --length \(5 would cut none\)'):
    cuts.check(max_cut=0.4)


def test_the_fingerprint_changes_with_what_is_trained_only(inputs, tmp_path):
  rng = random.Random(0)
  dialogs = write_jsonl(tmp_path / 'x.jsonl', [two_rounds(rng, i, words=8) for i in range(20)])
  fingerprint = lambda **changes: make_data(
    inputs, tmp_path / 'd', **{**only(dialogs=[str(dialogs)]), **changes}
  )['fingerprint']  # fmt: skip
  first = fingerprint()
  (tmp_path / 'copy').mkdir()
  copy = tmp_path / 'copy' / 'y.jsonl'
  copy.write_bytes(dialogs.read_bytes())
  assert fingerprint(dialogs=[str(copy)]) == first
  others = [fingerprint(template='llama2'), fingerprint(length=250), fingerprint(held_out=0.5)]
  copy.write_text(copy.read_text().replace('moon', 'noon', 1))
  others.append(fingerprint(dialogs=[str(copy)]))
  assert len({first, *others}) == 5


def test_a_large_vocabulary_is_stored_in_four_bytes():
  dialog = records.Dialog(np.array([1, 70_000, 2], np.int32), np.array([False, True, True]), 'ünï')
  dtype = records.token_dtype(100_000)
  assert dtype.itemsize == 4 and records.token_dtype(65_536).itemsize == 2
  back = records.unpack_dialog(records.pack_dialog(dialog, dtype), dtype)
  assert back.tokens.tolist() == [1, 70_000, 2] and back.mask.tolist() == [False, True, True] and back.id == 'ünï'


def test_only_an_earlier_output_is_replaced(inputs, tmp_path):
  text = only(text=[str(inputs / 'text.jsonl')])
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'thesis.tex').write_text('x')
  with pytest.raises(InputError, match='not an output of prepare'):
    make_data(inputs, tmp_path / 'mine', **text)
  assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.tex']
  make_data(inputs, tmp_path / 'd')
  make_data(inputs, tmp_path / 'd', **text)
  assert open_data(tmp_path / 'd').sources('train') == ('text',)
  with pytest.raises(InputError):
    make_data(inputs, tmp_path / 'd', **only(text=['nothing.jsonl']))
  assert open_data(tmp_path / 'd').sources('train') == ('text',)  # a failed run leaves the old output
  assert sorted(path.name for path in tmp_path.iterdir()) == ['d', 'mine']


@pytest.mark.parametrize('damage', ['manifest.json', 'lengths.npy', 'text-train-00000.array_record', 'half'])
def test_an_incomplete_folder_names_the_command_that_makes_it(inputs, tmp_path, damage):
  out = tmp_path / 'd'
  make_data(inputs, out, **only(text=[str(inputs / 'text.jsonl')]))
  if damage == 'half':
    shard = out / 'text-train-00000.array_record'
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 3])
  else:
    (out / damage).unlink()
  with pytest.raises(InputError, match=r'python -m skillmix_jax\.prepare .*--out=') as error:
    open_data(out)
  assert '\n' not in str(error.value)


def test_a_log_gets_a_line_now_and_then(inputs, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(progress, 'SECONDS_BETWEEN_LINES', 0)
  make_data(inputs, tmp_path / 'd', **only(dialogs=[str(inputs / 'dialogs.jsonl')]))
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 60 and lines[0].startswith('dialogs: 1 read, ') and lines[59].endswith(' tokens/s')
