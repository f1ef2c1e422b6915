import csv
import dataclasses
import io
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers import graded_runs
from helpers import page_fixtures as fixtures
from rich.console import Console

from configs import eval_paper
from evals import audit, page, report
from evals.questions import catalog
from evals.results import people, sheets, statistics
from evals.results.cells import Estimate
from evals.results.corrected import Corrected, Corrections
from evals.results.written import share
from skillmix_jax.errors import InputError


@pytest.fixture(scope='module')
def graded():
  """Graded texts of a run, some of which a spreadsheet could take for a formula."""
  return fixtures.make_run(
    'D(1)', num=8, hostile=('=HYPERLINK("x")', '+1', '-2', '@SUM(A1)', ' =1', 'a\x00\u202eb')
  ).texts


@pytest.fixture
def run(tmp_path, graded):
  folder = tmp_path / 'run'
  folder.mkdir()
  with (folder / 'grades.jsonl').open('w') as file:
    file.writelines(json.dumps(text.to_json()) + '\n' for text in graded)
  shutil.copytree(catalog.PAPER, folder / 'catalog')
  config = {'settings': eval_paper.get_config().to_dict(), 'student': {}, 'catalog': {}}
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def _rows(text):
  return list(csv.DictReader(io.StringIO(text, newline='')))


def _sheet(run, n=60, seed=0):
  return sheets.sheet(sheets.draw(sheets.read_grades(run), n, seed), catalog.load(run / 'catalog'))


def _fill(path, text, mark, **dialect):
  """Writes the sheet with mark(id, column) in every criterion that applies."""
  rows = _rows(text)
  columns = list(rows[0])
  for row in rows:
    for column in columns[len(sheets.SHOWN) :]:
      if row[column] != 'n/a':
        row[column] = mark(row['id'], column)
  with path.open('w', newline='', encoding='utf-8-sig') as file:
    writer = csv.DictWriter(file, columns, **dialect)
    writer.writeheader()
    writer.writerows(rows)
  return path


def _like_the_grader(grades, wrong=0.0, seed=0):
  chance = random.Random(seed)

  def mark(name, column):
    combination, _, generation = name.rpartition('/')
    given = sheets.grader_marks(grades[combination, int(generation)])
    if given is None:
      return ''
    point = given['skills'][int(column[5:]) - 1] if column.startswith('skill') else given[column][0]
    return str(point if chance.random() >= wrong else 1 - point)

  return mark


def test_texts_are_drawn_evenly_over_setting_k_and_marks(run):
  grades = sheets.read_grades(run)
  drawn = sheets.draw(grades, 90, seed=0)
  assert len(drawn) == 90
  size = Counter((text.setting, text.k, text.marks.full_marks) for text in grades.values())
  count = Counter((text.setting, text.k, text.marks.full_marks) for text in drawn)
  assert set(count) == set(size)
  most = max(count.values())
  assert all(number in (most, most - 1) for name, number in count.items() if size[name] >= most)
  assert len({text.combination for text in drawn}) > 85  # no combination twice while its stratum has others
  assert drawn == sheets.draw(grades, 90, seed=0) != sheets.draw(grades, 90, seed=1)
  assert len(sheets.draw(grades, 10**6, seed=0)) == len(grades)


def test_the_sheet_is_blind(run):
  text = _sheet(run)
  rows = _rows(text)
  assert list(rows[0]) == [
    *sheets.SHOWN,
    'skill1',
    'skill2',
    'skill3',
    'skill4',
    'skill5',
    'on_topic',
    'sense',
    'length',
  ]
  grades = sheets.read_grades(run)
  for row in rows:
    combination, _, generation = row['id'].rpartition('/')
    k = grades[combination, int(generation)].k
    marks = [row[f'skill{i + 1}'] for i in range(5)] + [row['on_topic'], row['sense'], row['length']]
    assert marks == [''] * k + ['n/a'] * (5 - k) + [''] * 3
    assert len(row['skills'].splitlines()) == k and row['length_limit'].startswith('at most ')
  assert fixtures.GRADER not in text and 'votes' not in text


def test_a_text_may_hold_any_character_that_some_call_a_line_end(run, graded, tmp_path):
  strange = 'one\u2028two\u2029three\u0085four\x0bfive\x0c\x1c\x1d\x1e'
  rows = [text.to_json() | {'text': strange} for text in graded]
  (run / 'grades.jsonl').write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))
  grades = sheets.read_grades(run)
  assert len(grades) == sum(row['points'] is not None for row in rows)
  text = _sheet(run, n=10)
  marked = sheets.read_sheet(_fill(tmp_path / 'a.csv', text, _like_the_grader(grades)), grades)
  assert len(marked) == 10


