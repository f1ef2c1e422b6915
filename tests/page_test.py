"""The page as a whole: what it says of its runs, its contrasts, and that it is one safe file."""

import dataclasses
import html
import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from helpers import page_fixtures as fixtures
from helpers.page_fixtures import BASE, plain, with_cell

from evals import page, report
from evals.page import contrasts, figure, health, improving, own_tables, view
from evals.questions.printed import Results
from evals.results import trust, written
from evals.results.cells import Cell
from skillmix_jax.errors import InputError


def test_every_table_names_its_grader_and_its_decoys(text):
  captions = [plain(caption) for caption in re.findall(r'<caption>(.*?)</caption>', text, re.DOTALL)]
  numbers = [c for c in captions if not c.startswith(('What was run', 'Grader health', 'runs/<a>'))]
  assert len(numbers) > 30
  folded = [c for c in numbers if fixtures.GRADER not in c]
  assert folded and all('graded by gpt-4' in c for c in folded)  # tables in which no run stands
  assert all('decoys accepted: .' in c for c in numbers if c not in folded)


def test_refused_and_empty_cells_show_no_number(runs, results):
  empty = dict(n=0, missing=9, best={}, mean_of_one={}, by_skill_ci95={})
  changed = [with_cell(runs[0], 'all', 4, **empty, refused='votes of two graders: a, b'), *runs[1:]]
  shown = plain(page.render(changed, results, title='t'))
  assert 'refused: votes of two graders: a, b' in shown
  assert not re.search(r'\bnan\b|\bNone\b', shown)


def test_a_run_without_decoys_training_data_or_several_votes_renders(runs, results):
  alone = dataclasses.replace(runs[0], contrasts=())
  bare = fixtures.with_metrics(alone, decoys=None, seen=None, by_generation=(), agreement=trust.Agreement())
  shown = plain(page.render([bare], results, title='t'))
  assert 'no decoys asked' in shown and 'None' not in shown and 'Undefined' not in shown


def test_accepted_decoys_are_called_an_upper_bound_and_where_they_come_from_is_said(runs, results, text):
  assert 'an upper bound on points for nothing' in text and 'all but 22 skills that occur in almost any text' in plain(
    text
  )
  alone = dataclasses.replace(runs[0], contrasts=())
  every = dataclasses.replace(alone.metrics.decoys, left_out=0)
  [fact] = [fact for fact in health.facts([fixtures.with_metrics(alone, decoys=every)]) if 'drawn from' in fact.name]
  assert fact.values == ['all skills']


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
  shown = plain(text)
  assert (
    '× ' in text and shown.count('Verdicts refused (×): 3 votes missing.') == 3
  )  # of each pair, but not of the main contrast


def test_a_run_that_nobody_graded_yet_is_shown_without_numbers(runs, results):
  unmarked = dict(points=None, marks=None, votes=(), reasons=(), grader='')
  texts = [dataclasses.replace(text, **unmarked) for text in runs[0].texts[:18]]
  cell = Cell('all', 2, n=0, wanted=6, missing=54, num_generations=3)
  nobody = dict(grader='', cells=(cell,), decoys=None, by_generation=(), agreement=trust.Agreement())
  run = fixtures.with_metrics(dataclasses.replace(runs[0], texts=texts, contrasts=()), **nobody)
  shown = plain(page.render([run], results, title='t'))
  assert 'Graded by nobody yet' in shown and '54 missing' in shown and not re.search(r'\bnan\b|\bNone\b', shown)


# ---- what comes first, and what each number is ------------------------------------------------------------------


def test_many_refusals_do_not_bury_the_contrasts(runs, results):
  shown = page.render(runs, results, title='t', refusals=[f'{i} and {i + 1} are not comparable' for i in range(9)])
  assert shown.count('Not compared (×)') == 5 and 'Not compared: 4 more pairs' in shown
  assert all(f'{i} and {i + 1} are not comparable' in shown for i in range(9))


def test_the_title_says_which_runs(text, runs):
  names = f'{BASE}, D(1) and D(1,2,3)'
  assert f'<title>Ours &lt;b&gt;&amp;&lt;/b&gt; theirs: {names}</title>' in text and f'<h1>{names}</h1>' in text
  assert view.joined(['a']) == 'a' and view.joined(list('abcd')) == 'a, b, c and d'
  assert view.joined(list('abcdefg')) == 'a, b, c and 4 more'


def test_the_result_comes_before_the_remarks_about_it(text, runs, results):
  order = ['<h1>', 'id="main-contrast"', '<div class="note', 'id="figure"', 'id="contrasts"', 'id="cells"']
  places = [text.index(part) for part in order]
  assert places == sorted(places)
  alone = page.render([dataclasses.replace(runs[0], contrasts=())], results, title='t')
  assert alone.index('id="figure"') < alone.index('<div class="note')


def test_no_column_is_without_a_heading(text, runs, results):
  toy = fixtures.toy_world(num=3, ks=(1, 2))
  toy = [fixtures.with_first_answers(run, num=3, ks=(1, 2)) for run in toy]
  for shown in (text, page.render(toy, results, title='t')):
    tables = re.findall(r'<thead>(.*?)</thead>', shown, re.DOTALL)
    headings = [plain(th) for table in tables for th in re.findall(r'<th.*?</th>', table, re.DOTALL)]
    assert len(tables) > 15 and all(headings) and 'class="vh"' not in ''.join(tables)


def test_a_figure_has_its_numbers_beside_it(runs, results):
  table = own_tables.figure_table(runs, Results(results), 'held_out')
  assert table.columns == [f'k = {k}' for k in fixtures.KS]
  for run, row in zip(runs, table.blocks[0].rows, strict=True):
    lines = {line.kind: [number and number.value for number in line.numbers] for line in row.lines}
    assert lines['ours'] == [run.cells['held_out', k].best['ratio_of_full_marks'].mean for k in fixtures.KS]
    printed = [Results(results).find(BASE, run.row, 'held_out', k, 'ratio_of_full_marks') for k in fixtures.KS]
    assert lines['paper'] == [one.value for one in printed]


