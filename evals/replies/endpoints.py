"""Who answers: a hosted model, a checkpoint of ours, or a function. To the rest of `evals` they are the same.

    failed = collect(ledger, 'grade', requests, Online('gpt-5.6-sol'))

An endpoint hands every reply over as it arrives and `collect` writes it to the ledger before anything else happens.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from evals.replies.completions import now
from evals.replies.ledger import UNREAD, Ledger, Reply, Request, key
from evals.replies.online import Online
from evals.replies.refusals import Stopped
from evals.replies.sending import OnError, OnReply

__all__ = ['Endpoint', 'Exact', 'Local', 'Online', 'Stopped', 'collect']


class Endpoint(Protocol):
  """What answers requests: the methods that a hosted model, a checkpoint and an exact grader share.

  Attributes:
    model: name that goes into keys.
    params: sampling parameters that go into keys.
    prices: dollars for a million prompt and completion tokens; None: not known.
    writes: whether this process stores replies; of several that sample together one does.
    concurrency: how many replies may be on their way.
  """

  model: str
  params: dict[str, Any]
  prices: tuple[float, float] | None
  writes: bool
  concurrency: int

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """Answers all requests and blocks until it is done; both functions are called from one thread.

    Raises:
      InputError: a request cannot be answered, found before anything was asked.
      Stopped: nothing more can be asked; every reply that came was handed over.
    """


def collect(
  ledger: Ledger,
  stage: str,
  requests: Sequence[Request],
  endpoint: Endpoint,
  on_progress: Callable[[Request, Reply | None], None] | None = None,
) -> list[tuple[Request, str]]:
  """Asks for what the ledger lacks and stores each reply as it arrives.

  Args:
    stage: first part of the file's name.
    on_progress: called with each reply once it is stored, or with None where there was none.

  Returns:
    The requests that got no reply, each with the reason.

  Raises:
    InputError, Stopped: see Endpoint.ask.
  """
  missing: dict[str, Request] = {}
  for request in requests:
    name = key(request.slot, endpoint.model, endpoint.params, request.messages)
    if ledger.get(name) is None:
      missing[name] = request
  keys = {id(request): name for name, request in missing.items()}
  failed: list[tuple[Request, str]] = []
  if not missing:
    return failed
  with ledger.open_writer(stage, endpoint.writes, min(endpoint.concurrency, len(missing))) as writer:

    def store(request: Request, reply: Reply):
      if reply.finish_reason == UNREAD:
        writer.append_unread(request, keys[id(request)], reply.raw)
        return
      writer.append(request, keys[id(request)], endpoint.model, endpoint.params, reply)
      if on_progress is not None:
        on_progress(request, reply)

    def give_up(request: Request, reason: str):
      failed.append((request, reason))
      if on_progress is not None:
        on_progress(request, None)

    endpoint.ask(list(missing.values()), store, give_up)
  return failed


class Local:
  """A checkpoint of ours; needs no network and imports nothing for one."""

  def __init__(
    self,
    checkpoint: str,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
    dtype: str = 'bfloat16',
    template: str | None = None,
    batch_size: int | None = None,
  ):
    """Looks at the checkpoint; its weights are read when there is something to answer.

    Args:
      checkpoint: `W`, `W@step` or a Hugging Face folder.
      temperature, top_p, max_tokens: None: .7, 1 and 512.
      template: instead of the one that the checkpoint was trained with.
      batch_size: dialogs at a time, which is also what a kill may cost at most; None: see `fix_batch_size`.

    Raises:
      InputError: there is no such checkpoint, dtype or template.
    """
    from skillmix_jax.answering import Model

    self._model = Model(checkpoint, dtype=dtype, template=template, batch_size=batch_size)
    self._batch_size = batch_size
    self.model = f'checkpoint:{self._model.fingerprint}'
    self._temperature = 0.7 if temperature is None else float(temperature)
    self._top_p = 1.0 if top_p is None else float(top_p)
    self._max_tokens, self._seed = 512 if max_tokens is None else max_tokens, seed
    self.params: dict[str, Any] = {
      'temperature': self._temperature, 'top_p': self._top_p, 'max_tokens': self._max_tokens, 'seed': seed,
      'dtype': dtype,
    }  # fmt: skip
    if template is not None:
      self.params['template'] = self._model.settings['template']  # the name, also of 'auto'
    self.prices: tuple[float, float] | None = (0.0, 0.0)
    self.writes, self.concurrency = self._model.is_main_process, 1

  def fix_batch_size(self, request: Request, num: int, stored: int | None) -> int:
    """Sets how many dialogs are answered at a time from now on.

    Args:
      request: the longest of round 2, with an empty answer of round 1.
      num: requests of a round.
      stored: that earlier replies were made with: it counts.
    """
    dialog = {'id': str(request.slot), 'messages': list(request.messages)}
    ((_, ids),) = self._model.encode([dialog], self._max_tokens)
    longest = len(ids) + self._max_tokens
    self._batch_size = self._model.choose_batch_size(longest, num, self._max_tokens, stored)
    return self._batch_size

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """See Endpoint; a reply comes when it ends, and depends on the seed, its slot and prompt, and the batch size."""
    slots = {str(request.slot): request for request in requests}
    dialogs = [{'id': name, 'messages': list(request.messages)} for name, request in slots.items()]
    num_prompt_tokens = {name: len(ids) for name, ids in self._model.encode(dialogs, self._max_tokens)}
    began = time.perf_counter()
    rows = self._model.sample_dialogs(
      dialogs, temperature=self._temperature, top_p=self._top_p, max_new_tokens=self._max_tokens, seed=self._seed,
      batch_size=self._batch_size,
    )  # fmt: skip
    for row in rows:
      usage = {'prompt_tokens': num_prompt_tokens[row['id']], 'completion_tokens': row['num_tokens']}
      seconds = time.perf_counter() - began
      reply = Reply(row['answer'], row['finish_reason'], self.model, usage, row['id'], seconds, now())
      on_reply(slots[row['id']], reply)


class Exact:
  """A function that grades, for worlds where the right marks can be computed."""

  def __init__(self, function: Callable[..., str], name: str = 'exact'):
    """`function(skills, topic, text, criteria)` returns the reply of a grader."""
    self._function, self.model = function, name
    self.params: dict[str, Any] = {}
    self.prices: tuple[float, float] | None = (0.0, 0.0)
    self.writes, self.concurrency = True, 1

  def ask(self, requests: Sequence[Request], on_reply: OnReply, on_error: OnError) -> None:
    """See Endpoint."""
    for request in requests:
      began = time.perf_counter()
      text = self._function(**{name: request.context[name] for name in ('skills', 'topic', 'text', 'criteria')})
      usage = {'prompt_tokens': 0, 'completion_tokens': 0}
      on_reply(request, Reply(text, 'stop', self.model, usage, '', time.perf_counter() - began, now()))
