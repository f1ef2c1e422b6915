"""`--template=auto` finds the template that the tokenizer brings along, and a wrong one is refused."""

import json
import random
import re
import shutil

import pytest
import transformers
from helpers.chat_models import CHATML, MODELS, PUBLISHED, model_folder
from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl

from skillmix_jax.data import own_template, tokenizer, tokenizer_export
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare
from skillmix_jax.pretrained import open_folder

ZEPHYR = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
THINKS_ALWAYS = PUBLISHED['chatml'].replace("assistant\n' }}", "assistant\n<think>\n' }}")


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """A tokenizer for every template, without one beside it."""
  root = tmp_path_factory.mktemp('tokenizers')
  names = {'llama3': 'llama3', 'qwen': 'qwen3', 'olmo': 'olmo', 'mistral': 'mistral', 'mistral-v3': 'mistral-v3'}
  return {kind: model_folder(root / kind, name) for kind, name in names.items()}


def kind_of(name: str) -> str:
  """The tokenizer that a template is for."""
  own = {'llama2': 'mistral', 'tekken': 'mistral-v3', 'llama3.1': 'llama3'}
  return 'qwen' if name in ('chatml', 'qwen2.5', 'qwen3') else own.get(name, name)


@pytest.fixture
def with_template(folders, tmp_path):
  """Makes a copy of a tokenizer with a chat template beside it, and opens it."""

  def make(kind: str, chat_template, name: str = 'tokenizer_config.json'):
    folder = shutil.copytree(folders[kind], tmp_path / f'{kind}-{len(list(tmp_path.iterdir()))}')
    if name.endswith('.jinja'):
      (folder / name).write_text(chat_template)
    else:
      path = folder / name
      config = json.loads(path.read_text()) if path.is_file() else {}
      path.write_text(json.dumps(config | {'chat_template': chat_template}))
    return tokenizer.load(folder)

  return make


@pytest.mark.parametrize('name', PUBLISHED)
def test_auto_is_the_template_that_the_model_was_published_with(with_template, name, capsys):
  assert own_template.choose(with_template(kind_of(name), PUBLISHED[name])) == name
  notes = {'mistral-v3': 'differ in blanks at the ends of texts', 'qwen3': 'an empty thought in front of every answer'}
  chosen, *others = capsys.readouterr().err.splitlines()
  assert chosen.startswith(f'--template=auto is {name}: that of ')
  assert [note.startswith('note: ') and notes[name] in note for note in others] == [True] * (name in notes)


@pytest.mark.parametrize('name', TEMPLATES)
def test_auto_finds_what_an_export_says(folders, name, tmp_path, capsys):
  encoder = tokenizer.load(folders[kind_of(name)])
  if encoder.kind == 'tokenizers':
    tokenizer_export.export(encoder, name, tmp_path, 1024)
  else:  # the text alone: to translate a tokenizer takes seconds
    encoder.save(tmp_path)
    text = tokenizer_export.chat_template(name, list(encoder.control_tokens), encoder.adds_blank)
    (tmp_path / 'chat_template.jinja').write_text(text)
  assert own_template.choose(tokenizer.load(tmp_path)) == {'tekken': 'mistral-v3'}.get(name, name)
  assert capsys.readouterr().err.count('\n') == 1


def test_a_file_of_its_own_and_named_templates_are_read_as_transformers_reads_them(with_template):
  several = [{'name': 'tools', 'template': ZEPHYR}, {'name': 'default', 'template': PUBLISHED['qwen2.5']}]
  assert own_template.choose(with_template('qwen', several)) == 'qwen2.5'
  encoder = with_template('qwen', PUBLISHED['chatml'], 'chat_template.jinja')
  config = encoder.files[0].with_name('tokenizer_config.json')
  config.write_text(json.dumps(json.loads(config.read_text()) | {'chat_template': ZEPHYR}))
  assert own_template.choose(encoder) == 'chatml'


