"""Verdicts under several graders of the same texts: there is only one where all of them give it."""

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from evals.results import contrasts
from evals.results.contrasts import Contrast
from evals.results.graded import GradedRun
from evals.results.over_seeds import OverSeeds

Decided = TypeVar('Decided', Contrast, OverSeeds)


def decide(differences: Sequence[Contrast], runs: Sequence[GradedRun], refusal: str = '') -> list[Contrast]:
  """Decides as `contrasts.decide`; where a run has several graders, each grader's contrasts are corrected apart.

  A verdict that has to hold under each grader (an intersection-union test, Berger 1982, Technometrics 24:295) needs no
  correction for their number.
  """
  folders = {run.name: run.folder or run.name for run in runs}
  if len(set(folders.values())) == len(runs):
    return contrasts.decide(differences, refusal)
  graders = {run.name: run.asked for run in runs}
  under: dict[str, list[Contrast]] = defaultdict(list)
  for contrast in differences:
    under[graders[contrast.a]].append(contrast)
  decided = [contrast for group in under.values() for contrast in contrasts.decide(group, refusal)]
  questions = [
    (folders[contrast.a], folders[contrast.b], contrast.setting, contrast.k, contrast.metric) for contrast in decided
  ]
  return _agreed(decided, questions, [graders[contrast.a] for contrast in decided])


def decide_over_seeds(decided: Mapping[str, Sequence[OverSeeds]]) -> dict[str, list[OverSeeds]]:
  """Does the same for recipes; what was decided comes by grader, and is returned so."""
  flat = [result for group in decided.values() for result in group]
  graders = [grader for grader, group in decided.items() for _ in group]
  agreed = iter(_agreed(flat, [(result.setting, result.k, result.metric) for result in flat], graders))
  return {grader: [next(agreed) for _ in group] for grader, group in decided.items()}


def by_grader(runs: Sequence[Sequence[GradedRun]]) -> dict[str, list[GradedRun]]:
  """Returns for each grader that has marked all of these runs, each given under all its graders, the runs under it.

  If no grader has marked all of them: the runs under their first graders, which are not comparable.
  """
  shared = {}
  for first in runs[0]:
    its = [next((run for run in of_path if contrasts.same_grader(first, run)), None) for of_path in runs]
    if None not in its:
      shared[first.asked] = [run for run in its if run is not None]
  return shared or {runs[0][0].asked: [of_path[0] for of_path in runs]}


def _agreed(decided: Sequence[Decided], questions: Sequence[Hashable], graders: Sequence[str]) -> list[Decided]:
  """Refuses verdicts on one question that differ from grader to grader; what is undecided stays so."""
  said: dict[Hashable, dict[str, str]] = defaultdict(dict)
  for result, question, grader in zip(decided, questions, graders, strict=True):
    if result.verdict != 'refused':
      said[question][grader] = result.verdict
  return [_unless_refused(result, said[question]) for result, question in zip(decided, questions)]


def _unless_refused(result: Decided, said: Mapping[str, str]) -> Decided:
  if result.verdict not in ('higher', 'lower') or len(set(said.values())) == 1:
    return result
  verdicts = ', '.join(f'{grader} says {verdict}' for grader, verdict in sorted(said.items()))
  return dataclasses.replace(result, verdict='refused', reason=f'the graders do not agree: {verdicts}')
