"""Conversations to tokens: what the model reads, and on which of its tokens it is trained.

The parts of a dialog are tokenised one by one and their ids are joined; a rendered string is never tokenised
as a whole. So it is known, not guessed from character offsets, which ids belong to an answer; and text that
spells '</s>' cannot end a turn.

A template (templates.py) gives parts, where a part is (ids, trained): one for each message, in order. Because
every part depends only on its own message (and the system text), the ids of a prompt are exactly the beginning
of the ids of the dialog that continues it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.data.tokenizer import Tokenizer
from skillmix_jax.errors import InputError


def identity(template: str) -> dict[str, str]:
  """What a manifest or a workdir records of its template."""
  kind = TEMPLATES[template]
  return {'name': template, 'trailing_blank': kind.trailing_blank} | ({'fixed': kind.fixed} if kind.fixed else {})


def check_messages(messages: Any, last: str):
  """Refuses what is not (system)? user (assistant user)* up to a message of role `last`.

  Where an answer is last, the dialog is for training and none may be empty; in front of a prompt a model may have said
  nothing.

  Raises:
    InputError: what is wrong and in which message (counted from 1); the caller adds file and line.
  """
  if not isinstance(messages, list) or not messages:
    raise InputError(f"'messages' must be a list of {{'role', 'content'}} whose last role is {last}")
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
  parts = list(TEMPLATES[template].parts(tokenizer, messages))
  ids = [token for part, _ in parts for token in part]
  mask = np.repeat([trained for _, trained in parts], [len(part) for part, _ in parts])
  return np.asarray(ids, np.int32), mask


def encode_prompt(template: str, tokenizer: Tokenizer, messages: Any) -> np.ndarray:
  """Tokens of a conversation that ends with a user message: what a sampler continues. ids int32 [n].

  Raises:
    InputError: the roles are out of order, a text is no string.
  """
  check_messages(messages, last='user')
  return np.asarray([token for part, _ in TEMPLATES[template].parts(tokenizer, messages) for token in part], np.int32)


def decode_answer(template: str, tokenizer: Tokenizer, ids: Sequence[int]) -> str:
  """Decodes a sampled answer, without its end token and without the blank that llama2 writes in front of it."""
  text = tokenizer.decode(ids)
  return text.strip() if TEMPLATES[template].strips else text
