"""What a server answers with status 200: a completion in one of several shapes, or something else."""

import datetime
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from evals import graders
from evals.replies.ledger import Reply

MOST_TOKENS = 10**12  # of one reply: a larger count is not one
_PLAIN = ('role', 'content')  # of a message: whatever else is in it is stored as it came
_TEXTS = ('text', 'output_text')  # parts of a message that are the answer; others are thoughts


class Useless(Exception):
  """A reply with status 200 that holds no completion.

  Attributes:
    body: as it came, without the key.
    usage: what it says that it cost; empty: nothing.
    times: how often it came.
  """

  def __init__(self, body: str, usage: dict[str, Any]):
    super().__init__(f'a reply with status 200 and no completion: {body}')
    self.body, self.usage, self.times = body, usage, 1


def now() -> str:
  """Returns the time of a reply."""
  return _written(datetime.datetime.now(datetime.UTC))


def at(seconds: int) -> str:
  """Returns the same of a Unix time; '' for what is not a time."""
  try:
    return _written(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
  except (ValueError, OverflowError, OSError):
    return ''


def _written(time: datetime.datetime) -> str:
  return time.strftime('%Y-%m-%dT%H:%M:%S.%fZ')


def read(
  content: bytes, asked: str, seconds: float, hide: Callable[[str], str], *, tier: str = '', url: str = '',
  time: str = '',
) -> Reply:  # fmt: skip
  """Reads the reply in the body of a response.

  Args:
    asked: the model's name, where the server does not say its own.
    seconds: since it was asked for.
    hide: takes the key out of a text: some servers repeat what they were sent.
    tier: service tier, where the server does not say which one it was.
    url: of the server.
    time: when it came; '': now.

  Raises:
    Useless: there is no completion in it that we know how to read.
  """
  body: Any = None
  try:
    body = json.loads(content)
    choice = body['choices'][0]
    message = choice['message']
    text, refused = _text(message)
    more = any(value for name, value in message.items() if name not in _PLAIN) or isinstance(message['content'], list)
    finish_reason = str(choice.get('finish_reason') or '')
    return Reply(
      text=hide(text.encode('utf-8', 'replace').decode()),  # half a surrogate pair cannot be stored
      finish_reason='refusal' if refused else hide(finish_reason),
      model=hide(str(body.get('model') or asked)),
      usage=count(body.get('usage')),
      id=hide(str(body.get('id') or '')),
      seconds=seconds,
      time=time or now(),
      tier=_tier(body.get('service_tier') or tier),
      url=url,
      raw=hide(content.decode(errors='replace')) if more else '',
    )
  except Exception:  # whatever is wrong with it, it may have been paid for, and is kept
    # In full: half a key would not be found when the key is taken out, which happens before the text is cut.
    # Empty 'choices' are a failure that passes; whatever else has a 'usage' is of a shape that we do not know.
    usage = count(body.get('usage')) if isinstance(body, dict) and body.get('choices', True) else {}
    raise Useless(hide(content.decode(errors='replace')), usage) from None


def _text(message: Mapping[str, Any]) -> tuple[str, bool]:
  """Returns (the answer, whether it was refused); raises TypeError for a shape that we do not know."""
  content = message['content'] if 'content' in message else message['refusal']
  if isinstance(content, list):
    parts = [part if isinstance(part, str) else _part(part) for part in content]
    return ''.join(parts), False
  if content is not None and not isinstance(content, str):
    raise TypeError
  if not content and isinstance(message.get('refusal'), str) and message['refusal']:
    return '', True
  return content or '', False


def _part(part: Mapping[str, Any]) -> str:
  if part['type'] not in _TEXTS:
    return ''
  if not isinstance(part['text'], str):
    raise TypeError
  return part['text']


def count(usage: Any) -> dict[str, Any]:
  """Returns the counts of a 'usage' with details, without what is not a count; the two that are billed always."""
  usage = usage if isinstance(usage, dict) else {}
  counts: dict[str, Any] = {'prompt_tokens': 0, 'completion_tokens': 0}
  for name, value in usage.items():
    if isinstance(value, dict):
      details = {inner: number for inner, one in value.items() if (number := _count(one))}
      counts |= {name: details} if details else {}
    elif number := _count(value):
      counts[name] = number
  return counts


def _count(value: Any) -> int:
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
    return 0
  return int(value) if 0 <= value <= MOST_TOKENS else 0


def _tier(name: Any) -> str:
  return '' if name in graders.STANDARD or not isinstance(name, str) else name
