"""No dollar is spent unseen: what is paid for is kept, what is too dear or of no use ends."""

import json

import pytest
from helpers.collecting import online, requests
from helpers.fake_openai import Server, text_of

from evals.marking import rubric
from evals.replies.asking import ask
from evals.replies.budget import Halt
from evals.replies.canary import Canary
from evals.replies.endpoints import Online, collect
from evals.replies.ledger import Ledger, Request, Slot, key
from evals.replies.progress import Wave
from skillmix_jax.errors import InputError

PRICES = (1.0, 1000.0)  # dollars for a million tokens: a reply costs about 16 cents

pytestmark = pytest.mark.usefixtures('planted_keys')


def rows_in(folder):
  return [json.loads(line) for path in sorted(folder.glob('*.jsonl')) for line in path.open()]


# What was paid for is kept


def test_content_in_parts_is_read_and_kept_whole(tmp_path):
  with Server(faults=['parts']) as server:
    assert collect(Ledger(tmp_path), 'x', requests(1), online(server)) == []
  (row,) = rows_in(tmp_path)
  assert row['reply'] == text_of(server.requests[0]) and '"thinking"' in row['raw'] and row['url'] == server.base_url
  assert Ledger(tmp_path).get(row['key']).reply.text == row['reply']


def test_a_refusal_is_a_reply(tmp_path):
  with Server(faults=['refusal']) as server:
    assert collect(Ledger(tmp_path), 'x', requests(1), online(server)) == []
  (row,) = rows_in(tmp_path)
  assert (row['reply'], row['finish_reason']) == ('', 'refusal') and 'I cannot help with that.' in row['raw']


def test_a_reply_of_an_unknown_shape_is_paid_for_once_and_kept(tmp_path):
  with Server(faults=['odd']) as server:
    ((request, reason),) = collect(Ledger(tmp_path), 'x', requests(1), online(server))
    assert (server.num_requests, len(Ledger(tmp_path))) == (1, 0)
    (kept,) = rows_in(tmp_path / 'unread')
    assert text_of(server.requests[0]) in json.loads(kept['body'])['output'][0]['message']['content']
    assert kept['key'] == key(request.slot, 'fake-1', {}, request.messages) and 'replies/unread/' in reason
    assert collect(Ledger(tmp_path), 'x', requests(1), online(server)) == []  # what was kept is nobody's reply
    assert len(Ledger(tmp_path)) == 1


@pytest.mark.parametrize('fault', ['deep', 'infinite'])
def test_no_json_ends_a_wave(tmp_path, fault, monkeypatch):
  monkeypatch.setattr('evals.replies.sending.USELESS_PAUSE', 0.01)
  with Server(faults=[fault]) as server:
    assert collect(Ledger(tmp_path), 'x', requests(2), online(server)) == []
  rows = rows_in(tmp_path)
  assert len(rows) == len(Ledger(tmp_path)) == 2
  if fault == 'infinite':
    assert rows[0]['usage'] == {'prompt_tokens': 0, 'completion_tokens': 7, 'more': {'b': 3}}


def test_a_ledger_with_infinite_or_deep_counts_is_named(tmp_path):
  with Server() as server:
    collect(Ledger(tmp_path), 'x', requests(1), online(server))
  (path,) = tmp_path.glob('*.jsonl')
  text = path.read_text()
  for wrong in ('Infinity', '[' * 100_000 + ']' * 100_000):
    path.write_text(text.replace('"completion_tokens":161', f'"completion_tokens":{wrong}'))
    with pytest.raises(InputError, match=r'\.jsonl:1: not a row'):
      Ledger(tmp_path)


def test_all_counts_are_kept_and_thoughts_are_paid_for(tmp_path):
  class Thinks(Server):
    def _completion(self, body):
      details = {'completion_tokens_details': {'reasoning_tokens': 100}, 'prompt_tokens_details': {'cached_tokens': 8}}
      usage = {'prompt_tokens': 10, 'completion_tokens': 5, 'total_tokens': 115}  # thoughts in the total alone
      return super()._completion(body) | {'usage': usage | details}

  with Thinks() as server:
    collect(Ledger(tmp_path), 'x', requests(1), online(server))
  (row,) = rows_in(tmp_path)
  assert row['usage']['completion_tokens_details'] == {'reasoning_tokens': 100}
  assert row['usage']['prompt_tokens_details'] == {'cached_tokens': 8}
  assert next(Ledger(tmp_path).rows()).reply.usage == {'prompt_tokens': 10, 'completion_tokens': 105}


@pytest.mark.parametrize('fault', ['moderated', 'flagged'])
def test_a_filtered_prompt_is_a_reply_and_no_end(tmp_path, fault):
  with Server(faults=lambda number, body: fault) as server:
    assert collect(Ledger(tmp_path), 'x', requests(3), online(server)) == []
    assert collect(Ledger(tmp_path), 'x', requests(3), online(server)) == []
    assert server.num_requests == 3
  for row in rows_in(tmp_path):
    assert (row['reply'], row['finish_reason'], row['model_returned']) == ('', 'content_filter', '')
    assert 'policy' in row['raw'] or 'flagged' in row['raw']


