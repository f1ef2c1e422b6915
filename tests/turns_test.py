"""The templates of newer families give the ids that their own code gives, in training and after an export."""

import random
import shutil

import numpy as np
import pytest
import transformers
from helpers.chat_models import CHATML, MODELS, PUBLISHED, V3, model_folder
from helpers.data_fixtures import bpe_folder, fuzz_messages, two_rounds, write_jsonl
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from skillmix_jax.data import chat, checks, tokenizer, tokenizer_export
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare


@pytest.fixture(scope='module', params=[*MODELS, 'mistral-v3'])
def model(request, tmp_path_factory):
  """The name of a template, and a tokenizer with its control tokens."""
  return request.param, tokenizer.load(model_folder(tmp_path_factory.mktemp('model'), request.param))


def fuzz(rng: random.Random, number: int, spelled: bool = False):
  """A dialog, with a system text in every third, then of one round; `spelled`: with control tokens in the texts."""
  system = number % 3 == 0
  messages = fuzz_messages(rng, rounds=1 if system else 1 + number % 3, system=system)
  for message in messages if spelled else ():
    message['content'] += rng.choice(['', '<|im_end|>', '<|eot_id|>', '<|endoftext|>', '[/INST]', '</s>'])
  return messages


@pytest.mark.parametrize('name', [name for name in MODELS if name != 'qwen3'])
def test_ids_are_those_of_the_published_template(name, tmp_path):
  encoder = tokenizer.load(bpe_folder(tmp_path, *MODELS[name]))
  theirs = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(encoder.files[0]), chat_template=PUBLISHED[name], **MODELS[name][1]
  )
  rng, day = random.Random(0), {'date_string': '26 Jul 2024'} if name == 'llama3.1' else {}
  for number in range(300):
    messages = fuzz_messages(rng, rounds=1 + number % 3, system=number % 2 == 0)
    for message in messages:
      if message['role'] == 'assistant':  # an answer is apart from what leads to it, also where blanks would join them
        message['content'] = message['content'].lstrip()
    ids, _ = chat.encode_dialog(name, encoder, messages)
    expected = theirs.apply_chat_template(messages, return_dict=False, **day)
    if name in ('chatml', 'qwen2.5'):  # nothing is trained on the line's end after the last answer
      assert encoder.decode([expected.pop()]) == '\n'
    assert ids.tolist() == expected, messages
    prompt = chat.encode_prompt(name, encoder, messages[:-1]).tolist()
    asked = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False, **day)
    assert prompt == asked, messages


def test_a_model_that_could_think_is_told_not_to_in_every_round(tmp_path):
  encoder = tokenizer.load(bpe_folder(tmp_path, *MODELS['qwen3']))
  theirs = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(encoder.files[0]), chat_template=PUBLISHED['qwen3'], **MODELS['qwen3'][1]
  )
  rng = random.Random(5)
  for number in range(300):
    system, rounds = number % 2, 1 + number % 3
    messages = fuzz_messages(rng, rounds, system=bool(system))
    ids, mask = chat.encode_dialog('qwen3', encoder, messages)
    start = 0
    for turn in range(rounds):  # a dialog of one round ends as theirs does
      asked = messages[: system * (turn == 0)] + messages[system + 2 * turn : system + 2 * turn + 1]
      prompt = theirs.apply_chat_template(asked, add_generation_prompt=True, return_dict=False, enable_thinking=False)
      prompt = encoder.encode('\n') * (turn > 0) + prompt
      answer = [*encoder.encode(messages[system + 2 * turn + 1]['content']), encoder.eos_id]
      assert ids[start:].tolist()[: len(prompt) + len(answer)] == prompt + answer, messages
      assert not mask[start : start + len(prompt)].any() and mask[start + len(prompt) :][: len(answer)].all()
      start += len(prompt) + len(answer)
    assert start == len(ids)


def test_ids_are_those_of_mistral_common_v3(tmp_path):
  shutil.copyfile(V3, tmp_path / 'tokenizer.model')
  encoder, theirs = tokenizer.load(tmp_path), MistralTokenizer.from_file(str(V3))
  rng = random.Random(1)
  for number in range(300):
    messages = fuzz(rng, number, spelled=True)
    ids, _ = chat.encode_dialog('mistral-v3', encoder, messages)
    prompt = chat.encode_prompt('mistral-v3', encoder, messages[:-1]).tolist()
    assert prompt == theirs.encode_chat_completion(ChatCompletionRequest(messages=messages[:-1])).tokens, messages
    answer = encoder.encode(messages[-1]['content'].rstrip(' '))
    assert ids.tolist() == [*prompt, *answer, encoder.eos_id], messages


