"""evals.paper --table=1 from nothing, at the paper's scale: 25,000 texts to choose from and 39,600 to grade."""

import re

from paper_test import check_against_dry_run, command, numbers
from student_config_test import MINE


def test_table_1_from_an_empty_folder_costs_what_dry_run_says(tmp_path):
  out, modules, checked = check_against_dry_run(1, tmp_path)
  rest = [*['select'] * 3, *['prepare', 'train'] * 3, *['sample', 'grade'] * 4, 'report']
  assert modules == ['convert', 'sample', 'grade', *rest]
  assert checked['evals.sample', True][0] == 50_000 and checked['evals.grade', True][0] == 75_000
  assert checked['evals.sample', False][0] == 19_800 and checked['evals.grade', False][0] == 29_700
  grader = next(line for line in out.splitlines() if line.startswith('  grader: '))
  assert numbers(grader)[0] == 75_000 + 4 * 29_700


def test_figure_2_and_another_student_are_printed(tmp_path):
  where = (f'--runs={tmp_path}/runs', f'--data={tmp_path}/data')
  out = command('evals.paper', '--figure=2', '--student=openai:gpt-6.1-sol', *where)
  assert out.startswith('Figure 2 of the paper\n')
  assert re.search(
    r'a hosted student +openai:gpt-6.1-sol +hosted +\S+/runs/eval-gpt-6.1-sol \(missing\) +0 of 3,300 ', out
  )
  (tmp_path / 'mine.py').write_text(MINE)
  out = command('evals.paper', '--table=10', f'--student_config={tmp_path}/mine.py', '--gpus=1xH200', *where)
  assert out.startswith(f'Table 10 of the paper, for the student of {tmp_path}/mine.py: rows of its own\n')
  assert re.search(r'mine D\(1,2\) +\S+mine.py:D12 +step 0 of 4,000 ', out) and ' h on 1xH200' in out
