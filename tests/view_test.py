import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.chat_models import model_folder
from helpers.data_fixtures import bpe_folder, fuzz_messages, mistral_folder, write_jsonl
from rich.console import Console

from skillmix_jax import batch_page, shown_row, view
from skillmix_jax.data import checks, tokenizer
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare

HOSTILE = '<script>alert(1)</script> \x1b[31mred\x1b]0;title\x07 \u202eright-to-left\u2066 [bold]markup[/bold] a\rb'


def _dialog(number, answer='It sings. 🙂'):
  contents = (f'Round one, number {number}', answer, 'Improve it', 'The moon\nsings  twice.')
  roles = ('user', 'assistant', 'user', 'assistant')
  messages = [{'role': role, 'content': content} for role, content in zip(roles, contents)]
  return {'id': f'id-{number}', 'messages': messages, 'meta': {'k': 2}}


def _make(folder, dialogs, kind=mistral_folder, template='mistral', length=64, row_length=None):
  prepare(
    out=folder / 'data',
    tokenizer_path=kind(folder / 'tokenizer'),
    template=template,
    length=length,
    row_length=row_length,
    dialogs=[str(write_jsonl(folder / 'dialogs.jsonl', dialogs))],
    text=[str(write_jsonl(folder / 'text.jsonl', [{'text': 'storm and river ' * 60}] * 3))],
    held_out=0,
    max_cut=1,
  )
  return folder / 'data'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return open_data(_make(tmp_path_factory.mktemp('view'), [_dialog(i) for i in range(10)]))


def _show(path, width=100):
  console = Console(width=width, record=True, file=open(os.devnull, 'w'))  # noqa: SIM115
  seen = view.look(str(path), num_rows=2, seed=0)
  view.show(seen, console)
  return seen.good, console


def _page(path, num_rows=2, name=None, packing=False):
  seen = view.look(str(path), num_rows, seed=0, name=name, packing=packing)
  return seen, batch_page.render(seen.data, seen.rows, seen.results, seen.shown, seed=0, packing=packing)


def _flags(data, html):
  return SimpleNamespace(data=str(data.path), rows=1, seed=0, html=str(html), id=None, packing=False)


class Parts(HTMLParser):
  """What a reader of the page sees of its rows: (label of a part, its text, its tokens with their titles)."""

  def __init__(self, page):
    super().__init__()
    self.found, self._into = [], None
    self.feed(page)

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    if attributes.get('class') == 'label':
      self.found.append(('', '', []))
      self._into = 0
    elif attributes.get('class') == 'tokens':
      self._into = 1
    elif tag == 'i' and self._into == 1:
      self.found[-1][2].append(attributes['title'])

  def handle_endtag(self, tag):
    if tag == 'div':
      self._into = None

  def handle_data(self, data):
    if self._into is not None:
      part = list(self.found[-1])
      part[self._into] += data
      self.found[-1] = tuple(part)


@pytest.mark.parametrize('template', ['mistral', 'llama2'])
@pytest.mark.parametrize('kind', [mistral_folder, bpe_folder])
def test_sound_data_passes_all_checks(tmp_path, template, kind):
  long = _dialog(11)
  long['messages'][3]['content'] = 'storm ' * 400  # cut in its last answer: no end token is right
  good, console = _show(_make(tmp_path, [*map(_dialog, range(5)), long], kind, template, length=256))
  text = console.export_text()
  assert good and 'FAILED' not in text
  assert len(re.findall(r'^ok  ', text, re.MULTILINE)) == 13


def test_a_row_is_shown_as_the_model_sees_it(data):
  _, console = _show(data.path)
  text = console.export_text()
  index = Mixture(data, seed=0, dialogs=10, text_rows=16).rows_of_dialogs(0)[0][0]
  name = data.dialogs('train')[index].id
  assert f'row 0: dialogs {name}' in text
  assert f'<s> [INST] Round one, number {name[3:]} [/INST] It sings. 🙂</s> [INST] Improve it [/INST]' in text
  assert 'The moon⏎' in text and 'sings  twice.</s>' in text
  assert re.search(r'padding × \d+', text)
  assert re.search(r'row \d+: text', text)


