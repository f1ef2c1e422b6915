"""Bad input of prepare is named in one line; the command says what it wrote and what comes next."""

import json
import subprocess
import sys

import pytest
from helpers.data_fixtures import write_jsonl, write_wet
from helpers.preparing import LENGTH, make_data, only

from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError

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
    (_lines(GOOD, _roles('assistant', 'user')), "bad.jsonl:2: message 1 has role 'assistant' where 'user' is expected"),
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
    make_data(inputs, tmp_path / 'd', **only(dialogs=[str(file)]))
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
    make_data(inputs, tmp_path / 'd', **only(**make(tmp_path)))
  assert '\n' not in str(error.value)


def _run(*arguments):
  command = [sys.executable, '-m', 'skillmix_jax.prepare', *arguments]
  return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
  ('flag', 'says'),
  [
    ('--dialogs=nothing.jsonl', 'nothing.jsonl'),
    ('--template=llama9', 'template'),
    ('--length=many', 'length'),
    ('--row_length=512', '--row_length=512 must be a multiple of --length=1024'),
  ],
)
def test_the_command_answers_bad_input_with_one_line_and_exit_code_2(inputs, tmp_path, flag, says):
  good = [f'--text={inputs / "text.jsonl"}', f'--tokenizer={inputs / "tokenizer"}', '--template=mistral']
  done = _run(*good, f'--out={tmp_path / "d"}', flag)
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith('error: ') and says in done.stderr


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
