"""No reply is lost, none is paid twice, and a file that was edited into nonsense is named."""

import errno
import itertools
import json
import os
from pathlib import Path

import pytest
from helpers.collecting import kill_and_finish, requests
from helpers.fake_openai import start_process

from evals.replies import appended_file, stored_line
from evals.replies.endpoints import Exact, collect
from evals.replies.ledger import Ledger, Reply, Request, Slot, key
from skillmix_jax.errors import InputError

SLOT = Slot('all-k2-0001', 1, 'vote', vote=2)
MESSAGES = ({'role': 'user', 'content': 'Grade “this”'},)


def reply(text: str = 'good', time: str = '2026-11-21T00:00:00.000000Z', name: str = 'c1') -> Reply:
  return Reply(text, 'stop', 'fake-1', {'prompt_tokens': 5, 'completion_tokens': 2}, name, 1.5, time)


def append(folder: Path, *rows: tuple[Slot, Reply]):
  with Ledger(folder).open_writer('grade') as writer:
    for slot, answer in rows:
      writer.append(Request(slot, MESSAGES), key(slot, 'm', {}, MESSAGES), 'm', {}, answer)


def contents(folder: Path) -> dict[str, Reply]:
  return {row.key: row.reply for row in Ledger(folder).rows()}


def test_what_was_appended_is_read_back(tmp_path):
  text = 'Here\u2019s\u2028the "table"\\ {"key":"x"}\n| a | 1 |\n\U0001f600'
  ledger = Ledger(tmp_path / 'replies')
  assert len(ledger) == 0
  with ledger.open_writer('grade') as writer:
    writer.append(Request(SLOT, MESSAGES), 'k1', 'm', {'top_p': 0.5}, reply(text))
    again = Ledger(tmp_path / 'replies')  # before it is closed
  for row in (ledger.get('k1'), again.get('k1')):
    assert (row.key, row.slot, row.model, row.params, row.reply) == ('k1', SLOT, 'm', {'top_p': 0.5}, reply(text))
  (path,) = (tmp_path / 'replies').iterdir()
  assert path.name.startswith('grade-') and path.suffix == '.jsonl'
  (line,) = path.read_text(encoding='utf-8').split('\n')[:-1]
  assert set(json.loads(line)) == {
    'key', 'slot', 'model', 'model_returned', 'params', 'prompt', 'reply', 'finish_reason', 'usage', 'id', 'time',
    'seconds',
  }  # fmt: skip
  assert json.loads(line)['prompt'] == 'Grade “this”'


def test_rows_that_other_programs_wrote_are_read_as_the_standard_library_reads_them(tmp_path):
  append(tmp_path, (SLOT, reply()))
  (path,) = tmp_path.glob('*.jsonl')
  (kept,) = contents(tmp_path).values()
  row = json.loads(path.read_text())
  for prompt in ('\ud800 half a pair', 'x' * 10_000, '\x00\u2028é'):
    path.write_text(json.dumps(row | {'prompt': prompt, 'unknown': {'deep': [[1, None, 1e300, 2**80]]}}, indent=None))
    assert list(contents(tmp_path).values()) == [kept]


def test_no_file_is_made_where_nothing_is_asked(tmp_path):
  with Ledger(tmp_path / 'replies').open_writer('grade'):
    pass
  assert not (tmp_path / 'replies').exists()