def test_what_carries_loss_is_green_and_nothing_else(data):
  batch = Mixture(data, seed=0, dialogs=10, text_rows=0)[0]
  row = shown_row.Row(batch, 0, tokenizer.load(data.path / 'tokenizer'))
  spans = [(row.text().plain[span.start : span.end], span.style) for span in row.text().spans]
  assert [text for text, style in spans if style == shown_row.LOSS] == [' It sings. 🙂', ' The moon⏎\nsings  twice.']
  assert [text for text, style in spans if style == shown_row.TRAINED_CONTROL] == ['</s>', '</s>']
  assert [text for text, style in spans if style == shown_row.CONTROL] == ['<s>']


def test_text_of_others_cannot_act_on_a_page_or_a_terminal(tmp_path):
  hostile = _dialog(0, HOSTILE)
  hostile['id'] = 'id \x1b[2J<img src=x onerror=alert(1)>[red]'
  path = _make(tmp_path, [hostile], length=256)
  _, html = _page(path)
  shown = ''.join(text for _, text, _ in Parts(html).found) + ''.join(re.findall('<h3>.*</h3>', html))
  assert '<script' not in html and '<img' not in html and '<script>alert(1)</script>' in shown
  for character in '\x1b\x07\u202e\u2066\r':
    assert character not in html
    assert f'\\u{ord(character):04x}' in shown
  assert '[bold]markup[/bold]' in shown and '[red]' in shown


def test_a_terminal_gets_no_escape_sequence_from_the_text(tmp_path):
  path = _make(tmp_path, [_dialog(0, HOSTILE)], length=256)
  command = [sys.executable, '-m', 'skillmix_jax.view', f'--data={path}', '--rows=1', f'--html={tmp_path / "p.html"}']
  done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'COLUMNS': '200'})
  assert done.returncode == 0, done.stderr
  assert '\x1b' not in done.stdout and '\u202e' not in done.stdout  # piped: plain
  html = (tmp_path / 'p.html').read_text()
  assert html.startswith('<!doctype html>') and 'src=' not in html and 'href=' not in html


def _double_bos(batch, row):
  batch['tokens'][row, 1] = 1
  batch['targets'][row, 0] = 1


def _weight_on_padding(batch, row):
  batch['weights'][row, -2] = 1


def _no_end_token(batch, row):
  first_answer_end = np.flatnonzero(batch['weights'][row])[6]
  while batch['targets'][row, first_answer_end] != 2:
    first_answer_end += 1
  batch['weights'][row, first_answer_end] = 0


def _unshifted(batch, row):
  batch['targets'][row] = batch['tokens'][row]


def _positions_run_on(batch, row):
  batch['positions'][row] += 1


def _id_too_large(batch, row):
  batch['tokens'][row, 3] = 32_000
  batch['targets'][row, 2] = 32_000


def _dialog_lost(batch, row):
  for array in batch.values():
    array[row] = 0


def _trained_prompt(batch, row):
  batch['weights'][row, 2] = 1


def _no_bos(batch, row):
  batch['tokens'][row, 0] = 5


def _across_segments(batch, row):
  (used,) = np.nonzero(batch['segments'][row])
  batch['segments'][row, used[10:]] = 2
  batch['weights'][row, 9] = 1


def _half_a_weight(batch, row):
  batch['weights'][row] /= 2


def _hole(batch, row):
  batch['segments'][row, 5] = 0