@pytest.mark.parametrize(
  ('kind', 'chat_template', 'said'),
  [
    (
      'qwen',
      ZEPHYR,
      "the nearest is .*: token 0 is '<|im_start|>' here and '.*' there. Name a --template if one is meant",
    ),
    ('qwen', THINKS_ALWAYS, "the nearest is qwen3: token 33 is 'Ċ' here and 'the end' there"),
    (
      'mistral',
      PUBLISHED['mistral'].replace("' ' + m.content", 'm.content'),
      "the nearest is mistral: token 1[0-9] is '▁Of'",
    ),
    (
      'llama3',
      PUBLISHED['llama3'].replace('| trim', '').replace('bos_token', "''"),
      "token 0 is '<|begin_of_text|>' here",
    ),
    ('qwen', '{{ messages[0]["content"].__class__.__mro__ }}', 'cannot be rendered'),
    (
      'qwen',
      "{{ raise_exception('no\n\x1b[31msystem' + 'm' * 9999) }}",
      r'cannot be rendered .no .u001b.31msystemm{150,190}.:',
    ),
    ('qwen', '{% for m in messages %}', 'cannot be rendered'),
    ('qwen', '{{ 1 / 0 }}', 'cannot be rendered .division by zero.'),
    ('qwen', "{{ 'x' * 10000000 }}", 'cannot be rendered .10,000,000 characters come out for a short dialog.'),
    ('qwen', r"{{ '\ud800' }}", 'cannot be rendered .*surrogates not allowed'),
    ('qwen', 5, 'chat_template must be a text or a list'),
    ('qwen', [{'text': ZEPHYR}], 'its chat template cannot be read'),
  ],
)
def test_auto_refuses_what_none_of_ours_is(with_template, kind, chat_template, said):
  with pytest.raises(InputError, match=said.replace('|', r'\|')) as error:
    own_template.choose(with_template(kind, chat_template))
  assert '\n' not in str(error.value)


def test_auto_wants_a_template_and_the_end_token_of_an_answer(folders, tmp_path):
  with pytest.raises(InputError, match=r'--template=auto: there is no chat template beside .*: name one, mistral'):
    own_template.choose(tokenizer.load(folders['qwen']))
  base = bpe_folder(tmp_path, CHATML, {'eos_token': '<|endoftext|>', 'chat_template': PUBLISHED['qwen2.5']})
  with pytest.raises(InputError, match=r"its eos_token is '<.endoftext.>', but an answer ends with '<.im_end.>'"):
    own_template.choose(tokenizer.load(base))


@pytest.mark.parametrize(
  ('name', 'kind', 'own', 'said'),
  [
    ('llama3', 'llama3', 'llama3.1', 'or in a system text: .*; --template=llama3.1 is the same'),
    ('chatml', 'qwen', 'qwen2.5', 'or in a system text: .*; --template=qwen2.5 is the same'),
    ('llama3.1', 'llama3', 'llama3.1', ''), ('qwen3', 'qwen', 'qwen3', ''), ('mistral', 'mistral', 'mistral', ''),
    ('llama2', 'mistral', 'llama2', ''), ('tekken', 'mistral-v3', 'mistral-v3', ''),
  ],
)  # fmt: skip
def test_a_named_template_is_compared_with_the_tokenizers_own(with_template, name, kind, own, said, capsys):
  own_template.check(name, with_template(kind, PUBLISHED[own]))
  note = capsys.readouterr().err
  assert re.fullmatch(f'note: .*{said}\n', note) if said else not note


