import hashlib
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl, write_wet
from rich.console import Console

from skillmix_jax import data_summary, progress
from skillmix_jax import prepare as command
from skillmix_jax.data import records, rows, sources
from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare

LENGTH = 200


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
  """A folder with one file of every source and a tokenizer."""
  folder = tmp_path_factory.mktemp('inputs')
  rng = random.Random(0)
  write_jsonl(folder / 'dialogs.jsonl', [two_rounds(rng, i, k=1 + i % 3, words=8) for i in range(60)])
  write_jsonl(folder / 'text.jsonl', [{'text': f'document {i} ' + 'moon river ' * 40} for i in range(80)])
  (folder / 'src' / 'deep').mkdir(parents=True)
  for i in range(30):
    (folder / 'src' / 'deep' / f'f{i:02}.py').write_text(f'def f{i}(x):\n  return  x + {i}\n' * 20)
  (folder / 'src' / 'latin1.py').write_bytes(b'# caf\xe9\n')
  (folder / 'src' / 'empty.py').write_text('')
  languages = ['eng', 'deu', 'fra,eng', None]
  write_wet(folder / 'crawl.warc.wet.gz', [(f'page {i} ' + 'héllo ' * 60, languages[i % 4]) for i in range(40)])
  bpe_folder(folder / 'tokenizer')
  return folder


def _prepare(inputs, out, **changes):
  arguments = {
    'dialogs': [str(inputs / 'dialogs.jsonl')],
    'code': str(inputs / 'src' / '**' / '*.py'),
    'wet': str(inputs / '*.wet.gz'),
    'text': [str(inputs / 'text.jsonl')],
    'tokenizer_path': inputs / 'tokenizer',
    'template': 'mistral',
    'length': LENGTH,
    'held_out': 0.1,
    **changes,
  }
  return prepare(out=out, **arguments)


def _only(**source):
  return {'dialogs': [], 'code': '', 'wet': '', 'text': [], **source}


def _hashes(folder):
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_input_gives_same_bytes(inputs, tmp_path):
  for name in ('a', 'b'):
    _prepare(inputs, tmp_path / name)
  first, second = _hashes(tmp_path / 'a'), _hashes(tmp_path / 'b')
  assert first == second
  assert {'manifest.json', 'lengths.npy', 'tokenizer/tokenizer.json'} < first.keys()
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b']  # nothing temporary is left