@pytest.mark.parametrize(
  ('plant', 'check'),
  [
    (_double_bos, 'no two BOS in a row'),
    (_weight_on_padding, 'no weight on padding'),
    (_no_end_token, 'every answer that is not cut ends with a trained end token'),
    (_unshifted, 'every target is the next token'),
    (_positions_run_on, 'positions count from 0 in every segment'),
    (_id_too_large, 'ids are below 32000'),
    (_dialog_lost, '10 dialogs and 2 text rows'),
    (_trained_prompt, 'as many trained tokens as in the records'),
    (_no_bos, 'every dialog starts with BOS'),
    (_across_segments, 'no weight across the end of a segment'),
    (_half_a_weight, 'weights are 0 or 1'),
    (_hole, 'padding is at the end of a row'),
  ],
)
def test_a_broken_batch_is_caught_in_its_row(data, plant, check):
  mixture = Mixture(data, seed=0, dialogs=10, text_rows=2)
  batch = mixture[0]
  run = lambda: {result.name: result.bad_rows for result in checks.run_checks(batch, data, mixture.indices(0)[0], 2)}
  assert not any(run().values())
  plant(batch, 3)
  assert 3 in run()[check]


def test_a_failed_check_is_shown_with_its_rows(data, monkeypatch):
  broken = lambda self, g: {**original(self, g), 'targets': original(self, g)['tokens']}
  original = Mixture.__getitem__
  monkeypatch.setattr(Mixture, '__getitem__', broken)
  good, console = _show(data.path)
  text = console.export_text()
  assert not good and 'FAILED  every target is the next token (rows 0, 1, 2, 3, 4, …)' in text


@pytest.mark.parametrize('kind', [mistral_folder, bpe_folder])
def test_the_tokens_of_a_page_are_the_text_of_the_batch(tmp_path, kind):
  rng = random.Random(5)
  dialogs = [_dialog(i) | {'messages': fuzz_messages(rng)} for i in range(40)]
  seen, html = _page(_make(tmp_path, dialogs, kind, length=500), num_rows=40)
  encoder = tokenizer.load(seen.data.path / 'tokenizer')
  parts = iter(Parts(html).found)
  num_tokens = 0
  for row in seen.shown.values():
    for segment in range(1, row.num_segments + 1):
      for part in row.parts(segment):
        label, text, titles = next(parts)
        assert label.startswith(part.name)
        ids = [row.tokens[run.start : run.stop].tolist() for run in part.runs]
        decoded = [encoder.decode(of) if not run.control else encoder.piece(of[0]) for of, run in zip(ids, part.runs)]
        assert text.replace(' ', '') == ''.join(map(shown_row.visible, decoded)).replace(' ', '')
        num_tokens += sum(len(re.search(r'id ([\d ]+) ·', title)[1].split()) for title in titles)
        assert {title[-1] for title in titles} <= {'0', '1'}
    if row.padding:
      assert next(parts)[0] == 'paddingweight 0'
  assert num_tokens == sum(int(row.used.sum()) for row in seen.shown.values())


def test_a_page_says_which_round_is_trained(data):
  seen, html = _page(data.path, num_rows=1)
  row = seen.shown['row 0']
  [first, answer, second, improved, padding, *text] = Parts(html).found
  assert [part[0] for part in (first, answer, second, improved)] == [
    f'round 1: promptcontext, {int((~row.trained[row.used]).sum()) - len(second[2])} tokens',
    f'round 1: answertrained, {len(answer[2])} tokens', f'round 2: promptcontext, {len(second[2])} tokens',
    f'round 2: answertrained, {len(improved[2])} tokens',
  ]  # fmt: skip
  assert answer[1] == ' It sings. 🙂</s>' and improved[1] == ' The moon⏎\nsings  twice.</s>'
  assert {title[-1] for title in answer[2] + improved[2]} == {'1'} and {title[-1] for title in first[2]} == {'0'}
  assert padding[0] == 'paddingweight 0' and all(label.startswith('document ') for label, *_ in text)


def test_a_packed_row_shows_each_dialog_with_its_positions(tmp_path):
  path = _make(tmp_path, [_dialog(i) for i in range(10)], length=128)
  seen, html = _page(path, num_rows=1, packing=True)
  row = seen.shown['row 0']
  assert seen.good and row.num_segments > 1 and len(row.ids) == row.num_segments
  for segment, name in enumerate(row.ids, 1):
    used = np.flatnonzero(row.positions[row.used] == 0)[segment - 1]
    assert f'segment {segment}: {name}</h4>' in html
    assert re.search(rf'at {used} to \d+ of the row, positions 0 to \d+', html)
  assert f'{len(seen.data.dialogs("train"))}</dd>' in html and 'dialogs share rows' in html