# How much


def test_the_limit_in_dollars_is_not_crossed_and_what_is_in_flight_is_kept(tmp_path):
  for start in range(2):  # the second start knows what the first has spent
    with Server(latency=0.02) as server:
      endpoint, ledger = online(server, prices=PRICES, max_dollars=2.0, concurrency=8), Ledger(tmp_path)
      endpoint.budget.spent = sum(cost_of(row) for row in ledger.rows())
      with pytest.raises(Halt, match=r'--max_dollars=2: \$1\.\d\d are spent'):
        collect(ledger, 'x', requests(60), endpoint)
      spent = sum(cost_of(row) for row in Ledger(tmp_path).rows())
      assert 1.5 < spent <= 2.0 and server.num_paid == (0 if start else len(Ledger(tmp_path)))


def cost_of(row):
  return (row.reply.usage['prompt_tokens'] * PRICES[0] + row.reply.usage['completion_tokens'] * PRICES[1]) / 1e6


def test_a_reply_that_was_not_waited_for_counts_as_paid(tmp_path):
  with Server(faults=lambda number, body: 'hang' if number else None) as server:
    endpoint = online(server, prices=PRICES, max_dollars=0.6, timeout=0.1)
    with pytest.raises(Halt):
      collect(Ledger(tmp_path), 'x', requests(4), endpoint)
    assert server.num_requests < 5 and endpoint.budget.spent <= 0.6


def test_a_limit_without_a_price_is_refused():
  with pytest.raises(InputError, match=r'--max_dollars=3 needs a price.*evals/graders\.py'):
    Online('my-own', base_url='http://localhost:1/v1', max_dollars=3)
  with pytest.raises(InputError, match='max_dollars=0 must be a number above 0'):
    Online('my-own', base_url='http://localhost:1/v1', max_dollars=0)


def test_the_sum_on_screen_follows_what_replies_really_cost(capsys):
  with Wave('votes', 1000, (0.0, 10.0)) as wave:
    for _ in range(25):
      wave.advance({'prompt_tokens': 600, 'completion_tokens': 1500})
  assert '$0.38 of about $15.00' in capsys.readouterr().err


# Of what use


CRITERIA = ['Correctly illustrates metaphor', 'Pertains to Sewing', 'Text makes sense', 'At most one sentence']


def votes(count):
  messages = ({'role': 'user', 'content': 'grade'},)
  return [Request(Slot(f'c{i}', 1, 'vote', 1), messages, {'criteria': CRITERIA}) for i in range(count)]


class FakeRun:
  def __init__(self, path):
    self.path, self.ledger = path, Ledger(path)


def test_a_grader_that_nobody_can_read_is_not_asked_on(tmp_path, capsys):
  column = rubric.format_table(CRITERIA, [1] * 4).replace(' |\n', ' | because |\n')
  with Server(reply=lambda body: column) as server:
    with pytest.raises(Halt) as halt:
      ask(FakeRun(tmp_path), 'votes', 'votes', votes(540), online(server, concurrency=8), Canary(0.2, tmp_path))
    assert 50 <= server.num_paid == len(Ledger(tmp_path)) <= 58
  said = str(halt.value)
  assert '50 of the last 50 replies are of no use (50 unreadable)' in said and said.count('/vote1: unreadable (') == 3
  assert '--config.grading_prompt' in said and '--canary=1' in said and str(tmp_path) in said


def test_a_canary_counts_what_is_of_no_use_and_nothing_else(tmp_path):
  from evals.replies.canary import judge
  from evals.replies.ledger import Reply

  reply = lambda text, finish='stop': Reply(text, finish, 'm', {}, '', 0.0, '')
  answer, (vote,) = Request(Slot('c', 1, 'answer1'), ()), votes(1)
  good = rubric.format_table(CRITERIA, [1, 0, 1, 1], 'long')
  kinds = [judge(answer, reply('x'))[0], judge(answer, reply('x', 'length'))[0], judge(answer, reply(' '))[0],
           judge(answer, reply('', 'content_filter'))[0], judge(vote, reply(good, 'length'))[0],
           judge(vote, reply('no', 'length'))[0], judge(vote, reply('no'))[0], judge(vote, reply(''))[0]]  # fmt: skip
  assert kinds == ['', 'cut', 'empty', 'refused', '', 'cut', 'unreadable', 'empty']
  canary = Canary(0.2, tmp_path)
  for i in range(60):
    canary.look(answer, reply('x' if i % 5 else ''))  # a fifth is not more than a fifth
  canary.check()
  canary.look(answer, reply(''))
  with pytest.raises(Halt, match=r'13 of the last 61 replies'):
    canary.check()
