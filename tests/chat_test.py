import random

import numpy as np
import pytest
from helpers.data_fixtures import bpe_folder, fuzz_messages, fuzz_text, mistral_model

from skillmix_jax.data import chat, tokenizer
from skillmix_jax.errors import InputError

BOS, EOS = 1, 2


@pytest.fixture(scope='module')
def mistral():
  return tokenizer.load(mistral_model())


def _reference_ids(messages):
  from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
  from mistral_common.protocol.instruct.request import InstructRequest
  from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

  kinds = {'user': UserMessage, 'assistant': AssistantMessage}
  system = messages[0]['content'] if messages[0]['role'] == 'system' else None
  turns = [kinds[m['role']](content=m['content']) for m in messages if m['role'] != 'system']
  encoder = MistralTokenizer.v1().instruct_tokenizer
  return encoder.encode_instruct(InstructRequest(messages=turns, system_prompt=system)).tokens


def _runs(mask):
  """(start, stop) of the stretches where mask is true."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
  return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_1000_fuzzed_dialogs_have_the_ids_of_mistral_common(mistral, monkeypatch):
  from mistral_common.tokens.tokenizers import mistral as oracle

  reference = oracle.MistralTokenizer.v1()  # opened once: it takes a tenth of a second
  monkeypatch.setattr(oracle.MistralTokenizer, 'v1', lambda: reference)
  rng = random.Random(0)
  for number in range(1000):
    messages = fuzz_messages(rng, system=number % 5 == 0)
    ids, mask = chat.encode_dialog('mistral', mistral, messages)
    assert ids.tolist() == _reference_ids(messages), messages
    assert ids.dtype == np.int32 and mask.dtype == bool and ids.shape == mask.shape


@pytest.mark.parametrize('template', ['mistral', 'llama2'])
def test_the_mask_covers_the_answers_and_their_end_tokens(mistral, template):
  rng = random.Random(1)
  for number in range(300):
    messages = fuzz_messages(rng, rounds=1 + number % 3, system=number % 2 == 0)
    ids, mask = chat.encode_dialog(template, mistral, messages)
    answers = [message['content'] for message in messages if message['role'] == 'assistant']
    runs = _runs(mask)
    assert len(runs) == len(answers)
    for (start, stop), answer in zip(runs, answers, strict=True):
      assert ids[stop - 1] == EOS
      text = (answer if template == 'mistral' else answer.strip() + ' ').replace('▁', ' ')
      assert mistral.decode(ids[start : stop - 1].tolist()) == text
    assert int((ids[mask] == EOS).sum()) == int((ids == EOS).sum()) == len(answers)
    assert not np.any(ids[mask] == BOS)


@pytest.mark.parametrize('template', ['mistral', 'llama2'])
@pytest.mark.parametrize('kind', ['sentencepiece', 'tokenizers'])
def test_a_prompt_is_the_beginning_of_its_dialog(mistral, template, kind, tmp_path):
  encoder = mistral if kind == 'sentencepiece' else tokenizer.load(bpe_folder(tmp_path))
  rng = random.Random(2)
  for number in range(200):
    messages = fuzz_messages(rng, system=number % 2 == 0)
    ids, mask = chat.encode_dialog(template, encoder, messages)
    for end in (len(messages) - 1, len(messages) - 3):
      prompt = chat.encode_prompt(template, encoder, messages[:end])
      assert prompt.tolist() == ids[: len(prompt)].tolist()
      assert mask[len(prompt)] and not mask[len(prompt) - 1]  # what comes next is the answer


def _meta_rounds(encoder, messages):
  """Meta's rule: each round is one string, tokenised as a whole, between BOS and EOS.

  llama/generation.py of github.com/meta-llama/llama at c769dfd53ddd509159216a5423204653850f79f4, chat_completion.
  """
  if messages[0]['role'] == 'system':
    tagged = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' + messages[1]['content']
    messages = [{'role': 'user', 'content': tagged}, *messages[2:]]
  ids = []
  for user, assistant in zip(messages[::2], messages[1::2], strict=True):
    joint = '[INST] ' + user['content'].strip() + ' [/INST] ' + assistant['content'].strip() + ' '
    ids += [encoder.bos_id, *encoder.encode(joint), encoder.eos_id]
  return ids


def test_1000_fuzzed_dialogs_follow_metas_rule_for_llama2(mistral):
  # LLaMA-2's own tokenizer.model is not on a package index; Mistral's is of the same kind (sentencepiece BPE, a
  # blank in front of every text, no piece with a blank inside) and stands in for it.
  rng = random.Random(3)
  for number in range(1000):
    messages = fuzz_messages(rng, system=number % 5 == 0)
    assert chat.encode_dialog('llama2', mistral, messages)[0].tolist() == _meta_rounds(mistral, messages), messages


def test_llama2_rule_holds_for_a_tokenizer_that_adds_no_blank(tmp_path):
  encoder = tokenizer.load(bpe_folder(tmp_path))
  assert not encoder.adds_blank
  rng = random.Random(4)
  for _ in range(100):
    messages = fuzz_messages(rng)
    ids = chat.encode_dialog('llama2', encoder, messages)[0].tolist()
    assert encoder.decode(ids) == encoder.decode(_meta_rounds(encoder, messages))


def test_mistral_ids_by_hand(mistral):
  messages = [
    {'role': 'user', 'content': 'What is 2+2?'},
    {'role': 'assistant', 'content': 'It is 4.'},
    {'role': 'user', 'content': 'Sure?'},
    {'role': 'assistant', 'content': 'Yes'},
  ]
  ids, mask = chat.encode_dialog('mistral', mistral, messages)
  # One BOS for the whole dialog. '▁[' 733 follows EOS 2, not '[': each part is tokenised as if it began a text.
  question = [1, 733, 16289, 28793, 1824, 349, 28705, 28750, 28806, 28750, 28804, 733, 28748, 16289, 28793]
  # '▁It' 661: the blank behind [/INST] is the one that begins every text. EOS directly behind the '.'.
  answer = [661, 349, 28705, 28781, 28723, 2]
  second = [733, 16289, 28793, 12875, 28804, 733, 28748, 16289, 28793]
  assert ids.tolist() == [*question, *answer, *second, 5592, 2]
  assert mask.tolist() == [False] * 15 + [True] * 6 + [False] * 9 + [True] * 2


def test_llama2_seams_by_hand(mistral):
  messages = [
    {'role': 'system', 'content': 'Be kind.'},
    {'role': 'user', 'content': '  Hi\n'},
    {'role': 'assistant', 'content': ' Hello \n'},
    {'role': 'user', 'content': 'Bye'},
    {'role': 'assistant', 'content': 'Ciao'},
  ]
  ids, mask = chat.encode_dialog('llama2', mistral, messages)
  pieces = [mistral.piece(token) for token in ids.tolist()]
  newline = '<0x0A>'
  assert pieces == [
    '<s>', '▁[', 'INST', ']',
    # The system text is inside the first user text, between its tags and in front of an empty line. Only the
    # whole is stripped: the blanks in front of Hi stay, the newline behind it goes.
    '▁<<', 'SYS', '>>', newline, 'Be', '▁kind', '.', newline, '<', '</', 'SYS', '>>', newline, newline,
    '▁', '▁Hi',
    '▁[', '/', 'INST', ']',
    # The blank in front of Hello is the seam between prompt and answer; the one behind it is Meta's, and trained.
    '▁Hello', '▁', '</s>',
    # The second round has a BOS of its own.
    '<s>', '▁[', 'INST', ']', '▁By', 'e', '▁[', '/', 'INST', ']',
    '▁C', 'iao', '▁', '</s>',
  ]  # fmt: skip
  assert [piece for piece, trained in zip(pieces, mask) if trained] == [
    '▁Hello', '▁', '</s>', '▁C', 'iao', '▁', '</s>',
  ]  # fmt: skip


def test_only_mistral_ignores_an_empty_system_text(mistral):
  messages = [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yo'}]
  with_system = [{'role': 'system', 'content': ''}, *messages]
  same = {
    template: np.array_equal(
      chat.encode_dialog(template, mistral, messages)[0], chat.encode_dialog(template, mistral, with_system)[0]
    )
    for template in ('mistral', 'llama2')
  }
  assert same == {'mistral': True, 'llama2': False}  # as mistral-common and Meta's code do it


def test_braces_in_system_and_user_text_are_text(mistral):
  messages = [{'role': 'system', 'content': '{user} {0}'}, {'role': 'user', 'content': '{system} {'}]
  ids = chat.encode_prompt('mistral', mistral, messages)
  assert mistral.decode(ids.tolist()) == '[INST] {user} {0}\n\n{system} { [/INST]'


def _dialog(*roles, content='x'):
  return [{'role': role, 'content': content} for role in roles]


@pytest.mark.parametrize(
  ('messages', 'says'),
  [
    (None, "'messages' must be a list"),
    ([], "'messages' must be a list"),
    (['x'], "message 1 must be {'role'"),
    ([{'role': 'user'}], "message 1 must be {'role'"),
    ([{'role': 'user', 'content': 5}], "message 1 must be {'role'"),
    (_dialog('user', 'tool'), "message 2 has role 'tool'"),
    (_dialog('assistant', 'user'), "message 1 has role 'assistant' where 'user' is expected"),
    (_dialog('user', 'user', 'assistant'), "message 2 has role 'user' where 'assistant' is expected"),
    (_dialog('user', 'assistant', 'system', 'assistant'), "message 3 has role 'system' where 'user' is expected"),
    (_dialog('system', 'assistant'), "message 2 has role 'assistant' where 'user' is expected"),
    (_dialog('system'), "last message has role 'system'"),
    (_dialog('user'), "last message has role 'user'; it must be 'assistant'"),
    (_dialog('user', 'assistant', content=' \n'), 'message 2: the answer is empty'),
  ],
)
def test_a_wrong_dialog_is_refused_with_the_message_that_is_wrong(mistral, messages, says):
  with pytest.raises(InputError, match=says):
    chat.encode_dialog('mistral', mistral, messages)


def test_a_prompt_must_end_with_the_user(mistral):
  with pytest.raises(InputError, match="must be 'user'"):
    chat.encode_prompt('mistral', mistral, _dialog('user', 'assistant'))


def test_fuzzed_texts_contain_what_they_must():
  rng = random.Random(0)
  texts = [fuzz_text(rng) for _ in range(300)]
  for wanted in ('</s>', '[INST]', '[/INST]', '    if', '🙂'):
    assert any(wanted in text for text in texts)
  assert any(text != text.lstrip() for text in texts) and any(text != text.rstrip('\n') for text in texts)


@pytest.mark.parametrize('template', ['mistral', 'llama2'])
def test_a_prompt_may_follow_an_answer_that_says_nothing(mistral, template):
  prompt = chat.encode_prompt(template, mistral, _dialog('user', 'assistant', 'user', content='')).tolist()
  assert prompt.count(mistral.eos_id) == 1 and prompt[0] == mistral.bos_id
