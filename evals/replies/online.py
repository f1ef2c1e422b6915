"""A hosted model: an OpenAI-compatible server, its key, and what is sent with every request."""

import functools
import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.replies import address, parameters
from evals.replies.budget import Budget
from evals.replies.ledger import Request
from evals.replies.progress import Prices
from evals.replies.redaction import Redaction
from evals.replies.sending import CONNECT_TIMEOUT, OnError, OnReply, Sending
from skillmix_jax.errors import InputError

NO_KEY = 'none'  # servers of one's own ask for no key, but the SDK wants one
TIMEOUT = 120.0  # seconds for the first attempt


class Online:
  """A model on an OpenAI-compatible server, reached with the `openai` package."""

  def __init__(
    self,
    model: str,
    params: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    concurrency: int = 64,
    timeout: float = TIMEOUT,
    max_retries: int = 8,
    prices: Prices | None = None,
    dry_run: bool = False,
    *,
    usual_url: str | None = None,
    allow_http: bool = False,
    rpm: float | None = None,
    tpm: float | None = None,
    max_dollars: float | None = None,
  ):
    """Checks what can be checked without a request.

    Args:
      params: sent with every request, and nothing else is: newer hosted models refuse a temperature. None values
        are left out.
      base_url, usual_url, allow_http: see address.resolve.
      concurrency: requests in flight.
      timeout: seconds for the first attempt; the second and the last may take twice and four times as long.
      max_retries: further attempts after 429, 5xx and cut connections.
      dry_run: nothing will be asked, so no key is needed.
      rpm, tpm: requests and tokens a minute; None: as the server allows.
      max_dollars: that all replies of this model in the run may cost; None: any.

    Raises:
      InputError: the URL cannot be one, the key is missing, a number is out of range, or there is a limit and no price.
    """
    for name, value in (('timeout', timeout), ('rpm', rpm), ('tpm', tpm), ('max_dollars', max_dollars)):
      if value is not None and not (value > 0 and math.isfinite(value)):
        raise InputError(f'{name}={value:g} must be a number above 0')
    if concurrency < 1:
      raise InputError(f'concurrency={concurrency} must be at least 1')
    self.model, self.prices, self.writes = model, prices, True
    self.params, self._priced = parameters.split(params or {})
    self.tier = str(self._priced.get('service_tier', ''))
    self.concurrency, self.timeout, self.max_retries = concurrency, timeout, max_retries
    self.rpm, self.tpm = rpm, tpm
    self.address = address.resolve(base_url, usual_url, allow_http)
    self.base_url, self.shown_url = self.address.url, self.address.shown
    self.redaction = Redaction(self.address.key)
    self.budget = None if max_dollars is None else Budget(max_dollars, prices, self._longest())
    if self.address.vendor and not self.address.key and not dry_run:
      raise InputError(
        f'{self.address.key_variable} is not set: export the key for {self.shown_url}, or give --base_url (or '
        f'{address.URL_VARIABLE}) of a server that needs none'
      )

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """See Endpoint; SIGINT and SIGTERM stop it as an error does: what is in flight is waited for and handed over."""
    Sending(self, on_reply, on_error).run(requests)

  def sent_params(self) -> dict[str, Any]:
    """Returns the params, as this server calls them."""
    sent = self.params | self._priced
    # OpenAI's newer models refuse max_tokens; vLLM before 0.6.4 and many other servers know no other name.
    if self.address.is_openai and 'max_tokens' in sent:
      sent['max_completion_tokens'] = sent.pop('max_tokens')
    return sent

  def body(self, request: Request) -> dict[str, Any]:
    """Returns what is sent for a request."""
    return {'model': self.model, 'messages': request.messages, **self.sent_params()}

  @functools.cached_property
  def _certificates(self) -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()  # takes as long as ten requests

  def client(self, attempt: Callable):
    """Returns (the SDK's client, its HTTP client), for one request at a time.

    `attempt(request, send)` awaits send() for each of its attempts. A client with many connections looks at all of them
    whenever a request begins or ends: with 100 that is a third of the work.
    """
    import httpx2
    import openai

    class Http(openai.DefaultAsyncHttpxClient):
      async def send(self, request, **options):
        send = functools.partial(super().send, request, **options)
        return await (attempt(request, send) if request.method == 'POST' else send())

    timeout = openai.Timeout(self.timeout, connect=min(self.timeout, CONNECT_TIMEOUT))
    http = Http(timeout=timeout, limits=httpx2.Limits(max_connections=1), verify=self._certificates)
    client = openai.AsyncOpenAI(
      api_key=self.address.key or NO_KEY, base_url=self.base_url, timeout=timeout, max_retries=self.max_retries,
      http_client=http, default_query=self.address.query, default_headers=self.address.headers,
    )  # fmt: skip
    return client, http

  def _longest(self) -> int | None:
    caps = [self.params.get(name) for name in ('max_tokens', 'max_completion_tokens')]
    return next((cap for cap in caps if isinstance(cap, int)), None)
