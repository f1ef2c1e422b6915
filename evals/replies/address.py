"""Where a hosted model is reached, and which key goes there: a vendor's key to the vendor, and nowhere else."""

import dataclasses
import os
from urllib.parse import parse_qsl, urlsplit

from evals import graders
from skillmix_jax.errors import InputError

URL_VARIABLE = 'OPENAI_BASE_URL'
OPENAI_URL = 'https://api.openai.com/v1'
OPENAI_KEY = graders.VENDORS['openai'].key_variable


@dataclasses.dataclass(frozen=True)
class Address:
  """A server and the key for it.

  Attributes:
    url: without the query; query: sent with every request (Azure's api-version).
    shown: the URL without password and query, for messages and records.
    vendor: whose it is; None: a server of one's own, or of a vendor that we do not know.
    key_variable: where a key for it is looked for.
    key: '' for none.
  """

  url: str
  query: dict[str, str]
  shown: str
  vendor: graders.Vendor | None
  key_variable: str
  key: str = dataclasses.field(repr=False)

  @property
  def is_openai(self) -> bool:
    """Says whether OpenAI's models answer there, which refuse `max_tokens`."""
    return self.vendor in (graders.VENDORS['openai'], graders.VENDORS['azure'])

  @property
  def headers(self) -> dict[str, str]:
    """Returns headers besides the SDK's: Azure wants its key under another name."""
    return {'api-key': self.key} if self.vendor is graders.VENDORS['azure'] and self.key else {}


def resolve(base_url: str | None, usual_url: str | None = None, allow_http: bool = False) -> Address:
  """Returns the address that is asked.

  $OPENAI_API_KEY goes to OpenAI, and to the server that the user named; a vendor gets the key in its own variable.

  Args:
    base_url: as the user named it; None: $OPENAI_BASE_URL.
    usual_url: where the model is served if the user names no server; None: OpenAI's.
    allow_http: also without encryption to another machine.

  Raises:
    InputError: it is no URL, it is plain http to another machine, or the key cannot be one.
  """
  named = base_url or os.environ.get(URL_VARIABLE)
  url = named or usual_url or OPENAI_URL
  parts = urlsplit(url)
  if parts.scheme not in ('http', 'https') or not parts.hostname:
    raise InputError(f'base_url={url!r} is not a URL; it looks like http://localhost:8000/v1')
  shown = f'{parts.scheme}://{parts.netloc.rpartition("@")[2]}{parts.path}'
  if parts.scheme == 'http' and not (allow_http or graders.is_local(parts.hostname)):
    raise InputError(
      f'{shown} is another machine without https: texts and keys can be read on the way; use https or a tunnel '
      '(ssh -L 8000:localhost:8000 HOST), or say --allow_http'
    )
  vendor = graders.vendor(url)
  variable = vendor.key_variable if vendor else OPENAI_KEY
  if named and not _key(variable) and _key(OPENAI_KEY):
    variable = OPENAI_KEY
  key = _key(variable) if vendor or named else ''
  return Address(url.partition('?')[0], dict(parse_qsl(parts.query)), shown, vendor, variable, key)


def _key(variable: str) -> str:
  key = os.environ.get(variable, '').strip()
  if not key.isascii():
    raise InputError(f'{variable} contains non-ASCII characters, which no key has: copy it again')
  return key
