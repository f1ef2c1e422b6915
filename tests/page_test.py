import dataclasses
import html
import itertools
import json
import math
import re

import pytest
from helpers import page_fixtures as fixtures

from evals import page
from evals.page import beside_paper, browser, contrasts, figure, graders, health, view
from evals.questions.printed import Results
from evals.results import people, statistics, trust, written
from evals.results.cells import Cell, Estimate

BASE = 'LLaMA-2-13B-Chat'


@pytest.fixture(scope='module')
def results():
  return fixtures.results()


@pytest.fixture(scope='module')
def runs():
  return fixtures.three_students(num=6, hostile=fixtures.HOSTILE)


@pytest.fixture(scope='module')
def text(runs, results):
  return page.render(runs, results, title='Ours <b>&</b> theirs', audits=[_audit()])


def _audit():
  one = people.Kappa(90, 0.91, 0.72, statistics.Interval(0.6, 0.83))
  alike = people.Kappa(90, 0.91)
  criteria = {'skills': one, 'on_topic': alike, 'sense': people.Kappa(0), 'length': one}
  return people.Audit('runs/<a>', 'g', 30, ['ann'], list(criteria), [people.MarkerPair('ann', 'grader', criteria)])


def _plain(text):
  """What a reader sees of HTML."""
  body = re.sub(r'<(style|script)\b.*?</\1>', '', text, flags=re.DOTALL)
  return ' '.join(html.unescape(re.sub(r'<[^>]+>', ' ', body)).split())


def _cell(table, heading, row, kind, column):
  block = next(block for block in table.blocks if block.heading == heading)
  lines = next(one for one in block.rows if one.name == row).lines
  return next(line for line in lines if line.kind == kind).numbers[column]


def _section(runs, results, title):
  return next(section for section in beside_paper.paper_sections(runs, results) if section.title == title)


def _with_cell(run, setting, k, **numbers):
  """The run with one cell changed."""
  change = lambda cell: dataclasses.replace(cell, **numbers) if (cell.setting, cell.k) == (setting, k) else cell
  return fixtures.with_metrics(run, cells=tuple(map(change, run.metrics.cells)))


# ---- the paper's cells ------------------------------------------------------------------------------------------


def test_every_cell_of_results_json_is_found_at_its_address(results):
  printed = Results(results)
  num = 0
  for table in (4, 10, 11):
    section = results[f'table_{table}']
    for setting, rows in section['settings'].items():
      for row, by_k in rows.items():
        for k, values in zip(section['k'], by_k):
          for metric, value in zip(section['metrics'], values):
            assert printed.get(table, 'gpt-4', section['model'], row, setting, k, metric).value == value
            num += 1
  for grader, rows in results['table_5']['graders'].items():
    for row, by_k in rows.items():
      for k, values in zip(results['table_5']['k'], by_k):
        found = [printed.get(5, grader, BASE, row, 'all', k, m).value for m in results['table_5']['metrics']]
        assert found == values
        num += 2
  assert num == 24 + 180 + 180 + 48
  six = lambda model, row, setting: printed.get(6, 'gpt-4', model, row, setting, 5, 'skills_fraction').value
  assert six(BASE, 'D(1,2,3,4)', 'all') == 0.56
  assert six('Mistral-7B-Instruct-v0.2', 'D(1,2,3)', 'held_out') == 0.71
  assert six('Mistral-7B-Instruct-v0.2', 'Mistral-7B-Instruct-v0.2', 'train') == 0.3


def test_paper_sections_show_every_printed_cell_and_only_those(results):
  printed = Results(results)
  for table, section in zip((10, 11, 4, 5, 6), beside_paper.paper_sections([], printed)):
    shown = [
      number.value
      for one in section.tables
      for block in one.blocks
      for row in block.rows
      for line in row.lines
      for number in line.numbers
      if number
    ]
    expected = [cell.value for address, cell in printed._cells.items() if address[0] == table]
    assert sorted(shown) == sorted(expected)


