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


def decide(found: Sequence[Contrast], runs: Sequence[GradedRun], refusal: str = '') -> list[Contrast]:
  """Decides as `contrasts.decide`; where a run has several graders, each grader's contrasts are corrected apart.

  A verdict that has to hold under each grader (an intersection-union test, Berger 1982, Technometrics 24:295) needs no
  correction for their number.
  """
  folders = {run.name: run.folder or run.name for run in runs}
  if len(set(folders.values())) == len(runs):
    return contrasts.decide(found, refusal)
  graders = {run.name: run.asked for run in runs}
  under: dict[str, list[Contrast]] = defaultdict(list)
  for one in found:
    under[graders[one.a]].append(one)
  decided = [one for group in under.values() for one in contrasts.decide(group, refusal)]
  questions = [(folders[one.a], folders[one.b], one.setting, one.k, one.metric) for one in decided]
  return _agreed(decided, questions, [graders[one.a] for one in decided])


def decide_over_seeds(decided: Mapping[str, Sequence[OverSeeds]]) -> dict[str, list[OverSeeds]]:
  """Does the same for recipes; what was decided comes by grader, and is returned so."""
  flat = [one for group in decided.values() for one in group]
  graders = [grader for grader, group in decided.items() for _ in group]
  agreed = iter(_agreed(flat, [(one.setting, one.k, one.metric) for one in flat], graders))
  return {grader: [next(agreed) for _ in group] for grader, group in decided.items()}


def by_grader(runs: Sequence[Sequence[GradedRun]]) -> dict[str, list[GradedRun]]:
  """Returns for each grader that has marked all of these runs, each given under all its graders, the runs under it.

  If no grader has marked all of them: the runs under their first graders, which are not comparable.
  """
  found = {}
  for one in runs[0]:
    its = [next((run for run in of_path if contrasts.same_grader(one, run)), None) for of_path in runs]
    if None not in its:
      found[one.asked] = [run for run in its if run is not None]
  return found or {runs[0][0].asked: [of_path[0] for of_path in runs]}


def _agreed(decided: Sequence[Decided], questions: Sequence[Hashable], graders: Sequence[str]) -> list[Decided]:
  """Refuses verdicts on one question that differ from grader to grader; what is undecided stays so."""
  said: dict[Hashable, dict[str, str]] = defaultdict(dict)
  for one, question, grader in zip(decided, questions, graders, strict=True):
    if one.verdict != 'refused':
      said[question][grader] = one.verdict
  return [_unless_refused(one, said[question]) for one, question in zip(decided, questions)]


def _unless_refused(one: Decided, said: Mapping[str, str]) -> Decided:
  if one.verdict not in ('higher', 'lower') or len(set(said.values())) == 1:
    return one
  verdicts = ', '.join(f'{grader} says {verdict}' for grader, verdict in sorted(said.items()))
  return dataclasses.replace(one, verdict='refused', reason=f'the graders do not agree: {verdicts}')