def test_an_undecided_contrast_says_how_many_combinations_would_decide_it(runs, results):
  low = next(contrast for contrast in runs[0].contrasts if contrast.setting == 'held_out' and contrast.a != contrast.b)
  undecided = dataclasses.replace(low, k=1, verdict='undecided', p_holm=0.21, needed=1234)
  decided = dataclasses.replace(low, k=2, verdict='higher', needed=None)
  few = [dataclasses.replace(run, texts=run.texts[-4:], contrasts=()) for run in runs]
  few[0] = dataclasses.replace(few[0], contrasts=(undecided, decided))
  said = plain(page.render(few, results, title='t'))
  assert 'n needed about 1,300 –' in said and said.count('about 1,300 combinations would decide it') == 1
  assert said.count('combinations would decide it') == 1, 'of the other, too'
  assert [written.about(n) for n in (7, 88, 100, 101, 999, 99_001, 100_001)] == [
    '7', '88', '100', '110', '1,000', '100,000', 'over 100,000',
  ]  # fmt: skip


def test_first_answers_are_shown_where_they_were_graded(runs, results, text):
  assert 'First answer against improved' not in text
  base, run = (dataclasses.replace(one, contrasts=()) for one in (runs[0], fixtures.with_first_answers(runs[2], num=6)))
  found = run.metrics.improving
  shown = plain(page.render([base, run], results, title='t'))
  assert 'First answer against improved answer' in shown
  for change in found.changes:
    assert f'{change.gained} gained, {change.lost} lost of {change.n}' in shown
  (table, *_), changes = improving.gain_tables([base, run]), improving.change_table([base, run])
  for block in table.blocks:
    (row,) = block.rows  # the other run has no graded first answers
    setting = next(setting for setting in fixtures.SETTINGS if view.setting_name(setting) == block.heading)
    by_label = {line.label: line.numbers for line in row.lines}
    for k, first, after, gain in zip(fixtures.KS, *(by_label[name] for name in ('first answer', 'improved', 'gain'))):
      (its,) = (one for one in found.gains if (one.metric, one.setting, one.k) == ('ratio_of_full_marks', setting, k))
      assert (gain.value, gain.interval, gain.verdict) == (its.difference, its.ci95, its.verdict)
      if its.n == 6:
        assert gain.value == pytest.approx(after.value - first.value)
  assert [line.label for line in changes.blocks[0].rows[0].lines] == ['skills', 'topic', 'sense', 'length']
  reason = dataclasses.replace(found.gains[0], reason='<b>two</b> graders', verdict='refused')
  refused = fixtures.with_metrics(run, improving=dataclasses.replace(found, gains=(reason, *found.gains[1:])))
  assert improving.refusals([base, refused]) == ['D(1,2,3): <b>two</b> graders']


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
  assert page.render(runs, results, title='Ours <b>&</b> theirs', audits=[fixtures.audit()]) == text


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


def test_figure_2_is_a_file_that_says_all_by_itself(runs, results):
  hostile = dataclasses.replace(runs[0], row=None, model=None, name='_<b> $x$ \u202e')
  series = figure.series([hostile, *runs[1:]], Results(results), 'held_out')
  svg = figure.draw_alone(series, 'Held-out skills and topics')
  texts = [' '.join(node.text.split()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith('}text')]
  for words in ('Held-out skills and topics', 'Ratio of Full Marks', 'skills to combine', 'k = 3', 'D(1,2,3)'):
    assert words in texts, words
  assert 'the paper’s (graded by gpt-4), in the colour and mark of the student' in texts and any(
    '_<b> $x$' in one for one in texts
  )
  assert 'var(' not in svg and '#0a0b' not in svg and '#0102' not in svg and '#0f6cb6' in svg
  assert svg == figure.draw_alone(series, 'Held-out skills and topics')
  with pytest.raises(InputError, match=r'--figure=fig2.png must end in .svg'):
    report.figure_file('fig2.png')


def test_no_two_lines_of_a_figure_look_alike():
  many = [figure.Series(f'run {i}', [(1, 0.5)], [(1, 0.5, 0.4, 0.6)]) for i in range(24)]  # 8 students, 3 graders
  assert len({(colour, path) for colour, path, _ in figure.legend(many)}) == 24
  drawn = [figure._handle(i, one) for i, one in enumerate(many)]
  assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 24


def test_figure_2_has_room_for_long_names(runs, results):
  name = 'meta-llama/Llama-3.3-70B-Instruct-Turbo · claude-haiku-5-5-20260901 · some/other/folder'
  others = [dataclasses.replace(run, row=None, model=None, name=f'{i} {name}') for i, run in enumerate(runs)]
  series = figure.series([*runs, *others], Results(results), 'held_out')
  root = ElementTree.fromstring(figure.draw_alone(series, f'Held-out skills and topics\nours graded by {name}'))
  width = float(root.get('viewBox').split()[2])
  said = ''
  for node in root.iter('{http://www.w3.org/2000/svg}text'):
    said += node.text
    if 'text-anchor' not in node.get('style'):  # it begins at x; a letter is about half as wide as it is high
      begin = float(node.get('x') or re.search(r'translate\(([\d.]+)', node.get('transform'))[1])
      size = float(re.search(r'([\d.]+)px', node.get('style'))[1])
      assert begin + 0.55 * size * len(node.text) <= width, node.text
  for i in range(len(others)):
    assert f'{i}{name}'.replace(' ', '') in ''.join(said.split())


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
