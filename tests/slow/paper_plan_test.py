"""evals.paper --table=1 from nothing, at the paper's scale: 25,000 texts to choose from and 39,600 to grade."""

from paper_test import check_against_dry_run, numbers


def test_table_1_from_an_empty_folder_costs_what_dry_run_says(tmp_path):
  out, modules, checked = check_against_dry_run(1, tmp_path)
  rest = [*['select'] * 3, *['prepare', 'train'] * 3, *['sample', 'grade'] * 4, 'report']
  assert modules == ['convert', 'sample', 'grade', *rest]
  assert checked['evals.sample', True][0] == 50_000 and checked['evals.grade', True][0] == 75_000
  assert checked['evals.sample', False][0] == 19_800 and checked['evals.grade', False][0] == 29_700
  grader = next(line for line in out.splitlines() if line.startswith('  grader: '))
  assert numbers(grader)[0] == 75_000 + 4 * 29_700
