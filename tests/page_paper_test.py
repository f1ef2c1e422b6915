"""The paper's numbers on the page: each at its address, ours beside them, and what the grader alone changes."""

import dataclasses

import pytest
from helpers import page_fixtures as fixtures
from helpers.page_fixtures import BASE, plain, with_cell

from evals import page
from evals.page import beside_paper, figure, graders, novelty, view
from evals.questions.printed import Results
from evals.results import statistics, terminal
from evals.results.cells import Estimate


def _cell(table, heading, row, kind, column):
  block = next(block for block in table.blocks if block.heading == heading)
  lines = next(one for one in block.rows if one.name == row).lines
  return next(line for line in lines if line.kind == kind).numbers[column]


def _section(runs, results, title):
  return next(section for section in beside_paper.paper_sections(runs, results) if section.title == title)


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
  changed = [with_cell(run, 'train', 3, n=120, best=best) if run.row == 'D(1,2,3)' else run for run in runs]
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
  shown = plain(page.render(without, results, title='t'))
  assert f'The untouched {BASE} graded by {fixtures.GRADER} with the same settings is not among the runs' in shown
  assert 'nothing it graded is comparable with the paper' in shown
  assert 'difference, no anchor' in shown
  assert 'is not among the runs' not in plain(page.render(runs, results, title='t'))


def test_an_anchor_of_another_grader_is_no_anchor(runs, results):
  base = fixtures.with_metrics(runs[0], grader='another')
  assert graders.missing_anchors([base, runs[1]], [base, runs[1]]) == [
    f'The untouched {BASE} graded by {fixtures.GRADER} with the same settings is not among the runs: the offset '
    'of this grader is unknown, and nothing it graded is comparable with the paper.'
  ]


OTHERWISE = {'prompt': 'grade_claude', 'length': 'grader', 'name_filter': False, 'student_params': {'top_p': 0.5}}


@pytest.mark.parametrize('other', [{name: value} for name, value in OTHERWISE.items()], ids=list(OTHERWISE))
def test_an_anchor_that_was_sampled_or_marked_otherwise_is_no_anchor(other, runs):
  assert graders.anchor(runs[1], runs) is runs[0]
  assert graders.anchor(runs[1], [fixtures.with_metrics(runs[0], **other), *runs[1:]]) is None
  once = fixtures.with_cell(runs[0], 'all', 4, num_generations=1)
  assert graders.anchor(runs[1], [once, *runs[1:]]) is None


def test_runs_without_common_skills_stand_in_table_6_alone(runs, results):
  rare = [fixtures.with_metrics(run, exclude_skills=('sarcasm',)) for run in runs]
  sections = {section.title: section.has_run for section in beside_paper.paper_sections(rare, Results(results))}
  assert sections == {f'Table{name}': name == ' 6' for name in ('s 1 and 10', 's 3 and 11', ' 4', ' 5', ' 6')}
  assert view.labels(rare)[2] == 'D(1,2,3), common skills removed'


def test_a_catalog_of_ones_own_gets_no_paper_number(results):
  shown = plain(page.render(fixtures.toy_world(num=3), results, title='t'))
  assert 'nothing is compared with the paper' in shown
  for word in ('gpt-4', 'Table 4', 'offset', 'Figure 2'):
    assert word not in shown
  assert 'Graded by exact (n = 3 a cell' in shown


# ---- students that the paper does not have ------------------------------------------------------------------------


def _other(run, name, **metrics):
  """The run, as one of a student that the paper does not have."""
  return dataclasses.replace(fixtures.with_metrics(run, **metrics), name=name, row=None, model=None, contrasts=())


