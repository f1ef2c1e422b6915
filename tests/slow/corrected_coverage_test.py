"""95 % intervals of corrected marks cover as they say in simulated audits; docs/guides/evaluate.md has the figures."""

import pytest
from helpers import simulated_audits as simulated

ROUNDS = 400
CASES = {
  'a sheet of 100': (100, 0.92, 0.85, {}),
  'a sheet of 200': (200, 0.92, 0.85, {}),
  'a good grader': (100, 0.97, 0.96, {}),
  'a bad grader': (100, 0.8, 0.7, {}),
  'one text a combination': (100, 0.92, 0.85, {'generations': 1}),
  'few combinations': (100, 0.92, 0.85, {'num': 30}),
}


@pytest.mark.parametrize('case', CASES)
def test_intervals_cover(case):
  n, sensitivity, specificity, arguments = CASES[case]
  found, width = simulated.coverage(ROUNDS, n, lambda *_: sensitivity, lambda *_: specificity, **arguments)
  print(f'{case:24}', {name: f'{found[name]:.3f}, width {width[name]:.3f}' for name in found})
  assert 0.93 <= found['run'] <= 0.985
  assert 0.93 <= found['cells'] <= 0.985
  assert 0.93 <= found['rogan_gladen'] <= 0.985


def test_a_grader_that_errs_otherwise_in_each_cell_misleads_rogan_gladen_alone():
  harder = lambda setting, k: 0.95 if k == 2 else 0.6
  found, _ = simulated.coverage(ROUNDS, 200, harder, lambda *_: 0.85)
  print({name: f'{found[name]:.3f}' for name in found})
  assert found['cells'] >= 0.93 and found['run'] >= 0.93 and found['rogan_gladen'] < 0.85
