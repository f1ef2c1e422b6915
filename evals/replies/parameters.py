"""What a request says besides its messages: which of it changes the reply, and which only its price."""

import json
from collections.abc import Mapping
from typing import Any

from skillmix_jax.errors import InputError

PRICE_ONLY = ('service_tier',)  # not in the key of a reply: the same text for another price
_OURS = ('model', 'messages', 'n', 'stream')  # a reply is one text, whole, to messages of ours


def parse(text: str, flag: str) -> dict[str, Any]:
  """Reads 'reasoning_effort=low,max_tokens=2000', or a JSON object for values with commas or nested ones.

  Raises:
    InputError: it is neither, or names what a request says anyway.
  """
  try:
    params = _object(text) if text.lstrip().startswith('{') else dict(map(_pair, text.split(','))) if text else {}
  except ValueError as error:
    raise InputError(
      f'--{flag}={text!r}: {error}; it looks like reasoning_effort=low,max_tokens=2000 or like {{"seed": 1}}'
    ) from None
  if ours := [name for name in _OURS if name in params]:
    raise InputError(f'--{flag}={text!r}: {ours[0]!r} is set by the command')
  return params


def split(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (those that change the reply, those that change its price); None values are left out."""
  sent = {name: value for name, value in params.items() if value is not None}
  price = {name: sent.pop(name) for name in PRICE_ONLY if name in sent}
  return sent, price


def _pair(text: str) -> tuple[str, Any]:
  name, equals, value = (part.strip() for part in text.partition('='))
  if not (name and equals and value):
    raise ValueError(f'{text.strip()!r} is not NAME=VALUE')
  try:
    return name, _whole(json.loads(value, parse_constant=_refuse))
  except json.JSONDecodeError:
    return name, value


def _object(text: str) -> dict[str, Any]:
  try:
    return {name: _whole(value) for name, value in json.loads(text, parse_constant=_refuse).items()}
  except (json.JSONDecodeError, RecursionError):
    raise ValueError('not a JSON object') from None


def _whole(value: Any) -> Any:
  """Returns 1 for 1.0, which are the same to a server and would be two keys."""
  return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse(name: str):
  raise ValueError(f'{name} is no number')