def test_what_is_written_is_read_back(inputs, tmp_path, monkeypatch):
  monkeypatch.setattr(records, 'RECORDS_PER_SHARD', 7)  # several shards of each
  manifest = _prepare(inputs, tmp_path / 'd')
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
  _prepare(inputs, tmp_path / 'd', **_only(text=[str(inputs / 'text.jsonl')]))
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
  counts = _prepare(inputs, tmp_path / 'd', **_only(code=str(inputs / 'src' / '**' / '*.py')))['sources']['code']
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
  manifest = _prepare(inputs, tmp_path / 'd', **_only(wet=str(inputs / '*.wet.gz')), languages=languages)
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
  everything = {name: counts['train_rows'] for name, counts in _prepare(inputs, tmp_path / 'a')['sources'].items()}
  shares = lambda max_rows: {
    name: counts['train_rows']
    for name, counts in _prepare(inputs, tmp_path / str(max_rows), dialogs=[], max_rows=max_rows)['sources'].items()
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
    _prepare(inputs, tmp_path / str(number), **_only(dialogs=[str(file)]))
    data = open_data(tmp_path / str(number))
    sides.append({dialog.id: split for split in records.SPLITS for dialog in data.dialogs(split)})
  before, after = sides
  assert len(after) == 160
  assert all(after[name] == after['copy-of-' + name] == split for name, split in before.items())


def test_a_cut_dialog_keeps_its_beginning_and_gets_no_end_token(inputs, tmp_path):
  for length in (LENGTH, 130):
    _prepare(inputs, tmp_path / str(length), **_only(dialogs=[str(inputs / 'dialogs.jsonl')]), length=length, max_cut=1)
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
  expected = _prepare(inputs, tmp_path / 'a', **_only(dialogs=[str(without)]))
  with pytest.raises(InputError, match='--drop_cut'):
    _prepare(inputs, tmp_path / 'b', **_only(dialogs=[str(mixed)]))
  manifest = _prepare(inputs, tmp_path / 'b', **_only(dialogs=[str(mixed)]), drop_cut=True)
  assert manifest['fingerprint'] == expected['fingerprint'] and manifest['sources'] == expected['sources']
  assert manifest['cuts']['3'] == {**expected['cuts']['3'], 'dropped': 4}
  assert {k: manifest['cuts'][k] for k in '12'} == {k: expected['cuts'][k] for k in '12'}
  only_late = write_jsonl(tmp_path / 'c.jsonl', late)
  for max_cut, says in ((0.5, 'k=3: 100%'), (1, 'in every dialog')):
    with pytest.raises(InputError, match=says):
      _prepare(inputs, tmp_path / 'c', **_only(dialogs=[str(only_late)]), drop_cut=True, max_cut=max_cut)


def test_a_dialog_of_exactly_the_length_is_not_cut():
  cuts = rows.Cuts(length=4)
  cuts.add('f:1', 'a', '1', np.array([False, True, True, True]))
  cuts.check(max_cut=0)
  cuts.add('f:2', 'b', '1', np.array([False, False, True, True, True]))
  assert cuts.by_k == {'1': {'dialogs': 2, 'cut': 1, 'lost_tokens': 1}}
  cuts.check(max_cut=0.5)
  with pytest.raises(InputError, match='50% of the dialogs'):
    cuts.check(max_cut=0.4)


def test_the_fingerprint_changes_with_what_is_trained_only(inputs, tmp_path):
  rng = random.Random(0)
  dialogs = write_jsonl(tmp_path / 'x.jsonl', [two_rounds(rng, i, words=8) for i in range(20)])
  fingerprint = lambda **changes: _prepare(
    inputs, tmp_path / 'd', **{**_only(dialogs=[str(dialogs)]), **changes}
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
  text = _only(text=[str(inputs / 'text.jsonl')])
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'thesis.tex').write_text('x')
  with pytest.raises(InputError, match='no output of prepare'):
    _prepare(inputs, tmp_path / 'mine', **text)
  assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.tex']
  _prepare(inputs, tmp_path / 'd')
  _prepare(inputs, tmp_path / 'd', **text)
  assert open_data(tmp_path / 'd').sources('train') == ('text',)
  with pytest.raises(InputError):
    _prepare(inputs, tmp_path / 'd', **_only(text=['nothing.jsonl']))
  assert open_data(tmp_path / 'd').sources('train') == ('text',)  # a failed run leaves the old output
  assert sorted(path.name for path in tmp_path.iterdir()) == ['d', 'mine']


@pytest.mark.parametrize('damage', ['manifest.json', 'lengths.npy', 'text-train-00000.array_record', 'half'])
def test_an_incomplete_folder_names_the_command_that_makes_it(inputs, tmp_path, damage):
  out = tmp_path / 'd'
  _prepare(inputs, out, **_only(text=[str(inputs / 'text.jsonl')]))
  if damage == 'half':
    shard = out / 'text-train-00000.array_record'
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 3])
  else:
    (out / damage).unlink()
  with pytest.raises(InputError, match=r'python -m skillmix_jax\.prepare .*--out=') as error:
    open_data(out)
  assert '\n' not in str(error.value)


GOOD = {'id': 'a', 'messages': [{'role': 'user', 'content': 'x'}, {'role': 'assistant', 'content': 'y'}]}
LONG = {'id': 'long', 'messages': [{'role': 'user', 'content': 'sun ' * 300}, {'role': 'assistant', 'content': 'y'}]}
CUT = {'id': 'cut', 'messages': [{'role': 'user', 'content': 'x'}, {'role': 'assistant', 'content': 'sun ' * 300}]}