def test_a_key_tells_apart_whatever_can_differ():
  slots = [Slot('a', 1, 'vote', 1), Slot('b', 1, 'vote', 1), Slot('a', 2, 'vote', 1), Slot('a', 1, 'decoy', 1)]
  slots += [Slot('a', 1, 'vote', 2), Slot('a', 1, 'vote', 1, attempt=1), Slot('a', 11, 'vote')]
  other = ({'role': 'user', 'content': 'hi'},)
  keys = [key(slot, 'm', {}, MESSAGES) for slot in slots]
  keys += [key(SLOT, 'n', {}, MESSAGES), key(SLOT, 'm', {'seed': 1}, MESSAGES), key(SLOT, 'm', {}, other)]
  keys += [key(SLOT, 'm', {}, MESSAGES + other)]
  assert len(set(keys)) == len(keys) and all(len(name) == 20 for name in keys)
  assert key(SLOT, 'm', {'a': 1, 'b': 2}, MESSAGES) == key(SLOT, 'm', {'b': 2, 'a': 1}, MESSAGES)
  assert len({str(slot) for slot in slots}) == len(slots)


def test_parts_merge_in_any_order_and_the_earlier_reply_counts(tmp_path):
  other = Slot('all-k2-0002', 1, 'answer1')
  append(tmp_path / 'a', (SLOT, reply('late', time='2026-11-22T00:00:00.000000Z')), (other, reply('x')))
  append(tmp_path / 'b', (SLOT, reply('second', name='c2')))
  append(tmp_path / 'c', (SLOT, reply('first', name='c1')))
  parts = [next((tmp_path / name).iterdir()).read_bytes() for name in 'abc']
  for number, order in enumerate(itertools.permutations(parts)):
    one, several = tmp_path / f'one{number}', tmp_path / f'several{number}'
    one.mkdir()
    several.mkdir()
    (one / 'all.jsonl').write_bytes(b''.join(order))
    for i, part in enumerate(order):
      (several / f'{i}.jsonl').write_bytes(part)
    assert contents(one) == contents(several)
    assert Ledger(one).get(key(SLOT, 'm', {}, MESSAGES)).reply.text == 'first'
    assert [row.key for row in Ledger(one).rows()] == [row.key for row in Ledger(several).rows()]


def test_a_torn_last_line_is_as_if_it_were_not_there(tmp_path):
  append(tmp_path, *((Slot('c', i, 'answer1'), reply(f'“{i}”')) for i in range(1, 4)))
  (path,) = tmp_path.iterdir()
  whole = path.read_bytes()
  *_, last = whole.splitlines(keepends=True)
  for cut in range(1, len(last)):
    path.write_bytes(whole[:-cut])
    assert len(Ledger(tmp_path)) == (3 if cut == 1 else 2)  # only the newline is missing
    path.write_bytes(whole[:-cut] + whole)  # `cat torn.jsonl whole.jsonl`
    assert len(Ledger(tmp_path)) == 3


def test_a_text_is_read_when_it_is_wanted_whatever_else_the_line_has(tmp_path):
  said = ['“curly”\u2028', 'a' * 5000, '', '\U0001f600 {"key":"x"}']
  append(tmp_path, *((Slot('c', i, 'answer1'), reply(text)) for i, text in enumerate(said)))
  (path,) = tmp_path.iterdir()
  lines = path.read_bytes().splitlines(keepends=True)
  other = [json.dumps(json.loads(line), indent=None).encode() + b'\n' for line in lines]  # of another program: ASCII
  torn = lines[0][:-9] + lines[1]  # `cat` of a torn file and a whole one
  path.write_bytes(b'\n' + lines[0] + b'  \n' + torn + other[2] + lines[3][:-1])
  (tmp_path / 'other.jsonl').write_bytes(b''.join(other[1:]))
  rows = {row.slot.generation: row for row in Ledger(tmp_path).rows()}
  assert [rows[i].reply for i in range(4)] == [reply(text) for text in said]
  assert [rows[i].envelope for i in range(4)] == [reply('')] * 4


def damage(path: Path, what: str):
  whole = path.read_bytes()
  if what == 'deleted':
    path.unlink()
  elif what == 'replaced':
    path.with_suffix('.new').write_bytes(b'{}\n' + whole)
    os.replace(path.with_suffix('.new'), path)
  else:
    path.write_bytes(
      {'cut': whole[:-40], 'moved': b'{}\n' + whole, 'other': whole.replace(b'"id":"c1"', b'"id":"d1"')}[what]
    )