def test_no_cell_is_a_formula_and_no_character_hides(run):
  grades = sheets.read_grades(run)
  text = sheets.sheet([one for one in grades.values() if one.combination.startswith('train-k1')], fixtures.paper())
  cells = {cell for row in csv.reader(io.StringIO(text, newline='')) for cell in row}
  assert not any(cell.lstrip()[:1] in ('=', '+', '-', '@') for cell in cells if cell)
  assert {'\'=HYPERLINK("x")', "'+1", "'-2", "'@SUM(A1)", "' =1", 'a\\u0000\\u202eb'} <= cells
  assert '\x00' not in text and '\u202e' not in text


def test_kappa_equals_the_one_computed_by_hand(run, tmp_path):
  grades = sheets.read_grades(run)
  text = _sheet(run)
  ann = _fill(tmp_path / 'ann.csv', text, _like_the_grader(grades))
  ben = _fill(tmp_path / 'ben.csv', text, _like_the_grader(grades, wrong=0.2))
  found = people.audit(run, [ann, ben], seed=0)
  assert [(pair.a, pair.b) for pair in found.pairs] == [('ann', 'grader'), ('ben', 'grader'), ('ann', 'ben')]
  skills = found.pairs[0].criteria['skills']
  assert (skills.kappa, skills.agreement, skills.ci95) == (1, 1, (1, 1))
  pairs = []
  for row in _rows(text):
    key = row['id'].rpartition('/')[0], int(row['id'].rpartition('/')[2])
    mine, theirs = sheets.read_sheet(ben, grades)[key]['skills'], sheets.grader_marks(grades[key])
    pairs += list(zip(mine, theirs['skills'])) if theirs else []
  theirs = found.pairs[1].criteria['skills']
  both, equal = len(pairs), sum(a == b for a, b in pairs)
  yes = [sum(pair[i] for pair in pairs) / both for i in (0, 1)]
  chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
  assert theirs.n == both and theirs.agreement == equal / both
  assert theirs.kappa == pytest.approx((equal / both - chance) / (1 - chance))
  assert theirs.kappa == pytest.approx(statistics.cohen_kappa(*zip(*pairs)))
  low, high = theirs.ci95
  assert 0.2 < low < theirs.kappa < high < 0.9


def test_the_interval_covers_the_true_kappa():
  # two people, 60 texts of 3 skills; both err with probability .1 about a fair coin: kappa = (.82 - .5) / .5 = .64
  covered = 0
  for seed in range(60):
    chance = random.Random(seed)
    both = [{}, {}]
    for text in range(60):
      truth = [chance.random() < 0.5 for _ in range(3)]
      for person in both:
        marked = [int(point != (chance.random() < 0.1)) for point in truth]
        person[str(text), 1] = {'skills': marked, 'on_topic': [1], 'sense': [None], 'length': [0]}
    found = people.compare(*both, seed=0)
    low, high = found['skills'].ci95
    covered += low <= 0.64 <= high
    assert found['on_topic'] == people.Kappa(60, 1.0)
    assert found['sense'].n == 0
  assert covered >= 53


def test_the_grader_is_judged_before_names_are_filtered_and_sentences_counted(run):
  text = next(iter(sheets.read_grades(run).values()))
  votes = (1, 1, 1, 0), (1, 1, 1, 0), (0, 1, 1, 0)
  text = dataclasses.replace(text, k=1, votes=votes, points=(0, 1, 1, 1))
  assert sheets.grader_marks(text) == {'skills': [1], 'on_topic': [1], 'sense': [1], 'length': [0]}


def test_empty_cells_and_other_delimiters_are_read(run, tmp_path):
  grades = sheets.read_grades(run)
  likely = _like_the_grader(grades)
  some = lambda name, column: likely(name, column) if column == 'sense' else ' '
  path = _fill(tmp_path / 'ann.csv', _sheet(run), some, delimiter=';')
  found = people.audit(run, [path], seed=0).pairs[0].criteria
  assert found['skills'].n == 0 and found['sense'].n > 50


def _edited(run, tmp_path, edit):
  grades = sheets.read_grades(run)
  path = _fill(tmp_path / 'ann.csv', _sheet(run, n=3), _like_the_grader(grades))
  lines = list(csv.reader(io.StringIO(path.read_text(encoding='utf-8-sig'), newline='')))
  edit(lines)
  with path.open('w', newline='') as file:
    csv.writer(file).writerows(lines)
  return path, grades