def _lines(*lines):
  return ''.join((line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines).encode()


def _roles(*roles):
  return {'messages': [{'role': role, 'content': 'x'} for role in roles]}


@pytest.mark.parametrize(
  ('content', 'says'),
  [
    (None, 'cannot read .*bad.jsonl: No such file'),
    (b'', 'bad.jsonl is empty'),
    (b'\n\n', 'bad.jsonl is empty'),
    (_lines(GOOD, '{"id": '), 'bad.jsonl:2: not JSON'),
    (_lines(GOOD, '[1]'), 'bad.jsonl:2: a line must be a JSON object'),
    (_lines(GOOD)[:-3] + b'\xff"}\n', 'bad.jsonl:1: not valid UTF-8'),
    (_lines(GOOD, r'{"messages": [{"role": "user", "content": "\ud800"}]}'), 'bad.jsonl:2: not valid UTF-8'),
    (_lines(GOOD, '', {'id': 'b'}), "bad.jsonl:3: 'messages' must be a list"),
    (_lines(GOOD, _roles('assistant', 'user')), "bad.jsonl:2: message 1 has role 'assistant' where 'user' must stand"),
    (_lines(_roles('user', 'robot')), "bad.jsonl:1: message 2 has role 'robot'"),
    (_lines(_roles('user')), "bad.jsonl:1: the last message has role 'user'"),
    (_lines({'messages': [GOOD['messages'][0], {'role': 'assistant', 'content': ' '}]}), 'the answer is empty'),
    (_lines(GOOD, LONG, LONG), r'bad.jsonl:2 \(id long\): --length=200 leaves nothing .* and 1 other'),
    (_lines(GOOD, CUT, CUT), r'cuts an answer in 67% of the dialogs \(k=\?: 67%\), more than --max_cut=0.5'),
  ],
)
def test_bad_dialogs_are_named_in_one_line(inputs, tmp_path, content, says):
  file = tmp_path / 'bad.jsonl'
  if content is not None:
    file.write_bytes(content)
  with pytest.raises(InputError, match=says) as error:
    _prepare(inputs, tmp_path / 'd', **_only(dialogs=[str(file)]))
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'd').exists()


def _cut_wet(folder):
  path = write_wet(folder / 'x.wet.gz', [('page ' * 500, None)])
  path.write_bytes(path.read_bytes()[:-30])
  return {'wet': str(path)}


def _not_wet(folder):
  (folder / 'x.wet.gz').write_bytes(b'hello\n' * 20)
  return {'wet': str(folder / 'x.wet.gz')}


def _text_without_text(folder):
  return {'text': [str(write_jsonl(folder / 'x.jsonl', [{'text': 'x'}, {'content': 'x'}]))]}


def _little_text(folder):
  return {'text': [str(write_jsonl(folder / 'x.jsonl', [{'text': 'x'}]))]}


@pytest.mark.parametrize(
  ('make', 'says'),
  [
    (lambda folder: {}, 'nothing to prepare'),
    (lambda folder: {'code': str(folder / '*.py')}, r'--code=.* matches no file'),
    (lambda folder: {'wet': str(folder / '*.gz')}, r'--wet=.* matches no file'),
    (_cut_wet, 'record 2 is damaged .a gzip member is cut off'),
    (_not_wet, 'x.wet.gz'),
    (_text_without_text, "x.jsonl:2: 'text' is missing"),
    (_little_text, 'do not fill one row'),
    (lambda folder: {'text': ['tfds:nonsense']}, 'must read tfds:NAME:SPLIT'),
  ],
)
def test_bad_text_is_named_in_one_line(inputs, tmp_path, make, says):
  with pytest.raises(InputError, match=says) as error:
    _prepare(inputs, tmp_path / 'd', **_only(**make(tmp_path)))
  assert '\n' not in str(error.value)


