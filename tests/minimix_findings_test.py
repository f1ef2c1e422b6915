"""Tests over seeds, what a verdict needs, and that the published tables follow from the published numbers."""

from pathlib import Path

import pytest
from scipy import stats

from evals.minimix import answer, findings, shown, tally, verdicts
from evals.minimix.studies import APART, MAIN, STUDIES
from evals.minimix.tally import FULL_MARKS, Row
from evals.results import statistics
from skillmix_jax.errors import InputError

ROOT = Path(__file__).parent.parent


def rows(study, counts, setting='train', k=4, n=100):
  """{arm: full marks by planned seed}."""
  return [
    Row(study.name, seed, arm, FULL_MARKS, setting, k, n, count)
    for arm, of_arm in counts.items() for seed, count in zip(study.seeds, of_arm)
  ]  # fmt: skip


def test_sign_flips_of_few_seeds_are_tried_completely():
  assert statistics.exact_sign_flip([0.1] * 8) == 2 / 2**8
  assert statistics.exact_sign_flip([0.1, -0.1]) == statistics.exact_sign_flip([0, 0, 0]) == 1
  differences = [0.3, 0.1, -0.05, 0.2, 0.02]
  result = stats.permutation_test(
    (differences,), lambda x, axis: x.mean(axis), permutation_type='samples', vectorized=True, n_resamples=10**6
  )
  assert statistics.exact_sign_flip(differences) == pytest.approx(result.pvalue)
  with pytest.raises(ValueError, match='21'):
    statistics.exact_sign_flip([1.0] * 21)


def test_six_comparisons_of_eight_seeds_can_be_decided_and_any_of_four_seeds_cannot():
  assert (
    len(MAIN.seeds) == 8 and len(MAIN.comparisons) * 2 / 2**8 <= verdicts.ALPHA < (len(MAIN.comparisons) + 1) / 2**7
  )
  table = []
  for setting, k in {(c.setting, c.k) for c in MAIN.comparisons}:
    table += rows(MAIN, {'D1': [1] * 8, 'D12': [10] * 8, 'D123': range(20, 28)}, setting, k)
  decided = verdicts.find(tally.ratios(table), MAIN)
  assert [finding.verdict for finding in decided] == ['holds'] * 6
  assert {finding.p_holm for finding in decided} == {6 * 2 / 2**8}
  four = rows(APART, {'D1': [0] * 4, 'D123': [90, 91, 92, 93]}, 'held_out', 3)
  assert [finding.verdict for finding in verdicts.find(tally.ratios(four), APART)] == ['described only']


def test_a_verdict_needs_the_sign_and_the_planned_seeds():
  def find(arm, other):
    found = verdicts.find(tally.ratios(rows(MAIN, {'D123': arm, 'D1': other})), MAIN)
    return next(finding for finding in found if finding.comparison.k == 4)

  assert find([30] * 8, range(8)).verdict == 'holds'
  assert find(range(8), [30] * 8).verdict == 'the reverse holds'
  assert find([30] * 7 + [0], [5] * 8).verdict == 'undecided'
  assert find([30] * 7, [5] * 8).verdict == 'none: 7 of 8 planned seeds'


def test_students_test_is_scipys():
  table = rows(MAIN, {'D123': [50, 62, 71], 'D1': [1, 0, 3]})
  finding = verdicts.find(tally.ratios(table), MAIN)[0]
  test = stats.ttest_rel([0.50, 0.62, 0.71], [0.01, 0, 0.03])
  interval = test.confidence_interval(0.95)
  assert finding.p_student == pytest.approx(test.pvalue) and finding.ci95 == pytest.approx(
    (interval.low, interval.high)
  )


def test_a_table_is_read_as_it_was_written_and_a_wrong_line_is_named(tmp_path):
  path = tmp_path / 'table.csv'
  written = [*rows(MAIN, {'D1': range(8)}), Row('main', 20, 'D1', tally.TEXT_LOSS, '', 0, 0, 1.4437)]
  tally.write(path, written)
  assert tally.read(path) == sorted(written)
  path.write_text(path.read_text() + 'main,20,D1\n')
  with pytest.raises(InputError, match=r'table\.csv:11'):
    tally.read(path)


def test_arms_that_were_asked_other_questions_are_not_compared():
  with pytest.raises(InputError, match='seed 20, train, k=4'):
    tally.ratios(rows(MAIN, {'D1': [1]}) + rows(MAIN, {'D123': [1]}, n=99))


def test_the_answer_says_how_many_seeds_it_rests_on_and_each_verdict_once():
  cells = {(c.setting, c.k) for c in MAIN.comparisons}
  counts = {'D1': [1] * 8, 'D12': range(8), 'D123': range(20, 28)}
  table = [row for cell in cells for row in rows(MAIN, counts, *cell)]
  said = answer.sentences(table)
  for whole in (said, answer.brief(table)):
    assert 'all 6 planned comparisons hold by an exact test' in whole.replace('\n', ' ')
  assert 'Pairs alone, D(1,2), give .04 with three' in said.replace('\n', ' ')  # (0 + ... + 7) / 8 = 3.5 of 100
  few = answer.sentences([row for row in table if row.seed < 25])
  assert '5 of 8 planned seeds' in few and 'holds' not in few
  alike = answer.sentences([row for cell in cells for row in rows(MAIN, counts | {'D12': [1] * 8}, *cell)])
  assert 'holds: ' in alike and 'undecided: ' in alike
  assert all(alike.replace('\n', ' ').count(c.what) == 1 for c in MAIN.comparisons)
  assert answer.table(table)[-1] == '| D(1,2,3) | - | .24 | .24 | .24 | - | .24 | - | - |'  # (20 + ... + 27) / 8 = 23.5


def test_the_published_tables_follow_from_the_published_numbers():
  published = tally.read(ROOT / 'docs' / 'results' / 'minimix.csv')
  for path, blocks in (('docs/results/minimix.md', [*STUDIES, 'answer', 'short']), ('README.md', ['brief', 'short'])):
    page = (ROOT / path).read_text()
    assert all(f'<!-- findings: {name} -->' in page for name in blocks)
    assert findings.fill(page, published) == page


def test_unseen_is_what_no_sentence_holds(tmp_path):
  (tmp_path / 'a.jsonl').write_text(
    '{"messages": [{"role": "user", "content": "all sailors never saw boats."},'
    ' {"role": "assistant", "content": "all sailors never truly saw boats. sailors saw boats like a river."}]}\n'
    '{"text": "sailing: all sailors saw boats like a river."}\n'
    '{"text": "negation: denies it. for example, sailors never saw boats with a bang."}\n'
  )
  counts = shown.sharing([tmp_path / 'a.jsonl'])
  expected = ['universal negation', 'universal emphasis', 'negation emphasis', 'universal negation emphasis']
  expected += ['universal simile', 'negation onomatopoeia']
  assert counts == dict.fromkeys((frozenset(names.split()) for names in expected), 1)
