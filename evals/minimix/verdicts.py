"""Whether a difference holds over seeds: exact sign flips decide, Student's t is beside them."""

import dataclasses

import numpy as np

from evals.minimix.studies import Comparison, Study
from evals.minimix.tally import Ratios
from evals.results import statistics
from evals.results.statistics import Interval

ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Finding:
  """One comparison over seeds.

  Attributes:
    comparison: what is compared.
    differences: of the two arms' Ratios of Full Marks, by seed.
    ci95: Student's interval of the mean difference; nan for a single seed.
    p_student: two-sided, of the same.
    p_exact: two-sided, of all signs.
    p_holm: `p_exact` corrected over the study.
    verdict: holds, the reverse holds, undecided; or why none can be given.
  """

  comparison: Comparison
  differences: dict[int, float]
  ci95: Interval
  p_student: float
  p_exact: float
  p_holm: float = 1.0
  verdict: str = ''

  @property
  def mean(self) -> float:
    return float(np.mean(list(self.differences.values())))


def find(ratios: Ratios, study: Study) -> list[Finding]:
  """Every comparison of the study for which some seed has both arms."""
  findings = []
  for comparison in study.comparisons:
    cell = comparison.setting, comparison.k
    ours, theirs = (ratios.get(arm, {}).get(cell, {}) for arm in (comparison.arm, comparison.other))
    if differences := {seed: ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs}:
      values = list(differences.values())
      findings.append(Finding(comparison, differences, *statistics.student(values), statistics.exact_sign_flip(values)))
  absent = [1.0] * (len(study.comparisons) - len(findings))  # what was planned is corrected for, run or not
  corrected = statistics.holm([finding.p_exact for finding in findings] + absent)
  return [
    dataclasses.replace(finding, p_holm=p, verdict=_verdict(finding, p, study))
    for finding, p in zip(findings, corrected)
  ]


def _verdict(finding: Finding, p_holm: float, study: Study) -> str:
  planned = sum(seed in finding.differences for seed in study.seeds)
  if planned < len(study.seeds):
    return f'none: {planned} of {len(study.seeds)} planned seeds'
  if 2 ** (1 - planned) > ALPHA:
    return 'described only'
  if p_holm > ALPHA:
    return 'undecided'
  return 'holds' if finding.mean > 0 else 'the reverse holds'
