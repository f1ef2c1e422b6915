"""No dollar is spent unseen: what is paid for is kept, what is too dear or of no use ends, keys go to their vendor."""

import asyncio
import itertools
import json
import time

import pytest
from helpers import fake_openai
from helpers.collecting import online, requests
from helpers.fake_openai import Server, text_of

from evals import graders, students
from evals.grade import check_same_grader
from evals.marking import rubric
from evals.replies import address, cost, parameters
from evals.replies.asking import ask
from evals.replies.budget import Halt
from evals.replies.canary import Canary
from evals.replies.endpoints import Online, Stopped, collect
from evals.replies.ledger import Ledger, Request, Slot, key
from evals.replies.pace import Pace, wait_asked
from evals.replies.progress import Wave
from evals.replies.retries import MOST_LATE
from evals.replies.waves import Grader
from skillmix_jax.errors import InputError

KEY = 'sk-planted-0123456789abcdefghijklmnop'
PRICES = (1.0, 1000.0)  # dollars for a million tokens: a reply costs about 16 cents
VARIABLES = ('OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'MISTRAL_API_KEY', 'AZURE_OPENAI_API_KEY')


@pytest.fixture(autouse=True)
def planted_keys(monkeypatch):
  monkeypatch.delenv('OPENAI_BASE_URL', raising=False)
  for name in VARIABLES:
    monkeypatch.setenv(name, f'{KEY}-{name}')


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


# How fast


class Limited(Server):
  """Lets one request through in each `every` seconds, and asks the others to come back sooner than that."""

  def __init__(self, every, **options):
    super().__init__(**options)
    self._every, self._free = every, 0.0

  async def _answer(self, number, body, headers, writer):
    is_free = time.monotonic() >= self._free
    if is_free:
      self._free = time.monotonic() + self._every
    self._fault = lambda number, body: None if is_free else '429'
    return await super()._answer(number, body, headers, writer)


def test_after_a_429_all_workers_wait_together(tmp_path):
  with Limited(every=0.2) as server:
    assert collect(Ledger(tmp_path), 'x', requests(9), online(server, concurrency=9)) == []
    assert server.num_paid == 9 and server.num_requests < 25  # 8 that were on their way; then one after the other


def test_a_minute_has_as_many_requests_and_tokens_as_one_says(tmp_path):
  async def times(pace, count):
    async def enter():
      await pace.enter(400)
      pace.leave()
      return time.monotonic()

    found = await asyncio.gather(*(enter() for _ in range(count)))
    return [b - a for a, b in itertools.pairwise(found)]

  async def both():
    pace = Pace(8, rpm=1200)
    gaps = await times(pace, 5)
    assert min(gaps) > 0.045
    pace = Pace(8, tpm=600_000)
    for _ in range(3):
      pace.replied(1000)  # a thousand tokens each: 600 requests a minute
    assert min(await times(pace, 4)) > 0.09

  asyncio.run(both())


def test_what_a_server_asks_to_wait_is_read():
  assert wait_asked({'retry-after': '7'}) == 7 and wait_asked({'retry-after-ms': '250'}) == 0.25
  assert wait_asked({'retry-after': 'Fri, 01 Jan 2100 00:00:00 GMT'}) > 1e9 and wait_asked({}) is None
  assert wait_asked({'retry-after': 'soon'}) is None


def test_who_asks_to_wait_for_an_hour_is_not_asked_again(tmp_path, monkeypatch):
  monkeypatch.setitem(fake_openai.ERRORS, '429-after', (429, 'x', 'slow down', 'Retry-After: 3600\r\n'))
  with Server(faults=['429-after']) as server:
    with pytest.raises(Stopped, match=r'asks to wait for 3,600 s'):
      collect(Ledger(tmp_path), 'x', requests(5), online(server))
    assert server.num_requests == 1


def test_a_request_that_is_too_slow_is_asked_few_times(tmp_path):
  with Server(faults=lambda number, body: 'hang') as server:
    ((_, reason),) = collect(Ledger(tmp_path), 'x', requests(1), online(server, timeout=0.1))
    assert server.num_requests == MOST_LATE == 3
  assert 'no answer, 3 times, the last within 0.4 s' in reason and '--timeout' in reason


def test_a_server_that_is_late_with_all_is_asked_for_fewer_at_a_time():
  async def limits():
    pace = Pace(8)
    for _ in range(2):
      entered = await pace.enter(1)
      pace.late(entered)
      pace.leave()
    yielded = [await pace.enter(1) for _ in range(4)]
    with pytest.raises(TimeoutError):
      await asyncio.wait_for(pace.enter(1), 0.05)
    return yielded

  assert len(asyncio.run(limits())) == 4


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


# Where keys go


def place(model='claude-haiku-5-5', **options):
  return students.open_hosted(model, {}, students.Access(dry_run=True, **options))


def test_a_vendor_gets_its_own_key_and_no_other(monkeypatch):
  vendors = {'claude-haiku-5-5': 'ANTHROPIC', 'gemini-3.8-flash': 'GEMINI', 'mistral-medium-3.5': 'MISTRAL',
             'gpt-6-luna': 'OPENAI', 'gpt-unknown': 'OPENAI'}  # fmt: skip
  for model, vendor in vendors.items():
    assert place(model).address.key == f'{KEY}-{vendor}_API_KEY'
  assert place('Qwen/Qwen3-32B').address.key == ''  # a server of one's own, which nobody pointed at
  monkeypatch.delenv('ANTHROPIC_API_KEY')
  assert place().address.key == ''
  with pytest.raises(InputError, match=r'ANTHROPIC_API_KEY is not set: export the key for https://api\.anthropic\.com'):
    students.open_hosted('claude-haiku-5-5', {}, students.Access())
  pointed = place(base_url='https://proxy.example/v1')
  assert pointed.address.key == f'{KEY}-OPENAI_API_KEY' and pointed.prices == graders.price('claude-haiku-5-5')
  assert place(base_url='https://api.anthropic.com/v1').address.key == f'{KEY}-OPENAI_API_KEY'  # the user said so
  assert f'{KEY}' not in repr(pointed.address)


def test_plain_http_goes_to_this_machine_only(monkeypatch):
  for url in ('http://localhost:8000/v1', 'http://127.0.0.7:1', 'http://[::1]:80/v1', 'https://gpu7/v1'):
    address.resolve(url)
  monkeypatch.setenv('OPENAI_BASE_URL', 'http://gpu7:8000/v1')
  with pytest.raises(InputError, match=r'http://gpu7:8000/v1 is another machine without https.*--allow_http'):
    address.resolve(None)
  assert address.resolve(None, allow_http=True).shown == 'http://gpu7:8000/v1'


def test_azure_keeps_its_version_and_its_header(tmp_path):
  with Server() as server:
    collect(Ledger(tmp_path), 'x', requests(1), Online('m', base_url=server.base_url + '?api-version=2026-10-21'))
  assert server.targets[-1] == '/v1/chat/completions?api-version=2026-10-21'
  (row,) = rows_in(tmp_path)
  assert row['url'] == server.base_url
  azure = address.resolve('https://me.openai.azure.com/openai/deployments/m?api-version=2026-10-21')
  assert azure.headers == {'api-key': f'{KEY}-AZURE_OPENAI_API_KEY'} and azure.is_openai


def test_a_retired_name_works_behind_ones_own_server():
  with pytest.raises(InputError, match='gpt-4 was retired on 2026-10-23'):
    place('gpt-4')
  with pytest.raises(InputError, match='claude-3-opus was retired'):
    place('claude-3-opus', base_url='https://api.anthropic.com/v1/')
  assert place('gpt-4', base_url='http://localhost:8000/v1').model == 'gpt-4'


# At which price


def test_parameters_enter_the_key_where_they_change_the_reply():
  text = 'reasoning_effort=low,max_tokens=2000,temperature=0.0,service_tier=flex'
  params = parameters.parse(text, 'grader_params')
  endpoint = students.open_hosted('gpt-6-luna', params, students.Access(dry_run=True))
  assert endpoint.params == {'reasoning_effort': 'low', 'max_tokens': 2000, 'temperature': 0}
  assert endpoint.prices == (0.05, 0.25)
  assert endpoint.sent_params() == {
    'reasoning_effort': 'low', 'max_completion_tokens': 2000, 'temperature': 0, 'service_tier': 'flex'
  }  # fmt: skip
  plain = students.open_hosted('gpt-6-luna', {'service_tier': 'flex'}, students.Access(dry_run=True))
  assert plain.params == {}
  slot, messages = Slot('held_out-k1-0000', 1, 'vote', 1), [{'role': 'user', 'content': 'Greetings!'}]
  assert key(slot, 'fake-1', plain.params, messages) == '6161deafeb4072188bd5'
  assert parameters.parse('{"seed": 1.0, "stop": ["a", "b"]}', 'x') == {'seed': 1, 'stop': ['a', 'b']}
  assert parameters.parse('', 'x') == {}


def test_votes_that_were_asked_for_otherwise_are_not_mixed(tmp_path):
  with Server() as server:
    endpoint = online(server, params={'reasoning_effort': 'low'})
    collect(Ledger(tmp_path), 'votes', requests(1), endpoint)
  run = FakeRun(tmp_path)
  check_same_grader(run, Grader('fake-1', {'reasoning_effort': 'low'}))
  with pytest.raises(InputError, match=r'asked with \{"reasoning_effort": "low"\}, not \{\}: give the same --grader'):
    check_same_grader(run, Grader('fake-1', {}))


@pytest.mark.parametrize('text', ['FOO', 'a=', '=1', '{', '[1]', 'n=3', 'stream=true', '{"model": "x"}', 'top_p=NaN'])
def test_parameters_that_make_no_sense_are_one_line(text):
  with pytest.raises(InputError, match='--grader_params='):
    parameters.parse(text, 'grader_params')


def test_what_was_paid_follows_the_tier_that_answered(tmp_path):
  class Tiers(Server):
    def _completion(self, body):
      served = body.get('service_tier') if len(body['messages'][-1]['content']) > 5 else 'default'
      return super()._completion(body) | {'service_tier': served}

  with Tiers() as server:
    endpoint = Online('gpt-6-luna', {'service_tier': 'flex'}, server.base_url)
    collect(Ledger(tmp_path), 'x', [*requests(1, 'long text'), *requests(2, 'short')[1:]], endpoint)
  found = {row.reply.tier: cost.of_row(row) / cost_at(row, 0.10, 0.50) for row in Ledger(tmp_path).rows()}
  assert found == pytest.approx({'flex': 0.5, '': 1.0})


def cost_at(row, dollars_in, dollars_out):
  usage = row.reply.usage
  return (usage['prompt_tokens'] * dollars_in + usage['completion_tokens'] * dollars_out) / 1e6


def test_what_is_free_at_home_has_no_price_elsewhere():
  assert graders.price('Qwen/Qwen3-32B', url='http://localhost:8000/v1') == (0.0, 0.0)
  assert graders.price('Qwen/Qwen3-32B', url='https://openrouter.ai/api/v1') is None
  assert graders.price('gpt-6-luna', 'priority') is None and graders.price('gpt-6-luna', 'batch') == (0.05, 0.25)