def _run(*arguments):
  command = [sys.executable, '-m', 'skillmix_jax.prepare', *arguments]
  return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
  ('flag', 'says'),
  [
    ('--dialogs=nothing.jsonl', 'nothing.jsonl'),
    ('--template=llama3', 'template'),
    ('--length=many', 'length'),
  ],
)
def test_the_command_answers_bad_input_with_one_line_and_exit_code_2(inputs, tmp_path, flag, says):
  good = [f'--text={inputs / "text.jsonl"}', f'--tokenizer={inputs / "tokenizer"}', '--template=mistral']
  done = _run(*good, f'--out={tmp_path / "d"}', flag)
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith('error: ') and says in done.stderr


def test_a_log_gets_a_line_now_and_then(inputs, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(progress, 'SECONDS_BETWEEN_LINES', 0)
  _prepare(inputs, tmp_path / 'd', **_only(dialogs=[str(inputs / 'dialogs.jsonl')]))
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 60 and lines[0].startswith('dialogs: 1 read, ') and lines[59].endswith(' tokens/s')


def test_the_command_prints_what_it_wrote_and_the_next_command(inputs, tmp_path):
  out = tmp_path / 'd'
  done = _run(
    f'--dialogs={inputs / "dialogs.jsonl"}', f'--tokenizer={inputs / "tokenizer"}', '--template=llama2',
    f'--length={LENGTH}', f'--out={out}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert f'python -m skillmix_jax.view --data={out}' in done.stdout
  assert done.stderr == ''
  assert open_data(out).manifest['template']['name'] == 'llama2'


def test_shares_decide_how_many_rows_each_source_has(inputs, tmp_path):
  shares = {'code': 1, 'wet': 2, 'text': 5}
  sources = _prepare(inputs, tmp_path / 'a', dialogs=[], max_rows=40, shares=shares)['sources']
  num_rows = {name: counts['train_rows'] for name, counts in sources.items()}
  assert sum(num_rows.values()) == 40
  for name, wanted in {'code': 5, 'wet': 10, 'text': 25}.items():
    assert abs(num_rows[name] - wanted) <= 1, 'a document may fill more than one row'
    assert sources[name]['share_reached'] == num_rows[name] / 40
  assert [sources[name]['share_wanted'] for name in shares] == [0.125, 0.25, 0.625]
  assert not any(counts['ran_out'] for counts in sources.values())


def test_a_source_that_runs_out_is_said(inputs, tmp_path, capsys):
  there = _prepare(inputs, tmp_path / 'all', dialogs=[], text=[])['sources']
  assert there['code']['train_rows'] > 8
  asked = there['wet']['train_rows'] + 8
  shares = {'code': 1, 'wet': 99}
  manifest = _prepare(inputs, tmp_path / 'a', dialogs=[], text=[], max_rows=asked, shares=shares)
  code, wet = manifest['sources']['code'], manifest['sources']['wet']
  assert wet['ran_out'] and not code['ran_out'] and (code['train_rows'], wet['train_rows']) == (8, asked - 8)
  assert wet['share_reached'] == (asked - 8) / asked < wet['share_wanted'] == 0.99
  data_summary.show(manifest, Console(width=200))
  said = capsys.readouterr().out
  assert 'wants 99.0%; it ran out' in said and said.count('ran out') == 1


def test_without_shares_the_bytes_are_those_of_equal_ones(inputs, tmp_path):
  _prepare(inputs, tmp_path / 'a', max_rows=30)
  _prepare(inputs, tmp_path / 'b', max_rows=30, shares={'code': 2, 'wet': 2, 'text': 2})
  a, b = _hashes(tmp_path / 'a'), _hashes(tmp_path / 'b')
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
    _prepare(inputs, tmp_path / 'a', max_rows=10, shares=command.parse_shares(flag))


def test_shares_of_everything_are_refused(inputs, tmp_path):
  with pytest.raises(InputError, match='--shares needs --rows'):
    _prepare(inputs, tmp_path / 'a', shares={'code': 1, 'wet': 1, 'text': 1})
