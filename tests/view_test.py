import errno
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.data_fixtures import bpe_folder, mistral_folder, write_jsonl
from rich.console import Console

from skillmix_jax import view
from skillmix_jax.data import checks
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


def _make(folder, dialogs, kind=mistral_folder, template='mistral', length=64):
  prepare(
    out=folder / 'data',
    tokenizer_path=kind(folder / 'tokenizer'),
    template=template,
    length=length,
    dialogs=[str(write_jsonl(folder / 'dialogs.jsonl', dialogs))],
    text=[str(write_jsonl(folder / 'text.jsonl', [{'text': 'storm and river ' * 60}] * 3))],
    held_out=0,
    max_cut=1,
  )
  return folder / 'data'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return open_data(_make(tmp_path_factory.mktemp('view'), [_dialog(i) for i in range(10)]))


def _show(path, width=100, **kwargs):
  console = Console(width=width, record=True, file=open(os.devnull, 'w'), **kwargs)  # noqa: SIM115
  good = view.view(str(path), num_rows=2, seed=0, console=console)
  return good, console


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
  row = view.Row(batch, 0, view.tokenizer.load(data.path / 'tokenizer'))
  spans = [(row.text().plain[span.start : span.end], span.style) for span in row.text().spans]
  assert [text for text, style in spans if style == view.LOSS] == [' It sings. 🙂', ' The moon⏎\nsings  twice.']
  assert [text for text, style in spans if style == view.TRAINED_CONTROL] == ['</s>', '</s>']
  assert [text for text, style in spans if style == view.CONTROL] == ['<s>']


def test_text_of_others_cannot_act_on_a_page_or_a_terminal(tmp_path):
  hostile = _dialog(0, HOSTILE)
  hostile['id'] = 'id \x1b[2J<img src=x onerror=alert(1)>[red]'
  path = _make(tmp_path, [hostile], length=256)
  _, console = _show(path, width=300)
  html = console.export_html(inline_styles=True)
  assert '<script' not in html and '<img' not in html and '&lt;script&gt;alert(1)&lt;/script&gt;' in html
  shown = re.sub(r'<[^>]+>', '', html)
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
  assert html.startswith('<!DOCTYPE html>') and 'src=' not in html and 'href=' not in html
  assert 'color: #008000' in html  # coloured though the output was piped


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
    (_hole, 'padding stands at the end of a row'),
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


def test_a_full_disk_leaves_the_old_page(data, tmp_path, monkeypatch):
  page = tmp_path / 'p.html'
  page.write_text('the old page')

  def full(self, text, **kwargs):
    with open(self, 'w') as file:
      file.write(text[:100])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(view.pathlib.Path, 'write_text', full)
  monkeypatch.setattr(view, 'FLAGS', SimpleNamespace(data=str(data.path), rows=1, seed=0, html=str(page)))
  with pytest.raises(InputError, match=r'cannot write --html=.*p\.html: No space left on device'):
    view.main()
  assert page.read_text() == 'the old page' and list(tmp_path.iterdir()) == [page]