def test_another_student_gets_rows_of_its_own_and_no_number_of_the_paper(runs, results):
  printed = Results(results)
  mine = _other(runs[1], 'eval-mine-D1', student='checkpoint:runs/mine-D1@4000')
  every = [*runs, mine]
  with_it, without = (beside_paper.paper_sections(some, printed) for some in (every, runs))
  for section, usual in zip(with_it, without):
    has_it = section.title == 'Tables 1 and 10'
    for table, before in zip(section.tables, usual.tables):
      for block, rows in zip(table.blocks, before.blocks):
        assert block.rows[: len(rows.rows)] == rows.rows, 'the rows of the paper changed'
        more = block.rows[len(rows.rows) :]
        assert [(row.name, [line.kind for line in row.lines]) for row in more] == [('eval-mine-D1', ['ours'])] * has_it
  assert _cell(with_it[0].tables[0], 'held-out skills and topics', 'eval-mine-D1', 'ours', 2).value == (
    runs[1].cells['held_out', 3].best['ratio_of_full_marks'].mean
  )
  alone = plain(page.render([mine], results, title='t'))
  assert 'they get rows of their own beside the paper’s' in alone
  assert 'eval-mine-D1: of no student of the paper' in alone
  rare = _other(runs[1], 'eval-mine-D1', exclude_skills=('sarcasm',))
  assert all(not section.has_run for section in beside_paper.paper_sections([rare], printed))


def test_a_hosted_student_has_a_line_as_gpt_4_has(runs, results):
  hosted = _other(runs[2], 'first', student='openai:gpt-9-sol')
  series = figure.series([*runs, hosted], Results(results), 'held_out')
  assert [one.label for one in series] == [BASE, 'D(1)', 'D(1,2,3)', 'gpt-9-sol']
  assert not series[3].paper and [point[1] for point in series[3].ours] == [
    hosted.cells['held_out', k].best['ratio_of_full_marks'].mean for k in fixtures.KS
  ]
  shown = plain(page.render([*runs, hosted], results, title='t'))
  assert 'printed nowhere; gpt-9-sol is a hosted student, as GPT-4 is there.' in shown
  assert 'hosted student' not in plain(page.render(runs, results, title='t'))


# ---- appendix E.2 -------------------------------------------------------------------------------------------------


def test_the_line_of_e2_is_told_for_the_papers_students_and_ours(runs, results):
  assert novelty.novelty_table(runs, Results(results)) is None
  # ours 30 of 120: Wilson [.181, .334] by hand, so .14 [.07, .22] beyond the line
  best = runs[2].cells['train', 5].best | {'ratio_of_full_marks': Estimate(0.25, statistics.wilson(0.25, 120))}
  rare = [with_cell(fixtures.with_metrics(run, exclude_skills=('x',)), 'train', 5, n=120, best=best) for run in runs]
  table = novelty.novelty_table(rare, Results(results))
  assert table.columns == ['train', 'held-out', 'all']
  lines = {row.name: row.lines for row in table.blocks[0].rows}
  beyond = lines['D(1,2,3), common skills removed'][1].numbers[0]
  assert beyond.value == pytest.approx(0.14) and beyond.excludes_zero
  assert beyond.interval == pytest.approx((0.0711, 0.2243), abs=1e-3)
  # what appendix E.2 says of table 6: both beyond 15 % on training skills, 6 % on all skills does not reach it
  for name in ('LLaMA D(1,2,3,4) (the paper)', 'Mistral D(1,2,3,4) (the paper)'):
    numbers, differences = lines[name][0].numbers, lines[name][1].numbers
    assert numbers[0].value > 0.15 and differences[0].value > 0
    assert numbers[2].value == 0.06 and differences[2].value == pytest.approx(-0.05)
  assert 'Appendix E.2: beyond 11 %' in plain(page.render(rare, results, title='t'))


def test_the_terminal_tells_the_line_of_e2(runs, capsys):
  one = Estimate(0.25, statistics.wilson(0.25, 120))
  run = with_cell(fixtures.with_metrics(runs[2], exclude_skills=('x',)), 'train', 5, best={'ratio_of_full_marks': one})
  terminal.print_run('rare', run.metrics, '')
  said = capsys.readouterr().out
  assert 'full marks at k=5 against the 11% of appendix E.2: train .25 [.18, .33] beyond it, ' in said
  terminal.print_run('all', runs[2].metrics, '')
  assert 'E.2' not in capsys.readouterr().out
