"""The commands of evals, from nothing to tables, against a server on loopback."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers.fake_openai import Server, draw

from evals.marking import rubric

CONFIG = [
  '--config=configs/eval_paper.py',
  '--config.settings=held_out',
  '--config.ks=1,2',
  '--config.num_combinations=3',
]


def run(module, *arguments, url='', code=0, **variables):
  """Runs a command and returns what it printed."""
  env = os.environ | {'OPENAI_BASE_URL': url, 'OPENAI_API_KEY': 'sk-planted-0123456789abcdef', **variables}
  command = [sys.executable, '-m', module, *arguments]
  done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
  assert done.returncode == code, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  assert 'planted' not in done.stdout + done.stderr
  return done.stdout if code == 0 else done.stderr.strip().splitlines()[-1]


def chance(*parts):
  """A number in [0, 1) that depends on the parts alone."""
  return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def criteria_of(prompt):
  items = re.search(r'The criteria are: (.*)\. The table should', prompt, re.DOTALL).group(1)
  topic = re.search(r'in the context of (.*)\. This single', prompt).group(1)
  skills, rest = items.split(f', Pertains to {topic}, ')
  skills = [
    'Correctly illustrates ' + name
    for name in skills.removeprefix('Correctly illustrates ').split(', Correctly illustrates ')
  ]
  sense, length = rest.split(', ', 1)
  return [*skills, f'Pertains to {topic}', sense, length]


def reply(body):
  """A student that writes, and a grader whose vote differs with every request of the same text."""
  prompt = body['messages'][-1]['content']
  if 'grading table' not in prompt:
    return f'Answer: The {chance(json.dumps(body)):.6f} river sang. Explanation: none.'
  criteria = criteria_of(prompt)
  reply.votes[prompt] = number = reply.votes.get(prompt, -1) + 1
  points = [int(chance(prompt, name, number) < 0.8) for name in criteria]
  return rubric.format_table(criteria, points)


reply.votes = {}  # gradings of each prompt so far


@pytest.fixture
def server():
  reply.votes = {}
  with Server(reply=reply, served='fake-1-2026-11-01') as server:
    yield server


def ledger(path):
  return [json.loads(line) for file in sorted((path / 'replies').glob('*.jsonl')) for line in file.open()]


def test_from_nothing_to_tables_and_training_dialogs(server, tmp_path):
  path = tmp_path / 'run'
  where = {'url': server.base_url}
  planned = run('evals.sample', *CONFIG, f'--run={path}', '--student=openai:fake-1', '--dry_run', **where)
  assert '36 requests' in planned and not path.exists()
  named = [*CONFIG, f'--run={path}', '--student=openai:gpt-6-luna', '--dry_run']
  assert '36 requests' in (planned := run('evals.sample', *named, OPENAI_API_KEY='')) and '$' in planned
  assert '18 of 18 texts' in run('evals.sample', *CONFIG, f'--run={path}', '--student=openai:fake-1', **where)
  planned = run('evals.grade', f'--run={path}', '--grader=openai:fake-1', '--dry_run', **where)
  assert '54 requests' in planned
  out = run('evals.grade', f'--run={path}', '--grader=openai:fake-1', '--decoys=0.5', **where)
  assert '54 votes' in out and '18 of 18 texts' in out

  rows = ledger(path)
  votes = [row for row in rows if row['slot']['step'] == 'vote']
  assert len(votes) == 54 and len({row['key'] for row in rows}) == len(rows) == server.num_paid
  by_text = {}
  for row in votes:
    by_text.setdefault((row['slot']['combination'], row['slot']['generation']), []).append(row['reply'])
  assert sum(len(set(replies)) > 1 for replies in by_text.values()) > 9, 'votes were shared'

  page = tmp_path / 'report.html'
  out = run('evals.report', f'--runs={path}', f'--out={page}', f'--figure={tmp_path}/fig2.svg')
  assert '>Held-out skills and topics</text>' in (tmp_path / 'fig2.svg').read_text()
  found = json.loads((path / 'metrics.json').read_text())
  assert [(cell['setting'], cell['k'], cell['n']) for cell in found['cells']] == [
    ('held_out', 1, 3),
    ('held_out', 2, 3),
  ]
  assert found['grader'] == 'fake-1-2026-11-01' and found['grader'] in out and 'decoys' in out
  assert found['cells'][0]['ratio_of_full_marks'] == found['cells'][0]['skills_fraction']
  assert page.stat().st_size > 10_000

  dialogs = tmp_path / 'dialogs.jsonl'
  assert '--settings=' in run('evals.select', f'--run={path}', f'--out={dialogs}', code=2) and not dialogs.exists()
  run('evals.select', f'--run={path}', '--settings=held_out', f'--out={dialogs}')
  selected = [json.loads(line) for line in dialogs.open()]
  grades = [json.loads(line) for line in (path / 'grades.jsonl').open()]
  assert len(selected) == sum(grade['full_marks'] == 1 for grade in grades) > 0
  for dialog in selected:
    assert [message['role'] for message in dialog['messages']] == ['user', 'assistant'] * 2
    assert len(dialog['meta']['skills']) == dialog['meta']['k']

  paid = server.num_paid
  for name in ('grades.jsonl', 'metrics.json'):
    (path / name).unlink()
  for module, *flags in (
    ('evals.sample', *CONFIG, '--student=openai:fake-1'),
    ('evals.grade', '--grader=openai:fake-1', '--decoys=0.5'),
  ):
    run(module, f'--run={path}', *flags, **where)
  run('evals.report', f'--runs={path}')
  assert server.num_paid == paid, 'something was paid for twice'
  assert json.loads((path / 'metrics.json').read_text()) == found

  written = [page, dialogs, *(file for file in path.rglob('*') if file.is_file())]
  assert len(written) > 8 and not any(b'planted' in file.read_bytes() for file in written), 'a key was written'

  # the halves of the ledger come together in any order
  lines = [line for file in (path / 'replies').glob('*.jsonl') for line in file.read_text().splitlines(keepends=True)]
  merged = tmp_path / 'merged'
  shutil.copytree(path, merged, ignore=shutil.ignore_patterns('replies'))
  (merged / 'replies').mkdir()
  (merged / 'replies/b.jsonl').write_text(''.join(lines[::2]))
  (merged / 'replies/a.jsonl').write_text(''.join(reversed(lines)))
  run('evals.report', f'--runs={merged}')
  assert json.loads((merged / 'metrics.json').read_text()) == found

  # a longer run extends a shorter one
  longer = [*CONFIG[:-1], '--config.num_combinations=4']
  run('evals.sample', *longer, f'--run={path}', '--student=openai:fake-1', **where)
  assert server.num_paid == paid + 2 * 2 * 3

  # the same student again is no different from itself
  out = run('evals.compare', f'--runs={path},{merged}')
  assert 'undecided' in out and '+0.00' in out

  # first answers: their votes are new, and the improved ones keep theirs
  first = ['evals.grade', f'--run={merged}', '--grader=openai:fake-1', '--answer=1']
  assert '--decoys' in run(*first, '--decoys=0.5', code=2, **where)
  assert '54 requests' in run(*first, '--dry_run', **where)
  assert '54 votes' in (out := run(*first, **where)) and '18 of 18 first answers' in out
  assert 'first answers against improved ones' in run('evals.report', f'--runs={merged}')
  assert json.loads((merged / 'metrics.json').read_text())['cells'] == found['cells']


def test_a_server_that_fails_in_every_way_costs_time_but_no_text(tmp_path):
  reply.votes = {}
  faults = draw({'429': 0.05, '429-after': 0.02, '500': 0.05, 'cut': 0.05, 'html': 0.015, 'null': 0.015, 'empty': 0.01})
  path = tmp_path / 'run'
  with Server(reply=reply, faults=faults, latency=0.05) as server:
    for command in (
      ['evals.sample', *CONFIG, f'--run={path}', '--student=openai:fake-1'],
      ['evals.grade', f'--run={path}', '--grader=openai:fake-1'],
    ):
      run(*command, url=server.base_url)
    assert server.num_requests > server.num_paid > 0
  run('evals.report', f'--runs={path}')
  cells = json.loads((path / 'metrics.json').read_text())['cells']
  assert [(cell['n'], cell['missing']) for cell in cells] == [(3, 0), (3, 0)]
  assert len(ledger(path)) == 18 * 5


def test_adaptive_votes_give_the_same_marks_for_less(server, tmp_path):
  config = [*CONFIG, '--config.num_combinations=8', '--config.generations=1']
  found = {}
  for mode in ('all', 'adaptive'):
    path = tmp_path / mode
    reply.votes = {}
    run(
      'evals.sample',
      *config,
      f'--config.votes_mode={mode}',
      f'--run={path}',
      '--student=openai:fake-1',
      url=server.base_url,
    )
    run('evals.grade', f'--run={path}', '--grader=openai:fake-1', '--concurrency=1', url=server.base_url)
    run('evals.report', f'--runs={path}')
    found[mode] = [json.loads(line) for line in (path / 'grades.jsonl').open()]
  num_votes = {mode: sum(len(row['votes']) for row in rows) for mode, rows in found.items()}
  assert num_votes['all'] == 48 and 32 <= num_votes['adaptive'] < 48
  # where the first two votes agreed there is no third one, and it would not have mattered; the length is our counter's
  short = [row for row in found['adaptive'] if len(row['votes']) == 2]
  assert short and all(row['votes'][0][:-1] == row['votes'][1][:-1] and row['points'] for row in short)


def test_unreadable_votes_are_asked_again_then_missing(tmp_path):
  def broken(body):
    prompt = body['messages'][-1]['content']
    if 'grading table' not in prompt:
      return reply(body)
    broken.count += 1
    topic_digit = chance(prompt) < 0.5
    return 'I would rather not.' if topic_digit or broken.count % 2 else reply(body)

  reply.votes, broken.count = {}, 0
  path = tmp_path / 'run'
  config = [*CONFIG, '--config.generations=1', '--config.num_combinations=4']
  with Server(reply=broken) as server:
    run('evals.sample', *config, f'--run={path}', '--student=openai:fake-1', url=server.base_url)
    grade = ['evals.grade', f'--run={path}', '--grader=openai:fake-1']
    run(*grade, '--concurrency=1', url=server.base_url, code=1)  # most votes are missing
    paid = server.num_paid
    run(*grade, url=server.base_url, code=1)
    assert server.num_paid == paid, 'a vote that is missing is settled'
  out = run('evals.report', f'--runs={path}')
  found = json.loads((path / 'metrics.json').read_text())
  grades = [json.loads(line) for line in (path / 'grades.jsonl').open()]
  bad = [row for row in grades if None in row['votes']]
  assert bad and all('no grading table' in row['reasons'][row['votes'].index(None)] for row in bad)
  assert sum(cell['missing'] for cell in found['cells']) == sum(row['votes'].count(None) for row in grades)
  assert sum(cell['n'] for cell in found['cells']) == sum(row['points'] is not None for row in grades) < 8
  assert 'missing' in out


BAD = [
  (['evals.sample', '--config.ks=60', '--config.num_combinations=2', '--student=openai:m'], 'k=60'),
  (['evals.sample', '--config.settings=heldout', '--student=openai:m'], 'heldout'),
  (['evals.sample', '--config.exclude_skills=metafor', '--student=openai:m'], 'metaphor'),
  (['evals.sample', '--config.catalog=/nowhere', '--student=openai:m'], '/nowhere'),
  (['evals.sample', '--config.combinations=/nowhere', '--student=openai:m'], '/nowhere'),
  (['evals.sample', '--student=checkpoint:/nowhere'], '/nowhere'),
  (['evals.sample'], '--student=checkpoint:runs/'),
  (['evals.sample', '--student=gpt'], 'openai:MODEL'),
  (['evals.sample', '--config.paper_row=D(9)', '--student=openai:m'], 'D(9)'),
  (['evals.sample', '--config.votes=0', '--student=openai:m'], 'votes=0'),
  (['evals.sample', '--config.split=tables', '--student=openai:m'], 'split'),
  (['evals.sample', '--config.student.temperature=-1', '--student=openai:m'], 'temperature'),
]


@pytest.mark.parametrize(('command', 'words'), BAD, ids=[' '.join(command[1:]) for command, _ in BAD])
def test_bad_input_is_one_line_and_makes_nothing(command, words, server, tmp_path):
  module, *flags = command
  flags = ['--config=configs/eval_paper.py', *flags, f'--run={tmp_path / "run"}']
  assert words in run(module, *flags, url=server.base_url, code=2)
  assert server.num_requests == 0
  assert not (tmp_path / 'run/config.json').exists()


def test_a_run_folder_that_is_wrong_is_one_line(server, tmp_path):
  path, where = tmp_path / 'run', {'url': server.base_url}
  sample = ['evals.sample', *CONFIG, '--config.generations=1', f'--run={path}']
  run(*sample, '--student=openai:fake-1', **where)
  assert 'seed' in run(*sample, '--student=openai:fake-1', '--config.seed=1', code=2, **where)
  assert 'another --run' in run(*sample, '--student=openai:fake-2', code=2, **where)
  message = run('evals.grade', f'--run={path}', code=2, **where)
  assert '--grader is missing' in message and '$' in message and 'exact' in message
  assert 'minimix' in run('evals.grade', f'--run={path}', '--grader=exact', code=2, **where)
  assert 'no votes yet' in run(
    'evals.select', f'--run={path}', '--settings=held_out', f'--out={tmp_path / "d"}', code=2
  )
  run('evals.grade', f'--run={path}', '--grader=openai:fake-1', **where)
  out = run('evals.grade', f'--run={path}', '--grader=openai:fake-2', '--dry_run', **where)
  assert 'those of fake-2 are kept apart' in out and '18 requests' in out
  assert f'--out={tmp_path}/report.html' in run('evals.report', f'--runs={path}', f'--out={tmp_path}', code=2)
  assert 'config.json' in run('evals.grade', f'--run={tmp_path}', '--grader=openai:fake-1', code=2, **where)

  file = next((path / 'replies').glob('votes-*'))
  lines = file.read_text().splitlines()
  lines[1] = lines[1].replace('"slot"', '"slut"')
  file.write_text('\n'.join(lines) + '\n')
  assert f'{file}:2' in run('evals.report', f'--runs={path}', code=2)


@pytest.mark.parametrize(
  ('url', 'variables', 'words'),
  [
    ('', {'OPENAI_API_KEY': ''}, 'OPENAI_API_KEY'),
    ('http://127.0.0.1:9/v1', {}, '127.0.0.1:9'),
  ],
)
def test_no_key_and_no_server_are_one_line(url, variables, words, tmp_path):
  flags = [*CONFIG, f'--run={tmp_path / "run"}', '--student=openai:m']
  assert words in run('evals.sample', *flags, url=url, code=2, **variables)


def test_a_retired_name_is_refused_where_its_vendor_would_be_asked(tmp_path):
  flags = [*CONFIG, f'--run={tmp_path / "run"}', '--student=openai:gpt-4']
  assert 'gpt-4 was retired on 2026-10-23' in run('evals.sample', *flags, code=2)


def test_an_unknown_model_is_one_line_with_the_servers_words(tmp_path):
  with Server(models=['fake-1']) as server:
    message = run(
      'evals.sample', *CONFIG, f'--run={tmp_path / "r"}', '--student=openai:fake-3', url=server.base_url, code=2
    )
  assert 'fake-3' in message


def test_two_processes_on_one_run_refuse_each_other(server, tmp_path):
  from skillmix_jax.lock import hold

  with hold(tmp_path / 'run'):
    message = run(
      'evals.sample', *CONFIG, f'--run={tmp_path / "run"}', '--student=openai:fake-1', url=server.base_url, code=2
    )
  assert 'in use' in message and server.num_requests == 0
