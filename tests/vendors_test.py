"""Keys go to their vendor, and prices are those of the tier that answered."""

import json
from types import SimpleNamespace

import pytest
from helpers import fake_openai
from helpers.collecting import online, requests
from helpers.fake_openai import Server

from evals import graders, students
from evals.grade import check_grader
from evals.replies import address, cost, parameters
from evals.replies.endpoints import Online, collect
from evals.replies.ledger import Ledger, Slot, key
from evals.replies.waves import Grader
from skillmix_jax.errors import InputError

pytestmark = pytest.mark.usefixtures('planted_keys')


# Where keys go


def place(model='claude-haiku-5-5', **options):
  return students.open_hosted(model, {}, students.Access(dry_run=True, **options))


def test_a_vendor_gets_its_own_key_and_no_other(monkeypatch):
  vendors = {'claude-haiku-5-5': 'ANTHROPIC', 'gemini-3.8-flash': 'GEMINI', 'mistral-medium-3.5': 'MISTRAL',
             'gpt-6-luna': 'OPENAI', 'gpt-unknown': 'OPENAI'}  # fmt: skip
  for model, vendor in vendors.items():
    assert place(model).address.key == fake_openai.KEYS[f'{vendor}_API_KEY']
  assert place('Qwen/Qwen3-32B').address.key == ''  # a server of one's own, which nobody pointed at
  monkeypatch.delenv('ANTHROPIC_API_KEY')
  assert place().address.key == ''
  with pytest.raises(InputError, match=r'ANTHROPIC_API_KEY is not set: export the key for https://api\.anthropic\.com'):
    students.open_hosted('claude-haiku-5-5', {}, students.Access())
  pointed = place(base_url='https://proxy.example/v1')
  assert pointed.address.key == fake_openai.KEY and pointed.prices == graders.price('claude-haiku-5-5')
  assert place(base_url='https://api.anthropic.com/v1').address.key == fake_openai.KEY  # the user said so
  assert fake_openai.KEY not in repr(pointed.address)


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
  (row,) = (json.loads(line) for path in tmp_path.glob('*.jsonl') for line in path.open())
  assert row['url'] == server.base_url
  azure = address.resolve('https://me.openai.azure.com/openai/deployments/m?api-version=2026-10-21')
  assert azure.headers == {'api-key': fake_openai.KEYS['AZURE_OPENAI_API_KEY']} and azure.is_openai


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
  run = SimpleNamespace(path=tmp_path, ledger=Ledger(tmp_path))
  check_grader(run, Grader('fake-1', {'reasoning_effort': 'low'}))
  with pytest.raises(InputError, match=r'asked with \{"reasoning_effort": "low"\}, not \{\}: give the same --grader'):
    check_grader(run, Grader('fake-1', {}))


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