def test_older_blanks_are_noted_and_another_template_is_refused(with_template, folders, capsys):
  older = PUBLISHED['mistral'].replace("' ' + m.content", 'm.content').replace("' [INST] '", "'[INST] '")
  own_template.check('mistral', with_template('mistral', older))
  assert 'differ in blanks or in a system text: token' in capsys.readouterr().err
  for name, kind, own, said in (
    ('llama2', 'mistral', PUBLISHED['mistral'], '--template=mistral is the same. If llama2 is meant, remove chat_tem'),
    ('chatml', 'qwen', PUBLISHED['qwen3'], 'whose model thinks unless told not to: '),
    ('chatml', 'qwen', THINKS_ALWAYS, 'none here is the same'),
    ('olmo', 'olmo', ZEPHYR, '--template=olmo is not that of'),
  ):  # fmt: skip
    with pytest.raises(InputError) as error:
      own_template.check(name, with_template(kind, own))
    assert said in str(error.value) and '\n' not in str(error.value)
  own_template.check('chatml', with_template('qwen', '{{ 1 / 0 }}'))
  assert '--template=chatml was compared with nothing: ' in capsys.readouterr().err
  own_template.check('chatml', tokenizer.load(folders['qwen']))
  assert not capsys.readouterr().err


@pytest.mark.parametrize(
  ('name', 'fixed'),
  [
    ('llama3.1', 'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n'),
    ('qwen2.5', 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.'),
    ('qwen3', '<think>\n\n</think>\n\n'),
  ],
)
def test_what_a_model_adds_is_fixed_in_the_manifest_and_in_an_export(with_template, name, fixed, tmp_path, monkeypatch):
  dialogs = write_jsonl(tmp_path / 'dialogs.jsonl', [two_rounds(random.Random(0), number) for number in range(3)])
  encoder = with_template(kind_of(name), PUBLISHED[name], 'chat_template.jinja')
  make = lambda template, out: prepare(
    out=tmp_path / out, tokenizer_path=encoder.files[0].parent, template=template, length=512, dialogs=[str(dialogs)]
  )
  manifest = make('auto', 'data')
  assert manifest['template']['name'] == name and manifest['template']['fixed'] == fixed
  assert manifest['fingerprint'] == make(name, 'again')['fingerprint']
  assert (tmp_path / 'data' / 'tokenizer' / 'chat_template.jinja').is_file()  # auto goes on working with the copy
  (tmp_path / 'export').mkdir()
  tokenizer_export.export(encoder, name, tmp_path / 'export', 1024)
  exported = json.loads((tmp_path / 'export' / 'tokenizer_config.json').read_text())['chat_template']
  assert all(json.dumps(part)[1:-1] in exported for part in fixed.split('\n\n') if part)
  assert 'strftime' not in exported and 'date_string' not in exported


def test_prepare_refuses_a_template_that_is_not_the_tokenizers(with_template, tmp_path):
  dialogs = write_jsonl(tmp_path / 'dialogs.jsonl', [two_rounds(random.Random(0), 0)])
  encoder = with_template('mistral', PUBLISHED['llama2'])
  arguments = {'out': tmp_path / 'data', 'tokenizer_path': encoder.files[0].parent, 'dialogs': [str(dialogs)]}
  with pytest.raises(InputError, match=r'--template=mistral is not that of .*; --template=llama2 is the same'):
    prepare(template='mistral', **arguments)
  assert not (tmp_path / 'data').exists()
  assert prepare(template='auto', **arguments)['template'] == {
    'name': 'llama2',
    'trailing_blank': TEMPLATES['llama2'].trailing_blank,
  }


def test_every_template_is_tested():
  assert {*PUBLISHED, 'tekken'} == set(TEMPLATES) and MODELS.keys() < PUBLISHED.keys()


@pytest.mark.parametrize(
  ('family', 'name'),
  [('Qwen3', 'qwen3'), ('Qwen3', 'chatml'), ('Qwen2', 'qwen2.5'), ('Qwen2', 'chatml'), ('Llama', 'llama3.1')],
)
def test_a_model_folder_says_which_template_it_has(with_template, family, name):
  folder = with_template(kind_of(name), PUBLISHED[name], 'chat_template.jinja').files[0].parent
  sizes = {'vocab_size': 512, 'hidden_size': 32, 'num_attention_heads': 4, 'num_key_value_heads': 4}
  getattr(transformers, f'{family}Config')(**sizes).save_pretrained(folder)
  found = {asked: open_folder(folder, asked).data_identity['template']['name'] for asked in (None, 'auto', 'olmo')}
  assert found == {None: name, 'auto': name, 'olmo': 'olmo'}