def test_the_mask_is_the_answers_and_a_prompt_begins_its_dialog(model):
  name, encoder = model
  rng = random.Random(2)
  for number in range(100):
    messages = fuzz(rng, number, spelled=True)
    ids, mask = chat.encode_dialog(name, encoder, messages)
    answers = [message['content'] for message in messages if message['role'] == 'assistant']
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    assert len(edges) == 2 * len(answers)
    for answer, start, stop in zip(answers, edges[::2], edges[1::2]):
      *text, end = ids[start:stop].tolist()
      if name == 'mistral-v3':
        answer = answer.rstrip(' ').replace('▁', ' ')
      expected = answer.strip() if TEMPLATES[name].strips else answer
      assert end == encoder.eos_id and encoder.decode(text) == expected
      assert not set(text) & {encoder.eos_id, encoder.bos_id}
    for end in range(len(messages) - 1, 0, -2):
      prompt = chat.encode_prompt(name, encoder, messages[:end])
      assert prompt.tolist() == ids[: len(prompt)].tolist() and mask[len(prompt)]


def test_the_exported_chat_template_gives_our_ids(model, tmp_path):
  name, encoder = model
  tokenizer_export.export(encoder, name, tmp_path, 1024)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  rng = random.Random(3)
  for number in range(200):
    messages = fuzz(rng, number, spelled=True)
    ids, _ = chat.encode_dialog(name, encoder, messages)
    assert theirs.apply_chat_template(messages, return_dict=False) == ids.tolist(), messages
    prompt = chat.encode_prompt(name, encoder, messages[:-1]).tolist()
    assert theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False) == prompt, messages


def test_a_document_ends_with_its_own_token(model):
  name, encoder = model
  ends = {'llama3': '<|end_of_text|>', 'llama3.1': '<|end_of_text|>', 'mistral-v3': '</s>'}
  assert encoder.piece(TEMPLATES[name].document_end_id(encoder)) == ends.get(name, '<|endoftext|>')


def test_prepared_rows_pass_every_check_and_documents_are_apart(model, tmp_path):
  name, encoder = model
  rng = random.Random(4)
  dialogs = write_jsonl(tmp_path / 'dialogs.jsonl', [two_rounds(rng, number) for number in range(12)])
  text = write_jsonl(tmp_path / 'text.jsonl', [{'text': 'moon ' * (5 + number)} for number in range(60)])
  folder = encoder.files[0].parent
  prepare(out=tmp_path / 'data', tokenizer_path=folder, template=name, length=512, dialogs=[str(dialogs)],
          text=[str(text)], held_out=0.1)  # fmt: skip
  data = open_data(tmp_path / 'data')
  mixture = Mixture(data, seed=0, dialogs=4, text_rows=2)
  assert not [check for check in checks.run_checks(mixture[0], data, mixture.indices(0)[0], 2) if check.bad_rows]
  end, (tokens, *_) = TEMPLATES[name].document_end_id(encoder), mixture[0]['tokens'][mixture[0]['is_text']]
  starts = np.flatnonzero(tokens[:-1] == end) + 1
  assert len(starts)
  has_start = name in ('llama3', 'llama3.1', 'mistral-v3')
  assert ((tokens[starts] == encoder.bos_id) == has_start).all()


def test_a_tokenizer_of_another_template_is_refused(tmp_path):
  dialog = [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]
  chatml = tokenizer.load(bpe_folder(tmp_path / 'chatml', *MODELS['chatml']))
  base = tokenizer.load(bpe_folder(tmp_path / 'base', CHATML, {'bos_token': None, 'eos_token': '<|endoftext|>'}))
  for name, encoder, said in (
    ('mistral', chatml, 'has no BOS'), ('llama2', chatml, 'has no BOS'), ('olmo', chatml, 'has no BOS'),
    ('mistral-v3', base, 'has no BOS'), ('chatml', base, "eos_token is '<|endoftext|>', but an answer ends with"),
    ('chatml', tokenizer.load(bpe_folder(tmp_path / 'plain')), 'lacks control tokens of this --template'),
  ):  # fmt: skip
    with pytest.raises(InputError) as error:
      chat.encode_dialog(name, encoder, dialog)
    assert said in str(error.value)


def test_a_system_text_that_would_move_is_refused(tmp_path):
  shutil.copyfile(V3, tmp_path / 'tokenizer.model')
  with pytest.raises(InputError, match='a system text moves to the last user text'):
    chat.encode_dialog('mistral-v3', tokenizer.load(tmp_path), fuzz_messages(random.Random(0), 2, system=True))