@pytest.mark.parametrize(
  'edit, said',
  [
    (lambda lines: lines[2].__setitem__(-1, 'yes'), "length is 'yes', not 0, 1 or empty"),
    (lambda lines: lines[2].__setitem__(6, '0.5'), "skill1 is '0.5'"),
    (lambda lines: lines[2].__setitem__(0, 'nowhere/1'), "no marked text 'nowhere/1'"),
    (lambda lines: lines[2].__setitem__(0, 'nowhere'), "no marked text 'nowhere'"),
    (lambda lines: lines[2].__setitem__(0, lines[1][0]), 'occurs twice'),
    (lambda lines: lines[2].__setitem__(0, 'a/' + '9' * 5000), "no marked text 'a/999"),
    (lambda lines: [line.append(line.pop(0)) for line in lines] and lines[2].pop(), "no marked text ''"),
    (lambda lines: lines[0].__setitem__(0, 'name'), "column 'id' is missing"),
  ],
)
def test_a_wrong_sheet_is_refused_with_its_line(run, tmp_path, edit, said):
  path, grades = _edited(run, tmp_path, edit)
  with pytest.raises(InputError) as error:
    sheets.read_sheet(path, grades)
  assert said in str(error.value)
  name, line, _ = str(error.value).split(':', 2)
  with path.open(newline='') as file:
    reader = csv.reader(file)
    next(reader), next(reader)
    begins = reader.line_num + 1  # of the second text; the first takes several lines
  assert (name, int(line)) == (str(path), 1 if 'column' in said else begins)


def test_a_sheet_without_marks_or_in_another_encoding_is_refused(run, tmp_path):
  grades = sheets.read_grades(run)
  blank = _fill(tmp_path / 'blank.csv', _sheet(run, n=2), lambda name, column: '')
  with pytest.raises(InputError, match=r'blank.csv:1: nothing is marked'):
    sheets.read_sheet(blank, grades)
  (tmp_path / 'old.csv').write_bytes(b'id,topic\nx,\xe9')
  with pytest.raises(InputError, match=r'old.csv:2: not UTF-8'):
    sheets.read_sheet(tmp_path / 'old.csv', grades)
  with pytest.raises(InputError, match=r'none.csv: No such file'):
    sheets.read_sheet(tmp_path / 'none.csv', grades)


def test_two_people_of_one_name_are_refused(run, tmp_path):
  (tmp_path / 'b').mkdir()
  with pytest.raises(InputError, match="two are named 'ann'"):
    people.audit(run, [tmp_path / 'ann.csv', tmp_path / 'b' / 'ann.csv'], seed=0)


def test_a_damaged_or_missing_file_of_grades_is_named(tmp_path):
  with pytest.raises(InputError, match=r'grades.jsonl is missing: python -m evals.report'):
    sheets.read_grades(tmp_path)
  (tmp_path / 'grades.jsonl').write_text('{"points": null}\n{"points": [1]}\n')
  with pytest.raises(InputError, match=r'grades.jsonl:2: not a row of grades'):
    sheets.read_grades(tmp_path)
  (tmp_path / 'grades.jsonl').write_text('{"points": null}\n')
  with pytest.raises(InputError, match=r'has no text with marks'):
    sheets.read_grades(tmp_path)


def test_the_page_shows_what_the_audit_found(run, tmp_path):
  path = _fill(tmp_path / 'ann [x].csv', _sheet(run), _like_the_grader(sheets.read_grades(run), wrong=0.1))
  found = people.audit(run, [path], seed=0)
  read = people.Audit.from_json(json.loads(json.dumps(found.to_json())))
  shown = page.render([fixtures.make_run('D(1)', num=2)], fixtures.results(), title='t', audits=[read])
  assert '60 texts marked blind by ann [x]' in shown and 'ann [x] and grader' in shown
  console = Console(record=True, width=80, file=io.StringIO())
  audit.show(found, console)
  lines = console.export_text().splitlines()
  assert any('ann [x] and grader' in line for line in lines)
  for criterion, of in found.pairs[0].criteria.items():  # a line each, also where a terminal has 80 columns
    [line] = [line for line in lines if line.split()[:1] == [criterion]]
    assert len(line) <= 80 and line.split()[-2:] == [str(of.n), share(of.agreement)]