def test_misprints_are_marked_and_explained(results):
  printed = Results(results)
  marked = [address for address, cell in printed._cells.items() if cell.misprint]
  assert marked == [
    (11, 'gpt-4', 'Mistral-7B-Instruct-v0.2', 'D(1,2)', 'all', 2, 'skills_fraction'),
    (5, 'claude-3-opus', BASE, BASE, 'all', 4, 'ratio_of_full_marks'),
    (5, 'claude-3-opus', BASE, BASE, 'all', 4, 'skills_fraction'),
  ]
  sections = beside_paper.paper_sections([], printed)
  assert [bool(section.notes) for section in sections] == [False, True, False, True, False]
  assert 'impossible' in sections[1].notes[0]


# ---- ours beside the paper --------------------------------------------------------------------------------------


def test_a_row_of_table_1_equals_the_hand_checked_one(runs, results):
  # ours 60 of 120, the paper .24 at an assumed 100. By hand: Wilson [.412, .588] and [.167, .332];
  # Newcombe .26 - hypot(.088, .092) = .133 and .26 + hypot(.088, .073) = .374
  best = {'ratio_of_full_marks': Estimate(0.5, statistics.wilson(0.5, 120))}
  changed = [_with_cell(run, 'train', 3, n=120, best=best) if run.row == 'D(1,2,3)' else run for run in runs]
  table = _section(changed, Results(results), 'Tables 1 and 10').tables[0]
  place = ('training skills and topics', 'D(1,2,3)')
  theirs, mine, gap = (_cell(table, *place, kind, 2) for kind in ('paper', 'ours', 'difference'))
  assert (theirs.value, mine.value, mine.note) == (0.24, 0.5, 'n = 120')
  assert theirs.interval == pytest.approx((0.1669, 0.3323), abs=1e-3)
  assert gap.value == pytest.approx(0.26)
  assert gap.interval == pytest.approx((0.133, 0.374), abs=2e-3)
  assert gap.excludes_zero


def test_the_base_models_difference_is_called_the_graders_offset(runs, results):
  table = _section(runs, Results(results), 'Tables 1 and 10').tables[0]
  for block in table.blocks:
    kinds = {row.name: [line.kind for line in row.lines] for row in block.rows}
    assert kinds[BASE] == ['paper', 'ours', 'offset']
    assert kinds['D(1)'] == ['paper', 'ours', 'difference']
    assert kinds['D(1,2)'] == ['paper']  # no run
  offset = beside_paper.anchor_tables(runs, Results(results))[0].blocks[0].rows[0].lines
  assert [line.kind for line in offset] == ['paper', 'ours', 'offset']


def test_table_4_shows_the_offset_though_the_paper_prints_no_base_row(runs, results):
  rows = _section(runs, Results(results), 'Table 4').tables[0].blocks[0].rows
  assert (rows[0].name, rows[0].lines[-1].kind) == (BASE, 'offset')


def test_without_the_anchor_the_page_says_that_nothing_is_comparable(runs, results):
  without = [run for run in runs if not run.is_base]
  shown = _plain(page.render(without, results, title='t'))
  assert f'The untouched {BASE} graded by {fixtures.GRADER} is not among the runs' in shown
  assert 'nothing it graded is comparable with the paper' in shown
  assert 'difference, no anchor' in shown
  assert 'is not among the runs' not in _plain(page.render(runs, results, title='t'))


def test_an_anchor_of_another_grader_is_no_anchor(runs, results):
  base = fixtures.with_metrics(runs[0], grader='another')
  assert graders.missing_anchors([base, runs[1]], [base, runs[1]]) == [
    f'The untouched {BASE} graded by {fixtures.GRADER} is not among the runs: the offset of this grader is unknown, '
    'and nothing it graded is comparable with the paper.'
  ]


def test_runs_without_common_skills_stand_in_table_6_alone(runs, results):
  rare = [fixtures.with_metrics(run, exclude_skills=('sarcasm',)) for run in runs]
  sections = {section.title: section.has_run for section in beside_paper.paper_sections(rare, Results(results))}
  assert sections == {f'Table{name}': name == ' 6' for name in ('s 1 and 10', 's 3 and 11', ' 4', ' 5', ' 6')}
  assert view.labels(rare)[2] == 'D(1,2,3), common skills removed'


