"""Why a request got no reply: what to say, and whether any other request would fare better."""

from evals.replies.completions import Useless
from evals.replies.redaction import Redaction
from skillmix_jax.errors import InputError

KEY_VARIABLE = 'OPENAI_API_KEY'
OUT_OF_MONEY = ('insufficient_quota', 'billing_hard_limit_reached', 'billing_not_active')
PAYMENT_REQUIRED = 402  # how some proxies say the same


class Stopped(InputError):
  """No more can be asked for now; what had been asked was waited for and is stored. The message says what to do."""


def explain(
  error: Exception, *, url: str, model: str, has_key: bool, redaction: Redaction, attempts: int, waited: float,
  has_answered: bool,
) -> tuple[str, Exception | None]:  # fmt: skip
  """(what to say of one request, what ends all of them or None).

  Args:
    error: of the SDK, a Useless, or whatever else was raised.
    url: of the server, to be shown.
    redaction: takes the key out of what the server says.
    attempts: that were made.
    waited: seconds, at the last attempt that was too slow.
    has_answered: whether the server has answered other requests: then this one is at fault.
  """
  import openai

  if isinstance(error, Useless):
    return redaction.one_line(str(error)), None
  if isinstance(error, openai.APITimeoutError):
    return f'no answer, {attempts} times, the last within {waited:g} s: if it is slow, lower --concurrency', None
  if isinstance(error, openai.APIConnectionError):
    return f'the connection failed {attempts} times ({type(error.__cause__).__name__})', None
  if not isinstance(error, openai.APIStatusError):
    return str(error), error  # a full disk, or a bug
  status, said = error.status_code, redaction.one_line(_message(error))
  if status == 429 and not _is_out_of_money(error):
    return f'still too many requests after {attempts} attempts ({said}): lower --concurrency', None
  reason = f'{url} refuses the request ({status}): {said}'
  if _is_out_of_money(error):
    reason = (
      f'{url} says that the account is out of money ({said}): top it up and run the same command again; no reply is '
      'lost'
    )
  elif status in (401, 403):
    reason = _refused_key(url, status, said, has_key)
  elif status == 404:
    reason = f'{url} does not find model {model!r} ({said}): check the name, and the URL'
  elif status >= 500 or has_answered:
    return reason, None
  return reason, Stopped(reason)


def _is_out_of_money(error) -> bool:
  return error.status_code == PAYMENT_REQUIRED or error.code in OUT_OF_MONEY or error.type in OUT_OF_MONEY


def _refused_key(url: str, status: int, message: str, has_key: bool) -> str:
  if not has_key:
    return f'{url} wants a key ({status}): set {KEY_VARIABLE}'
  said = f' and says: {message}' if status == 403 and message else ''  # after 401 some show parts of the key
  return f'{url} refuses the key in {KEY_VARIABLE} ({status}){said}; check the key and its project'


def _message(error) -> str:
  """Returns what the server says in an error."""
  message = error.body.get('message') if isinstance(error.body, dict) else error.body
  return str(message or error.message)
