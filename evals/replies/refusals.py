"""Why a request got no reply: what to say, and whether any other request would fare better."""

import json
import re
from collections.abc import Callable
from typing import Any

from evals.replies.address import Address
from evals.replies.completions import Useless, count, now
from evals.replies.ledger import Reply
from evals.replies.redaction import Redaction
from evals.replies.retries import Patience
from skillmix_jax.errors import InputError

OUT_OF_MONEY = ('insufficient_quota', 'billing_hard_limit_reached', 'billing_not_active')
PAYMENT_REQUIRED = 402  # how some proxies say the same

FILTER_STATUSES = (400, 403, 422)
# What vendors call a prompt that they do not answer, in a code, a type or a message.
_FILTERED = re.compile(
  r'content[_ -]?(?:filter|policy|management)|responsible ?ai ?policy|moderation|invalid_prompt|prohibited_content|'
  r'data_?inspection_?failed|\bsafety\b|flagged',
  re.I,
)


class Stopped(InputError):
  """No more can be asked for now; what had been asked was waited for and is stored. The message says what to do."""


def refused_prompt(error: Any, seconds: float, url: str, hide: Callable[[str], str]) -> Reply | None:
  """Returns the reply that a filter's 400 or 403 is, an empty text of no model; None: it is about something else."""
  if error.status_code not in FILTER_STATUSES:
    return None
  try:
    said = json.dumps(error.body, ensure_ascii=False)
  except (TypeError, ValueError, RecursionError):
    said = str(error.body)
  if not is_filter(said):
    return None
  return Reply('', 'content_filter', '', count(None), '', seconds, now(), url=url, raw=hide(said))


def is_filter(said: str) -> bool:
  """Says whether an error is about what a prompt says."""
  return _FILTERED.search(said) is not None


def explain(
  error: Exception, *, address: Address, model: str, redaction: Redaction, attempts: int, patience: Patience,
  has_answered: bool,
) -> tuple[str, Exception | None]:  # fmt: skip
  """Returns (what to say of one request, what ends all of them or None).

  Args:
    error: of the SDK, a Useless, or whatever else was raised.
    redaction: takes the key out of what the server says.
    attempts: that the SDK made.
    patience: with this request.
    has_answered: whether the server has answered other requests: then this one is at fault.
  """
  import openai

  url = address.shown
  if isinstance(error, Useless):
    kept = 'it is in replies/unread/: ' if error.usage.get('completion_tokens') else ''
    often = f'{error.times} times ' if error.times > 1 else ''
    return redaction.one_line(f'{kept}{often}{error}'), None
  if isinstance(error, openai.APITimeoutError):
    times = max(1, patience.num_late)
    return (
      f'no answer, {times} times, the last within {patience.waited:g} s: if it is slow, raise --timeout or lower '
      '--concurrency'
    ), None
  if isinstance(error, openai.APIConnectionError):
    return f'the connection failed {attempts} times ({type(error.__cause__).__name__})', None
  if not isinstance(error, openai.APIStatusError):
    return str(error), error  # a full disk, or a bug
  status, said = error.status_code, redaction.one_line(_message(error))
  if status == 429 and not _is_out_of_money(error):
    times = max(1, patience.num_refused)
    return f'still too many requests after {times} attempts ({said}): lower --concurrency, or set --rpm or --tpm', None
  reason = f'{url} refuses the request ({status}): {said}'
  if _is_out_of_money(error):
    reason = (
      f'{url} says that the account is out of money ({said}): top it up and run the same command again; no reply is '
      'lost'
    )
  elif status in (401, 403):
    reason = _refused_key(address, status, said)
  elif status == 404:
    reason = f'{url} does not find model {model!r} ({said}): check the name, and the URL'
  elif status >= 500 or has_answered:
    return reason, None
  return reason, Stopped(reason)


def _is_out_of_money(error) -> bool:
  return error.status_code == PAYMENT_REQUIRED or error.code in OUT_OF_MONEY or error.type in OUT_OF_MONEY


def _refused_key(address: Address, status: int, message: str) -> str:
  if not address.key:
    return f'{address.shown} wants a key ({status}): set {address.key_variable}'
  said = f' and says: {message}' if status == 403 and message else ''  # after 401 some show parts of the key
  return f'{address.shown} refuses the key in {address.key_variable} ({status}){said}; check the key and its project'


def _message(error) -> str:
  """Returns what the server says in an error: its message, where servers made with FastAPI put it, or all of it."""
  body = error.body
  message = body.get('message') or body.get('detail') or body if isinstance(body, dict) else body
  return str(message or error.message)
