"""Conversations to tokens: what the model reads, and on which of its tokens it is trained.

The parts of a dialog are tokenised one by one and their ids are joined; a rendered string is never tokenised
as a whole. So it is known, not guessed from character offsets, which ids belong to an answer; and text that
spells '</s>' cannot end a turn.

A template is a function (tokenizer, messages) -> parts, where a part is (ids, trained): one for each message,
in order. Because every part depends only on its own message (and the system text), the ids of a prompt are
exactly the beginning of the ids of the dialog that continues it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from skillmix_jax.data.tokenizer import Tokenizer
from skillmix_jax.errors import InputError

Message = dict[str, str]
Parts = Iterator[tuple[list[int], bool]]


def mistral(tokenizer: Tokenizer, messages: Sequence[Message]) -> Parts:
  """`<s>[INST] user [/INST] answer</s>[INST] user [/INST] answer</s>`, as mistral-common's InstructTokenizerV1.

  One BOS for the whole dialog. Texts are kept as they are, blanks and newlines at their ends included. The
  blank in front of an answer is the one that sentencepiece puts in front of every text. There is no system
  role: a system text stands in front of the first user text, an empty line between them.
  """
  start = [tokenizer.bos_id]
  for message in _merge_system(messages, '{system}\n\n{user}', keep_empty=False):
    if message['role'] == 'user':
      yield start + tokenizer.encode(f'[INST] {message["content"]} [/INST]'), False
      start = []
    else:
      yield [*tokenizer.encode(message['content']), tokenizer.eos_id], True


def llama2(tokenizer: Tokenizer, messages: Sequence[Message]) -> Parts:
  """`<s>[INST] user [/INST] answer </s><s>[INST] user [/INST] answer </s>`, as Meta's `chat_completion`.

  The reference is llama/generation.py of github.com/meta-llama/llama at commit c769dfd. It tokenises each round
  as one string; no piece of the vocabulary spans the blank behind `[/INST]`, so its two parts give the same ids.
  Each round has a BOS of its own. Texts are stripped. The blank behind the answer is one more token in front of
  EOS, and it is trained: the model has to write it to get to EOS. The system text stands between its tags
  inside the first user text.
  """
  blank = '' if tokenizer.adds_blank else ' '
  for message in _merge_system(messages, '<<SYS>>\n{system}\n<</SYS>>\n\n{user}', keep_empty=True):
    text = message['content'].strip()
    if message['role'] == 'user':
      yield [tokenizer.bos_id, *tokenizer.encode(f'[INST] {text} [/INST]')], False
    else:
      yield [*tokenizer.encode(f'{blank}{text} '), tokenizer.eos_id], True


TEMPLATES: dict[str, Callable[[Tokenizer, Sequence[Message]], Parts]] = {'mistral': mistral, 'llama2': llama2}

# Recorded in a manifest: what became of the blank between an answer and its end token.
TRAILING_BLANK = {
  'mistral': 'none is added; blanks at the end of an answer are kept and trained',
  'llama2': 'answers are stripped, then one blank is added in front of EOS and trained',
}


def identity(template: str) -> dict[str, str]:
  """What a manifest or a workdir records of its template."""
  return {'name': template, 'trailing_blank': TRAILING_BLANK[template]}


def _merge_system(messages: Sequence[Message], form: str, keep_empty: bool) -> Iterable[Message]:
  """Puts the system text into the first user message, as neither template has a turn of its own for it."""
  if messages[0]['role'] != 'system':
    return messages
  system, first, *rest = messages
  if not system['content'] and not keep_empty:
    return [first, *rest]
  merged = {'role': 'user', 'content': form.format(system=system['content'], user=first['content'])}
  return [merged, *rest]


def check_messages(messages: Any, last: str):
  """Refuses what is not (system)? user (assistant user)* up to a message of role `last`.

  Where an answer is last, the dialog is for training and none may be empty; in front of a prompt a model may have said
  nothing.

  Raises:
    InputError: what is wrong and in which message (counted from 1); the caller adds file and line.
  """
  if not isinstance(messages, list) or not messages:
    raise InputError("'messages' must be a list of {'role', 'content'} with at least a user and an assistant")
  for number, message in enumerate(messages, 1):
    if not isinstance(message, dict) or not isinstance(message.get('content'), str):
      raise InputError(f"message {number} must be {{'role': ..., 'content': TEXT}}")
    if message.get('role') not in ('system', 'user', 'assistant'):
      raise InputError(f'message {number} has role {message.get("role")!r}; it must be system, user or assistant')
    if last == 'assistant' and message['role'] == 'assistant' and not message['content'].strip():
      raise InputError(f'message {number}: the answer is empty; remove the dialog or fill it in')
  roles = [message['role'] for message in messages]
  turns = roles[1:] if roles[0] == 'system' else roles
  expected = ['user', 'assistant'] * (len(turns) // 2 + 1)
  offset = len(roles) - len(turns)
  for number, (role, wanted) in enumerate(zip(turns, expected), offset + 1):
    if role != wanted:
      raise InputError(
        f'message {number} has role {role!r} where {wanted!r} is expected (user and assistant take turns)'
      )
  if not turns or turns[-1] != last:
    raise InputError(f'the last message has role {roles[-1]!r}; it must be {last!r}')


def encode_dialog(template: str, tokenizer: Tokenizer, messages: Any) -> tuple[np.ndarray, np.ndarray]:
  """Tokens of a finished dialog and which of them are trained.

  Returns:
    ids int32 [n] and mask bool [n]: true on the tokens of the answers and on the end token of each.

  Raises:
    InputError: the roles are out of order, an answer is empty, a text is no string.
  """
  check_messages(messages, last='assistant')
  parts = list(TEMPLATES[template](tokenizer, messages))
  ids = [token for part, _ in parts for token in part]
  mask = np.repeat([trained for _, trained in parts], [len(part) for part, _ in parts])
  return np.asarray(ids, np.int32), mask


def encode_prompt(template: str, tokenizer: Tokenizer, messages: Any) -> np.ndarray:
  """Tokens of a conversation that ends with a user message: what a sampler continues. ids int32 [n].

  Raises:
    InputError: the roles are out of order, a text is no string.
  """
  check_messages(messages, last='user')
  return np.asarray([token for part, _ in TEMPLATES[template](tokenizer, messages) for token in part], np.int32)


def decode_answer(template: str, tokenizer: Tokenizer, ids: Sequence[int]) -> str:
  """Text of a sampled answer, without its end token and without the blank that llama2 writes in front of it."""
  text = tokenizer.decode(ids)
  return text.strip() if template == 'llama2' else text
