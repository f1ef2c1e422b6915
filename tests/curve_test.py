"""What `curve` draws is what metrics.jsonl says, in both themes."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skillmix_jax import curve
from skillmix_jax.errors import InputError

SVG = '{http://www.w3.org/2000/svg}'


def _row(step: int, shift: float = 0.0) -> dict:
  loss = 6 / (1 + step) + shift
  return {
    'step': step,
    'loss_dialog': loss,
    'loss_text': loss + 1 + step % 3,
    'learning_rate': 2e-5 * step,
    'mfu': None,
  }


def _workdir(folder: Path, rows: list) -> Path:
  folder.mkdir(parents=True)
  lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
  (folder / 'metrics.jsonl').write_text('\n'.join(lines))
  return folder


def _lines(svg: str) -> dict[str, np.ndarray]:
  """The points of every line in the picture, by its id."""
  found = {}
  for group in ElementTree.fromstring(svg).iter(f'{SVG}g'):
    path = group.find(f'{SVG}path')
    if path is not None and re.search(r'-\d$', group.get('id', '')):
      found[group.get('id')] = np.array(re.findall(r'[ML] (\S+) (\S+)', path.get('d')), float)
  return found


def test_lines_go_through_the_numbers_of_the_runs(tmp_path):
  held = [_row(step) | {'held_out_loss_dialogs': 5 - step, 'held_out_loss_code': 4.0} for step in (0, 3)]
  first = _workdir(tmp_path / 'a', [held[0], _row(1), _row(2), held[1], _row(4)])
  second = _workdir(tmp_path / 'b', [_row(step, shift=0.5) for step in range(1, 9)])
  lines = _lines(curve.draw(curve.read([first, second])))
  assert sorted(lines) == [
    'held_out_loss_code-0', 'held_out_loss_dialogs-0', 'learning_rate-0', 'learning_rate-1', 'loss_dialog-0',
    'loss_dialog-1', 'loss_text-0', 'loss_text-1',
  ]  # fmt: skip
  for key, of_first in (('loss_dialog', range(5)), ('loss_text', range(5)), ('learning_rate', range(5))):
    both = [*((step, 0.0) for step in of_first), *((step, 0.5) for step in range(1, 9))]
    points = np.concatenate([lines[f'{key}-0'], lines[f'{key}-1']])
    assert len(points) == len(both)
    for axis, values in enumerate(([step for step, _ in both], [_row(*one)[key] for one in both])):
      slope, start = np.polyfit(values, points[:, axis], 1)  # one panel has one scale
      assert slope * (-1) ** axis > 0
      np.testing.assert_allclose(points[:, axis], slope * np.array(values) + start, atol=1e-4)
  assert len(lines['held_out_loss_dialogs-0']) == 2


def test_damaged_and_doubled_rows_do_not_break_a_line(tmp_path, capsys):
  rows = [
    _row(1),
    'no row',
    _row(2) | {'loss_dialog': None},
    _row(3) | {'loss_dialog': 'x'},
    _row(2),
    _row(4),
    '{"step',
  ]
  [run] = curve.read([_workdir(tmp_path / 'a', rows)])
  assert run.line('loss_dialog') == ([1, 2, 4], [_row(step)['loss_dialog'] for step in (1, 2, 4)])
  assert run.line('mfu') == ([], [])
  assert capsys.readouterr().err.count('\n') == 1


def test_the_picture_follows_the_theme_and_runs_nothing(tmp_path):
  names = ('_hidden$x^2$', '<script>a&b')
  svg = curve.draw(curve.read([_workdir(tmp_path / name, [_row(1), _row(2)]) for name in names]))
  assert '#0102' not in svg and 'prefers-color-scheme: dark' in svg
  style = svg[svg.index('<style>') : svg.index('</style>')]
  assert set(re.findall(r'var\((--[\w-]+)\)', svg)) <= set(re.findall(r'(--[\w-]+): #', style))
  texts = [element.text.strip() for element in ElementTree.fromstring(svg).iter(f'{SVG}text')]
  assert set(names) <= set(texts)
  assert not re.findall('<script|<image|<foreignObject|(?:href|src)="(?!#)', svg)
  assert svg == curve.draw(curve.read([tmp_path / name for name in names]))


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
  folders = [_workdir(tmp_path / seed / 'base', [_row(1)]) for seed in ('0', '1')]
  assert [run.name for run in curve.read(folders)] == [str(folder) for folder in folders]


def test_bad_input_is_one_line(tmp_path, monkeypatch):
  good = _workdir(tmp_path / 'good', [_row(1)])
  empty, other = _workdir(tmp_path / 'empty', []), _workdir(tmp_path / 'other', [{'step': 1, 'x': 2}])
  cases = {
    'workdirs=RUN1': ([], 'a.svg'), 'out=loss.svg is missing': ([good], None), 'is a folder': ([good], tmp_path),
    'has no metrics.jsonl': ([good, tmp_path], 'a.svg'), 'has no row yet': ([empty], 'a.svg'),
    'hold no losses': ([other], 'a.svg'), 'there are 8 colours': ([good] * 9, 'a.svg'),
  }  # fmt: skip
  monkeypatch.chdir(tmp_path)
  for says, (folders, out) in cases.items():
    flags = SimpleNamespace(workdirs=[str(folder) for folder in folders], out=out and str(out))
    monkeypatch.setattr(curve, 'FLAGS', flags)
    with pytest.raises(InputError, match=says):
      curve.main()
  assert not (tmp_path / 'a.svg').exists()
