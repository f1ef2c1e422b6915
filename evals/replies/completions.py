"""What a server answers with status 200: a completion, or something else."""

import datetime
import json
from collections.abc import Callable

from evals.replies.ledger import Reply


class Useless(Exception):
  """A reply with status 200 that holds no completion."""


def now() -> str:
  """Returns the time of a reply."""
  return datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')


def read(content: bytes, asked: str, seconds: float, hide: Callable[[str], str]) -> Reply:
  """Reads the reply in the body of a response.

  Args:
    asked: the model's name, where the server does not say its own.
    seconds: since it was asked for.
    hide: takes the key out of a text: some servers repeat what they were sent.

  Raises:
    Useless: the body has no completion.
  """
  try:
    body = json.loads(content)
    choices = body['choices']
    message = choices[0]['message']
    text = message.get('content')
    usage = body.get('usage') or {}
    if text is not None and not isinstance(text, str):
      raise TypeError
    return Reply(
      text=hide((text or '').encode('utf-8', 'replace').decode()),  # half a surrogate pair cannot be stored
      finish_reason=hide(str(choices[0].get('finish_reason') or '')),
      model=hide(str(body.get('model') or asked)),
      usage={name: int(usage.get(name) or 0) for name in ('prompt_tokens', 'completion_tokens')},
      id=hide(str(body.get('id') or '')),
      seconds=seconds,
      time=now(),
    )
  except (ValueError, LookupError, TypeError, AttributeError):
    # In full: half a key would not be found when the key is taken out, which happens before the text is cut.
    raise Useless(f'a reply with status 200 and no completion: {content.decode(errors="replace")}') from None