def test_a_catalog_of_ones_own_gets_no_paper_number(results):
  shown = _plain(page.render(fixtures.toy_world(num=3), results, title='t'))
  assert 'nothing is compared with the paper' in shown
  for word in ('gpt-4', 'Table 4', 'offset', 'Figure 2'):
    assert word not in shown
  assert 'Graded by exact (n = 3 a cell' in shown


def test_every_table_names_its_grader_and_its_decoys(text):
  captions = [_plain(caption) for caption in re.findall(r'<caption>(.*?)</caption>', text, re.DOTALL)]
  numbers = [c for c in captions if not c.startswith(('What was run', 'Grader health', 'runs/<a>'))]
  assert len(numbers) > 30
  folded = [c for c in numbers if fixtures.GRADER not in c]
  assert folded and all('graded by gpt-4' in c for c in folded)  # tables in which no run stands
  assert all('decoys accepted: .' in c for c in numbers if c not in folded)


def test_refused_and_empty_cells_show_no_number(runs, results):
  empty = dict(n=0, missing=9, best={}, mean_of_one={}, by_skill_ci95={})
  changed = [_with_cell(runs[0], 'all', 4, **empty, refused='votes of two graders: a, b'), *runs[1:]]
  shown = _plain(page.render(changed, results, title='t'))
  assert 'refused: votes of two graders: a, b' in shown
  assert not re.search(r'\bnan\b|\bNone\b', shown)


def test_a_run_without_decoys_training_data_or_several_votes_renders(runs, results):
  alone = dataclasses.replace(runs[0], contrasts=())
  bare = fixtures.with_metrics(alone, decoys=None, seen=None, by_generation=(), agreement=trust.Agreement())
  shown = _plain(page.render([bare], results, title='t'))
  assert 'no decoys asked' in shown and 'None' not in shown and 'Undefined' not in shown


# ---- contrasts --------------------------------------------------------------------------------------------------


def test_the_main_contrast_is_the_most_trained_student_minus_base_on_held_out_skills(runs, results):
  main = contrasts.main_contrast(contrasts.pairs(runs, Results(results)))
  assert (main.pair.title, main.metric, main.setting) == (f'D(1,2,3) − {BASE}', 'ratio_of_full_marks', 'held_out')
  at_3 = main.contrasts[2]
  assert at_3.paper.value == pytest.approx(0.37 - 0.04)
  assert at_3.agrees == (at_3.ours.verdict == 'higher')
  assert main.contrasts[4].agrees is None  # .02 against .00 could be chance in the paper


def test_reproduced_needs_two_families(results):
  two = fixtures.two_graders(num=6)
  one = fixtures.add_contrasts([run for run in two if run.family == 'openai'])
  said = [pair.verdict for pair in contrasts.pairs(one, Results(results))]
  assert said and all('Not yet “reproduced”' in text and 'than openai' in text for text in said)
  two = fixtures.add_contrasts(two)
  said = [pair.verdict for pair in contrasts.pairs(two, Results(results))]
  assert len(said) == 2 and all(text.startswith('Reproduced under graders of 2 families') for text in said)
  alike = fixtures.add_contrasts([dataclasses.replace(run, family='openai') for run in two])
  assert all('Not yet' in pair.verdict for pair in contrasts.pairs(alike, Results(results)))


def test_a_refused_contrast_says_why(text):
  shown = _plain(text)
  assert (
    '× ' in text and shown.count('Verdicts refused (×): 3 votes missing.') == 3
  )  # of each pair, but not of the main contrast


def test_a_run_that_nobody_graded_yet_is_shown_without_numbers(runs, results):
  unmarked = dict(points=None, marks=None, votes=(), reasons=(), grader='')
  texts = [dataclasses.replace(text, **unmarked) for text in runs[0].texts[:18]]
  cell = Cell('all', 2, n=0, wanted=6, missing=54, num_generations=3)
  nobody = dict(grader='', cells=(cell,), decoys=None, by_generation=(), agreement=trust.Agreement())
  run = fixtures.with_metrics(dataclasses.replace(runs[0], texts=texts, contrasts=()), **nobody)
  shown = _plain(page.render([run], results, title='t'))
  assert 'Graded by nobody yet' in shown and '54 missing' in shown and not re.search(r'\bnan\b|\bNone\b', shown)