@pytest.mark.parametrize('what', ['cut', 'moved', 'other', 'deleted', 'replaced'])
def test_a_file_that_changes_under_a_command_is_named(tmp_path, what):
  append(tmp_path, (SLOT, reply('first')))
  (path,) = tmp_path.iterdir()
  (row,) = Ledger(tmp_path).rows()
  damage(path, what)
  assert row.envelope == reply('')
  with pytest.raises(
    InputError, match=rf'{path.name} was changed while this command ran \(.+\): give the same command'
  ):
    print(row.reply)


def test_a_file_that_takes_another_ones_name_is_read_by_the_next_ledger(tmp_path):
  append(tmp_path, (SLOT, reply('first')))
  (path,) = tmp_path.iterdir()
  assert [text.text for text in contents(tmp_path).values()] == ['first']
  path.with_suffix('.new').write_bytes(path.read_bytes().replace(b'first', b'second'))
  os.replace(path.with_suffix('.new'), path)
  assert [text.text for text in contents(tmp_path).values()] == ['second']


def test_more_files_than_stay_open_are_read(tmp_path):
  for i in range(3 * stored_line.MOST_OPEN):
    append(tmp_path, (Slot('c', i, 'answer1'), reply(f'text {i}')))
  rows = list(Ledger(tmp_path).rows())
  before = len(os.listdir('/proc/self/fd'))
  for _ in range(2):
    assert {row.slot.generation: row.reply.text for row in rows} == {i: f'text {i}' for i in range(len(rows))}
  assert len(os.listdir('/proc/self/fd')) <= before + stored_line.MOST_OPEN


GOOD = json.loads(json.dumps({
  'key': 'k', 'slot': {'combination': 'a', 'generation': 1, 'step': 'vote', 'vote': 1, 'attempt': 0}, 'model': 'm',
  'model_returned': 'm', 'params': {}, 'prompt': 'p', 'reply': 'r', 'finish_reason': 'stop',
  'usage': {'prompt_tokens': 1, 'completion_tokens': 1}, 'id': 'c', 'time': 't', 'seconds': 1.0,
}))  # fmt: skip
NONSENSE = {
  'prose': 'hello',
  'half': json.dumps(GOOD)[:60],
  'list': '[1]',
  'number': '3',
  'no slot': json.dumps({name: value for name, value in GOOD.items() if name != 'slot'}),
  'key': json.dumps(GOOD | {'key': 5}),
  'reply': json.dumps(GOOD | {'reply': None}),
  'params': json.dumps(GOOD | {'params': 'x'}),
  'usage': json.dumps(GOOD | {'usage': {}}),
  'step': json.dumps(GOOD | {'slot': GOOD['slot'] | {'step': 'answer3'}}),
  'vote': json.dumps(GOOD | {'slot': GOOD['slot'] | {'vote': '1'}}),
  'seconds': json.dumps(GOOD | {'seconds': 'long'}),
  'half a pair': json.dumps(GOOD | {'reply': '\ud800'}),
}


@pytest.mark.parametrize('name', NONSENSE)
def test_nonsense_is_named_with_file_and_line(tmp_path, name):
  path = tmp_path / 'grade-host-00000000.jsonl'
  path.write_text(f'{json.dumps(GOOD)}\n\n{NONSENSE[name]}\n{json.dumps(GOOD | {"key": "l"})}\n')
  with pytest.raises(InputError, match=r'grade-host-00000000\.jsonl:3: not a row of a ledger \(.+\); restore'):
    Ledger(tmp_path)
  path.write_text(f'{json.dumps(GOOD)}\n\n{json.dumps(GOOD | {"key": "l"})}\n')
  assert len(Ledger(tmp_path)) == 2