def test_the_page_and_the_terminal_show_corrected_marks_beside_the_raw_ones(run, tmp_path):
  grades = sheets.read_grades(run)
  path = _fill(tmp_path / 'ann.csv', _sheet(run, n=200), _like_the_grader(grades, wrong=0.02))
  found = people.audit(run, [path], seed=0)
  whole, *cells = found.corrections.ratios
  assert whole.graded.mean == pytest.approx(sum(text.marks.full_marks for text in grades.values()) / len(grades))
  assert {(one.setting, one.k) for one in cells} == {(text.setting, text.k) for text in grades.values()}
  shown = page.render([fixtures.make_run('D(1)', num=2)], fixtures.results(), title='t', audits=[found])
  body = fixtures.plain(shown)
  for said in ('as graded', 'Rogan–Gladen', 'prediction-powered', 'too few marked', 'sensitivity'):
    assert said in body
  assert f'{share(whole.graded.mean)} [{share(whole.graded.ci95.low)}, {share(whole.graded.ci95.high)}]' in body
  assert f'{share(whole.prediction_powered.mean)} [{share(whole.prediction_powered.ci95.low)}, ' in body
  console = Console(record=True, width=80, file=io.StringIO())
  audit.show_corrections(found.corrections, console)
  lines = console.export_text().splitlines()
  [line] = [line for line in lines if 'the whole run' in line]
  assert len(line) <= 80 and line.count(share(whole.prediction_powered.mean) + ' [') == 2
  assert any('too few texts marked' in line for line in lines) and any('sensitivity' in line for line in lines)
  old = found.to_json()
  del old['corrections']  # as earlier versions wrote it
  read = people.Audit.from_json(json.loads(json.dumps(old)))
  assert read.corrections is None and 'Rogan' not in page.render(
    [fixtures.make_run('D(1)', num=2)], fixtures.results(), title='t', audits=[read]
  )


def test_no_number_is_cut_on_a_terminal_of_80_columns():
  sure = Estimate(1.0, statistics.Interval(0.91, 1.0))
  one = Corrected('the_paper_in_other_words', 12, 9_999, (99, 99), sure, sure, sure)
  console = Console(record=True, width=80, file=io.StringIO())
  audit.show_corrections(Corrections(sure, sure, [one]), console)
  assert console.export_text().count('1.00 [.91, 1.00]') == 3 + 2


def test_an_audit_that_is_damaged_or_of_other_marks_is_not_shown(tmp_path, capsys):
  folder = graded_runs.make(
    tmp_path / 'run', vote=lambda r: [int(r.slot.combination[-1]) % 2] * len(r.context['criteria'])
  )
  reports = [report.report_graders(folder, None)]
  assert report.audits(reports) == []
  sheet = _fill(tmp_path / 'ann.csv', _sheet(folder), lambda name, column: '1')
  found = people.audit(folder, [sheet], seed=0)
  file = folder / 'audit.json'
  file.write_text(json.dumps(found.to_json()))
  assert [one.people for one in report.audits(reports)] == [['ann']] and not capsys.readouterr().err
  for text in (file.read_text()[:300], '{}', '[]', '{"pairs": [5]}'):
    file.write_text(text)
    with pytest.raises(InputError, match=r'audit\.json is damaged \(.*\): delete it, or run evals\.audit --sheets'):
      report.audits(reports)
  run = dataclasses.replace(found.corrections.ratios[0], texts=7)
  of_others = dataclasses.replace(found, corrections=dataclasses.replace(found.corrections, ratios=[run]))
  file.write_text(json.dumps(of_others.to_json()))
  assert report.audits(reports) == []
  assert 'audit.json is of other marks (7 texts, .50 full) than there are now (8, .50)' in capsys.readouterr().err


def _command(*arguments):
  done = subprocess.run(
    [sys.executable, '-m', 'evals.audit', *arguments], capture_output=True, text=True, cwd=Path(__file__).parent.parent
  )
  return done.returncode, done.stdout, done.stderr


def test_the_command_draws_refuses_to_overwrite_and_compares(run, tmp_path):
  path = tmp_path / 'sheet.csv'
  code, said, _ = _command(f'--run={run}', f'--out={path}', '--n=20')
  assert code == 0 and '20 texts' in said
  code, _, error = _command(f'--run={run}', f'--out={path}')
  assert code == 2 and error.count('\n') == 1 and 'exists, perhaps with marks in it' in error
  _fill(path, path.read_text(encoding='utf-8-sig'), _like_the_grader(sheets.read_grades(run)))
  code, said, error = _command(f'--run={run}', f'--sheets={path}')
  assert (code, error) == (0, '') and re.search(r'1\.00 +\[1\.00, 1\.00\]', said)
  assert json.loads((run / 'audit.json').read_text())['people'] == ['sheet']