# ---- samples ----------------------------------------------------------------------------------------------------


def _samples(text):
  return json.loads(re.search(r'id="samples-data">(.*?)</script>', text, re.DOTALL)[1])


def _rebuild(data, sample, parts):
  names = [data['skills'][i] for i in sample[5]]
  rubric = ', '.join('Correctly illustrates ' + name.strip().lower() for name in names)
  known = {-1: sample[7], -2: ', '.join(names), -3: data['topics'][sample[6]], -4: rubric}
  resolve = lambda part: part if isinstance(part, str) else known[part] if part < 0 else data['strings'][part]
  return ''.join(resolve(part) for part in parts if not isinstance(part, list))


def test_prompts_and_replies_are_put_together_again_byte_for_byte(runs, text):
  data = _samples(text)
  assert len(data['samples']) == data['total'] == sum(len(run.texts) for run in runs)
  whole = 0
  for sample in data['samples']:
    raw = runs[sample[0]].raw(sample[1], sample[2])
    detail = data['details'][sample[-1]]
    for name in ('round1', 'round2', 'answer1', 'answer2', 'grading'):
      assert _rebuild(data, sample, detail[name]) == getattr(raw, name)[: browser.RAW_LIMIT]
      whole += not isinstance(detail[name][-1], list)
    assert [vote and _rebuild(data, sample, vote) for vote in detail['votes']] == [vote or 0 for vote in raw.votes]
  assert whole > 1000


def test_what_was_cut_is_counted(runs, text):
  data = _samples(text)
  sample = next(s for s in data['samples'] if s[7].startswith('AAAA'))
  assert len(sample[7]) == data['limit'] and sample[8] == 1_000_000 - data['limit']
  answer2 = data['details'][sample[-1]]['answer2']
  assert answer2[-1] == [len(runs[0].raw(sample[1], sample[2]).answer2) - browser.RAW_LIMIT]


def test_no_text_leaves_the_json(text):
  assert text.count('<script') == text.count('</script>') == 3
  assert '<img' not in text and 'onerror' not in text.split('id="samples-data"')[0]
  assert 'Ours &lt;b&gt;&amp;&lt;/b&gt; theirs' in text
  assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff\ufeff]', text)
  text.encode('utf-8')  # no lone surrogate


def test_every_hostile_text_comes_back_as_it_was(text):
  found = {sample[7] for sample in _samples(text)['samples']}
  for hostile in fixtures.HOSTILE:
    assert hostile[: browser.TEXT_LIMITS[0]] in found


def test_hostile_names_and_graders_are_escaped(runs, results):
  evil = '<img src=x onerror=alert(1)>\u202e'
  change = lambda cell: dataclasses.replace(cell, setting=evil) if cell.setting == 'all' else cell
  cells = tuple(map(change, runs[0].metrics.cells))
  run = fixtures.with_metrics(runs[0], grader=evil, student=evil, cells=cells, catalog=evil)
  named = dict(topic=evil, combination=evil, reasons=(evil,), setting=evil)
  texts = [dataclasses.replace(text, skills=(evil,) * text.k, **named) for text in run.texts[:20]]
  raw = lambda combination, generation: dataclasses.replace(run.raw(run.texts[0].combination, 1), answer1=evil)
  odd = dataclasses.replace(run, name=evil, texts=texts, row=evil, family=evil, raw=raw, contrasts=())
  shown = page.render([odd], results, title=evil)
  assert '<img' not in shown and '\u202e' not in shown


def test_above_many_samples_all_disagreements_and_a_seeded_part_are_kept(monkeypatch, runs):
  monkeypatch.setattr(browser, 'MANY', 100)
  monkeypatch.setattr(browser, 'RANDOM_PART', 20)
  everything = [browser.Sample(i, text) for i, run in enumerate(runs) for text in run.texts]
  chosen = browser.choose(everything, seed=0)
  differing = [sample for sample in everything if sample.disagrees]
  assert [sample for sample in chosen if sample.disagrees] == differing
  assert len(chosen) == len(differing) + 20
  assert chosen == browser.choose(everything, seed=0) != browser.choose(everything, seed=1)