def test_rows_longer_than_the_cut_are_shown_as_they_are_trained_on(tmp_path):
  long = _dialog(99)
  long['messages'][-1]['content'] = 'storm ' * 300  # cut, and not at the end of a row
  seen, html = _page(_make(tmp_path, [long, *map(_dialog, range(9))], length=128, row_length=384), num_rows=9)
  rows = [row for row in seen.rows if not row.is_text]
  text = [row for row in seen.rows if row.is_text]
  assert seen.good and seen.packing and {len(row.tokens) for row in seen.rows} == {384}
  assert sum(row.num_segments for row in rows) == 10 and 'id-99' in {name for row in rows for name in row.ids}
  assert [row.num_segments for row in text] == [3, 1] and text[0].title() == 'text'  # four pieces of 128
  assert 'segment 3: text</h4>' in html and 'at 256 to 383 of the row, positions 0 to 127' in html
  assert 'pieces of text in 2 rows' in html and 'A strip is a row of 384 tokens' in html
  assert 'train with --config.data.packing=True' in html


def test_a_dialog_is_shown_by_its_id(data, tmp_path):
  seen, html = _page(data.path, name='id-7')
  [(name, row)] = seen.shown.items()
  assert name == 'train' and 'Round one, number 7' in row.text().plain and row.ids == ('id-7',)
  assert '<h3>train: dialogs id-7</h3>' in html
  with pytest.raises(InputError, match=r'--id=id-77: .* has no such dialog; ids there are like id-7'):
    view.look(str(data.path), 1, 0, name='id-77')


def test_a_folder_as_page_is_refused_before_anything_is_printed(data, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(view, 'FLAGS', _flags(data, tmp_path))
  with pytest.raises(InputError, match='is a folder: name the file'):
    view.main()
  assert capsys.readouterr().out == ''


def test_a_full_disk_leaves_the_old_page(data, tmp_path, monkeypatch):
  page = tmp_path / 'p.html'
  page.write_text('the old page')
  Path(f'{page}.partial').symlink_to('/dev/full')  # what is written there gets ENOSPC
  monkeypatch.setattr(view, 'FLAGS', _flags(data, page))
  with pytest.raises(InputError, match=r'cannot write --html=.*p\.html: No space left on device'):
    view.main()
  assert page.read_text() == 'the old page' and list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize('name', ['llama3', 'chatml', 'olmo', 'mistral-v3'])
def test_documents_of_a_row_and_all_control_tokens_are_shown(tmp_path, name):
  documents = [' '.join(['moon'] * (3 + number)) + f' {number}.' for number in range(40)]
  prepare(
    out=tmp_path / 'data', tokenizer_path=model_folder(tmp_path / 'tokenizer', name), template=name, length=200,
    dialogs=[str(write_jsonl(tmp_path / 'dialogs.jsonl', [_dialog(0)]))], held_out=0,
    text=[str(write_jsonl(tmp_path / 'text.jsonl', [{'text': text} for text in documents]))],
  )  # fmt: skip
  seen = view.look(str(tmp_path / 'data'), num_rows=20, seed=0)
  encoder = tokenizer.load(tmp_path / 'tokenizer')
  [dialog, *text] = seen.shown.values()
  shown = dialog.text(whole=True).plain
  for control in {'llama3': ('<|eot_id|>', '<|start_header_id|>'), 'chatml': ('<|im_start|>',)}.get(name, ()):
    assert shown.count(control) == (dialog.tokens == encoder.control(control)).sum() > 1
  assert len(text) >= 2
  for row in text:
    parts = row.parts(1)
    words = [''.join(row._decode(run.start, run.stop) for run in part.runs if not run.control) for part in parts]
    assert all(word.strip() in documents for word in words[1:-1]) and len(words) > 3
    assert not any(part.note for part in parts[1:])
  notes = {row.parts(1)[0].note for row in text}
  assert notes <= {'may have begun in another row'} if name in ('chatml', 'olmo') else '' in notes
