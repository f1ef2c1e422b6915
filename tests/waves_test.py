"""What is asked next follows from the ledger, and a reply is looked into once."""

from collections import Counter

import pytest

from configs import eval_generate
from evals.marking import rubric
from evals.questions.settings import from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.ledger import Reply, key
from evals.replies.run import Student
from evals.replies.waves import Grader

GRADER = Grader('fake-2', {})
USAGE = {'prompt_tokens': 1, 'completion_tokens': 1}


def store(run, stage, requests, text, model='fake-1', time='2026-11-01T00:00:00.000000Z'):
  """A reply to each request; `text` is a function of it."""
  with run.ledger.open_writer(stage) as writer:
    for request in requests:
      name = key(request.slot, model, {}, request.messages)
      writer.append(request, name, model, {}, Reply(text(request), 'stop', model, USAGE, '', 0.0, time))


def table(point):
  return lambda request: rubric.format_table(request.context['criteria'], [point] * len(request.context['criteria']))


@pytest.fixture
def written(tmp_path):
  """A run of four texts."""
  config = eval_generate.get_config().to_dict() | {'ks': (1, 2), 'num_combinations': 2}
  run = runs.start(tmp_path / 'run', from_config(config), Student('openai:fake-1', 'fake-1', {}))
  for stage in (0, 1):
    store(run, 'answers', waves.answer_requests(run)[stage], lambda request: 'Answer: Stones sing. They sleep.')
  return run


def asked(run):
  return waves.vote_requests(run, GRADER, list(waves.texts(run)), 0.0, ())


def test_each_vote_is_parsed_once(written, monkeypatch):
  parsed, parse = Counter(), rubric.parse
  monkeypatch.setattr(rubric, 'parse', lambda reply, criteria: (parsed.update([reply]), parse(reply, criteria))[1])
  no = lambda request: f'I would rather not: {request.slot}'
  for text in (no, lambda request: f'{request.slot}\n' + table(1)(request)):
    store(written, 'votes', asked(written), text, 'fake-2')
  assert not asked(written)
  first, again = ([waves.votes(written, GRADER, text) for text in waves.texts(written)] for _ in range(2))
  assert first == again and all(set(vote.points) == {1} for votes in first for vote in votes)
  assert set(parsed.values()) == {1} and len(parsed) == 2 * 4 * written.settings.votes


def test_an_earlier_reply_to_the_same_vote_counts_although_the_later_one_was_parsed(written):
  requests = asked(written)
  store(written, 'votes', requests, table(0), 'fake-2', time='2026-11-02')
  points = lambda: {p for text in waves.texts(written) for v in waves.votes(written, GRADER, text) for p in v.points}
  assert points() == {0}
  store(written, 'votes', requests, table(1), 'fake-2', time='2026-11-01')
  assert points() == {1}