def test_raw_replies_fill_what_room_is_left(monkeypatch, runs):
  monkeypatch.setattr(browser, 'PAGE_BYTES', 900_000)
  monkeypatch.setattr(browser, 'MIN_RAW_BYTES', 50_000)
  content = browser.embed(runs, used_bytes=100_000)
  data = json.loads(content)
  assert len(content.encode()) < 800_000
  assert 20 < len(data['details']) < len(data['samples'])
  cells = {(s[0], s[3], s[4]) for s in data['samples'] if s[-1] >= 0}
  assert len(cells) == min(45, len(data['details']))  # spread over runs, settings and ks


# ---- the rest ---------------------------------------------------------------------------------------------------


def test_nothing_is_fetched_from_anywhere(text):
  without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', '', text.split('id="samples-data"')[0])
  assert not re.search(r'https?://|//cdn|@import|url\((?!#)', without_namespaces)


def test_the_policy_names_the_scripts_that_are_there(text):
  policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
  scripts = re.findall(r'<script>(.*?)</script>', text, re.DOTALL)
  assert len(scripts) == 2
  assert all(page._hash(script) in html.unescape(policy) for script in scripts)
  assert "default-src 'none'" in html.unescape(policy)


def test_the_page_is_the_same_every_time(runs, results, text):
  assert page.render(runs, results, title='Ours <b>&</b> theirs', audits=[_audit()]) == text


def test_figures_have_text_and_follow_the_theme(runs, results):
  series = figure.series(runs, Results(results), 'held_out')
  svg = figure.draw(series, 'held_out', 'a "title" <x>')
  assert svg.startswith('<svg viewBox=') and 'k = 3</text>' in svg
  assert 'var(--series-3)' in svg and '#0a0b' not in svg and '#0102' not in svg
  assert 'aria-label="a &quot;title&quot; &lt;x>"' in svg
  assert [one.label for one in series] == [BASE, 'D(1)', 'D(1,2,3)']
  assert dict(series[2].paper)[3] == 0.37
  alone = figure.series(runs[1:2], Results(results), 'held_out')
  assert [one.label for one in alone[1:]] == [f'{BASE} (the paper only)', 'LLaMA D(1,2,3) (the paper only)']


def test_marks_by_skill_count_every_point(runs):
  found = health.by_skill(runs)
  assert sum(m.num_texts for m in found) == sum(text.k for run in runs for text in run.texts if text.points)
  means = [math.fsum(s for s in m.shares if s is not None) / sum(s is not None for s in m.shares) for m in found]
  assert all(low <= high + 1e-12 for low, high in itertools.pairwise(means))


@pytest.mark.parametrize(
  'value, plain, with_sign',
  [(0.374, '.37', '+.37'), (1.0, '1.00', '+1.00'), (0.0, '.00', '.00'), (-0.05, '−.05', '−.05'), (-0.001, '.00', '.00'),
   (0.004, '.00', '.00'), (None, '–', '–'), (float('nan'), '–', '–')],
)  # fmt: skip
def test_numbers_are_written_as_in_the_paper(value, plain, with_sign):
  assert (written.share(value), written.signed(value)) == (plain, with_sign)


def test_labels_are_short_and_differ(runs):
  again = dataclasses.replace(runs[1], name='again')
  mistral = dataclasses.replace(runs[1], model='Mistral-7B-Instruct-v0.2')
  other = fixtures.with_metrics(runs[1], grader='g2')
  assert view.labels(runs) == [BASE, 'D(1)', 'D(1,2,3)']
  assert view.labels([runs[1], mistral]) == ['LLaMA D(1)', 'Mistral D(1)']
  assert view.labels([runs[1], other]) == [f'D(1) · {fixtures.GRADER}', 'D(1) · g2']
  assert len(set(view.labels([runs[1], again, runs[1], runs[1]]))) == 4
