"""Prompts: dialogs that end with a user message, from a file to tokens."""

from collections.abc import Sequence
from pathlib import Path

from skillmix_jax.batches import Prompt
from skillmix_jax.data import chat, sources, tokenizer
from skillmix_jax.errors import InputError


def read_dialogs(path: Path) -> list[dict]:
  """Reads the prompts of a JSONL file.

  Raises:
    InputError: the file or a line is wrong; the message starts with FILE:LINE.
  """
  origins: dict[str, str] = {}
  dialogs = []
  for origin, dialog in sources.dialogs([str(path)]):
    if 'messages' not in dialog:
      raise InputError(
        f"{origin}: no 'messages', only {', '.join(sorted(dialog)) or 'nothing'}; a prompt is "
        '{"id": "a", "messages": [{"role": "user", "content": "TEXT"}]}'
      )
    name = dialog.get('id')
    if not isinstance(name, str) or not name:
      raise InputError(f"{origin}: 'id' must be a text that is not empty, not {name!r}")
    if name in origins:
      raise InputError(f'{origin}: id {name!r} is already used at {origins[name]}')
    try:
      chat.check_messages(dialog['messages'], last='user')
    except InputError as error:
      raise InputError(f'{origin}: {error}') from None
    origins[name] = origin
    dialogs.append(dialog)
  return dialogs


def encode_dialogs(dialogs: Sequence[dict], template: str, encoder: tokenizer.Tokenizer) -> list[Prompt]:
  """Returns (id, token ids) of each; raises InputError naming the dialog whose roles are out of order."""
  prompts = []
  for dialog in dialogs:
    try:
      prompts.append((dialog['id'], chat.encode_prompt(template, encoder, dialog['messages']).tolist()))
    except InputError as error:
      raise InputError(f'prompt {dialog["id"]!r}: {error}') from None
  return prompts
