"""Runs that are complete within a second: both answers and all votes, without a server."""

from configs import eval_paper
from evals.marking import rubric
from evals.questions.settings import from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.ledger import Reply, key
from evals.replies.run import Student
from evals.replies.waves import Grader

CONFIG = {'settings': ('held_out',), 'ks': (2,), 'num_combinations': 8, 'generations': 1}


def store(
  run, stage, requests, text, model, params, returned, usage=(1, 1), time='2026-11-01T00:00:00.000000Z', seconds=0.0
):  # fmt: skip
  """A reply to each request; `text` (with the finish reason) and `returned` (by whom) are functions of it."""
  tokens = dict(zip(('prompt_tokens', 'completion_tokens'), usage))
  with run.ledger.open_writer(stage) as writer:
    for request in requests:
      name = key(request.slot, model, params, request.messages)
      said, finish_reason = text(request)
      reply = Reply(said, finish_reason, returned(request), tokens, '', seconds, time)
      writer.append(request, name, model, params, reply)


def make(
  path, points=1, *, params=None, student=lambda request: 'fake-1', grader=lambda request: 'fake-2-2026-11',
  grader_params=None, vote=None, say=lambda combination: 'Stones sing.', reply=None, **config,
):  # fmt: skip
  """A graded run in which every criterion of every text earns `points`, or what `vote(request)` says.

  Args:
    params: sent to the student.
    student, grader: the names that their endpoints give.
    say: what the student writes on a combination.
    reply: what it says to a request instead, and the finish reason.
    config: keys of configs/eval_paper.py.
  """
  settings = from_config(eval_paper.get_config().to_dict() | CONFIG | config)
  run = runs.start(path, settings, Student('openai:fake-1', 'fake-1', params or {}))
  asked = {combination.id: combination for combination in run.combinations}
  for stage in (0, 1):
    requests = waves.answer_requests(run)[stage]
    text = reply or (lambda request: (f'Answer: {say(asked[request.slot.combination])}', 'stop'))
    store(run, 'answers', requests, text, 'fake-1', params or {}, student)
  judge = Grader('fake-2', grader_params or {})
  given = vote or (lambda request: [points] * len(request.context['criteria']))
  table = lambda request: (rubric.format_table(request.context['criteria'], given(request)), 'stop')
  while requests := waves.vote_requests(run, judge, list(waves.texts(run)), 0.0, ()):
    store(run, 'votes', requests, table, judge.model, judge.params, grader)
  return path


def add_grader(path, model, vote, *, unreadable=lambda request: False, usage=(1, 1), seconds=0.0):
  """Lets another grader mark the run a day later.

  Args:
    vote: request -> its points.
    unreadable: request -> whether nobody can read its reply.
  """
  run, judge = runs.open_run(path), Grader(model, {})
  table = lambda request: rubric.format_table(request.context['criteria'], vote(request))
  text = lambda request: ('I would rather not.' if unreadable(request) else table(request), 'stop')
  skip = set()
  while requests := waves.vote_requests(run, judge, list(waves.texts(run)), 0.0, skip):
    store(run, 'votes', requests, text, model, {}, lambda _: model, usage, '2026-11-02T00:00:00.000000Z', seconds)
    skip |= {request.slot for request in requests}
  return path