def test_bytes_that_are_no_text_are_named(tmp_path):
  (tmp_path / 'a.jsonl').write_bytes(json.dumps(GOOD).encode() + b'\n\xff\xfe\n')
  with pytest.raises(InputError, match=r'a\.jsonl:2: '):
    Ledger(tmp_path)


def test_a_full_disk_stops_cleanly_and_leaves_no_torn_line(tmp_path, monkeypatch):
  room, write = 700, os.write

  def nearly_full(file, data):
    nonlocal room
    if room == 0:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    count = write(file, bytes(data[:room]))
    room -= count
    return count

  monkeypatch.setattr(os, 'write', nearly_full)
  with pytest.raises(InputError, match=r'No space left on device.*free some space and run the same command again'):
    append(tmp_path, *((Slot('c', i, 'answer1'), reply()) for i in range(1, 9)))
  (path,) = tmp_path.iterdir()
  assert len(Ledger(tmp_path)) == path.read_bytes().count(b'\n') > 0


class Room:
  """What AppendedFile keeps on the disk; the disk has 700 bytes besides."""

  def __init__(self, num_bytes: int, monkeypatch):
    self._num_bytes, self._left, self._write = num_bytes, 700, os.write
    monkeypatch.setattr(appended_file, '_keep_room', lambda folder, num_bytes: self)
    monkeypatch.setattr(os, 'write', self.write)

  def write(self, file, data):
    if len(data) > self._left:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    self._left -= len(data)
    return self._write(file, data)

  def close(self):
    self._left += self._num_bytes


def test_what_is_on_its_way_when_the_disk_gets_full_finds_room(tmp_path, monkeypatch):
  Room(1000, monkeypatch)
  outcomes = []
  with Ledger(tmp_path).open_writer('x', num_coming=3) as writer:
    for i in range(9):
      try:
        writer.append(Request(Slot('c', i, 'vote'), MESSAGES), f'key{i}', 'm', {}, reply())
        outcomes.append('stored')
      except InputError as error:
        assert 'No space left on device' in str(error)
        outcomes.append('stored, and no more' if len(Ledger(tmp_path)) == i + 1 else 'lost')
  num = outcomes.index('stored, and no more')
  assert outcomes[:num] == ['stored'] * num and outcomes[num + 1] == outcomes[num + 2] == 'stored'
  assert outcomes[-1] == 'lost' and num > 0


def test_nothing_is_asked_where_there_is_no_room(tmp_path, monkeypatch):
  def none(folder, num_bytes):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(appended_file, '_keep_room', none)
  asked = []
  with pytest.raises(InputError, match=r'No space left on device.*free some space and run the same command again'):
    collect(Ledger(tmp_path), 'x', requests(3), Exact(lambda **context: asked.append(context)))
  assert not asked


def test_the_room_goes_with_the_process_and_is_no_part_of_the_ledger(tmp_path):
  with Ledger(tmp_path).open_writer('x', num_coming=3) as writer:
    writer.append(Request(SLOT, MESSAGES), 'k1', 'm', {}, reply())
    (path,) = tmp_path.iterdir()
    assert path.suffix == '.jsonl'


def test_a_disk_that_fails_in_the_background_is_said(tmp_path, monkeypatch):
  def broken(file):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

  with (
    pytest.raises(InputError, match=r'Input/output error.*mend the disk'),
    Ledger(tmp_path).open_writer('x') as writer,
  ):
    writer.append(Request(SLOT, MESSAGES), 'k', 'm', {}, reply())
    monkeypatch.setattr(os, 'fsync', broken)


def test_two_kills_cost_what_was_in_flight(tmp_path):
  paid, latency = tmp_path / 'paid.txt', 0.15
  server, base_url = start_process(f'--latency={latency}', f'--paid={paid}')
  try:
    kill_and_finish(tmp_path / 'replies', base_url, paid, count=600, kills=2, latency=latency)
  finally:
    server.terminate()
    server.wait()
