"""How far people agree with the grader, and with each other, on the texts that they marked blind."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from evals.questions import catalog as catalogs
from evals.questions.settings import from_config
from evals.replies.run import read_config
from evals.results import corrected, statistics
from evals.results.corrected import Corrections
from evals.results.sheets import CRITERIA, Key, Marked, grader_marks, read_grades, read_sheet
from evals.results.statistics import Interval
from skillmix_jax.errors import InputError

RESAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Kappa:
  """How far two agree on one criterion.

  Attributes:
    n: points that both marked.
    agreement: share of equal ones.
    kappa: Cohen's; None where both always gave the same one point.
    ci95: of kappa, a bootstrap over texts.
  """

  n: int
  agreement: float | None = None
  kappa: float | None = None
  ci95: Interval | None = None


@dataclasses.dataclass(frozen=True)
class MarkerPair:
  """A person and the grader, or two people, criterion by criterion."""

  a: str
  b: str
  criteria: Mapping[str, Kappa]


@dataclasses.dataclass(frozen=True)
class Audit:
  """What RUN/audit.json holds: each person against the grader, then each two people.

  Attributes:
    corrections: of the run's marks; None where an earlier version wrote the file.
  """

  run: str
  grader: str
  texts: int
  people: Sequence[str]
  criteria: Sequence[str]
  pairs: Sequence[MarkerPair]
  corrections: Corrections | None = None

  def to_json(self) -> dict[str, Any]:
    """Returns what RUN/audit.json holds."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Self:
    """Reads what RUN/audit.json holds."""
    pairs = [MarkerPair(pair['a'], pair['b'], _agreements(pair['criteria'])) for pair in row['pairs']]
    known = row.get('corrections')
    return cls(**dict(row) | {'pairs': pairs, 'corrections': Corrections.from_json(known) if known else None})


def read_audit(path: Path) -> Audit | None:
  """Reads RUN/audit.json; None where nobody audited.

  Raises:
    InputError: it is not what `to_json` wrote.
  """
  if not path.is_file():
    return None
  try:
    return Audit.from_json(json.loads(path.read_text(encoding='utf-8')))
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise InputError(f'{path} is damaged ({error}): delete it, or run evals.audit --sheets again') from None


def _agreements(row: Mapping[str, Any]) -> dict[str, Kappa]:
  return {
    name: Kappa(of['n'], of['agreement'], of['kappa'], of['ci95'] and Interval(*of['ci95'])) for name, of in row.items()
  }


def compare(a: Mapping[Key, Marked], b: Mapping[Key, Marked], seed: int) -> dict[str, Kappa]:
  """Computes the agreement on what both marked, for each criterion."""
  shared = sorted(a.keys() & b.keys())
  agreements = {}
  for criterion in CRITERIA:
    texts = []
    for key in shared:
      pairs = [(x, y) for x, y in zip(a[key][criterion], b[key][criterion]) if x is not None and y is not None]
      texts += [pairs] if pairs else []
    points = list(itertools.chain(*texts))
    agreements[criterion] = Kappa(0)
    if points:
      kappa = _finite(statistics.cohen_kappa(*zip(*points)))
      equal = sum(x == y for x, y in points) / len(points)
      interval = _interval(texts, seed) if kappa is not None else None
      agreements[criterion] = Kappa(len(points), equal, kappa, interval)
  return agreements


def _finite(value: float | None) -> float | None:
  return None if value is None or not np.isfinite(value) else float(value)


def _interval(texts: Sequence[Sequence[tuple[int, int]]], seed: int) -> Interval | None:
  """Returns 95 % of kappa when texts (not points: those of a text belong together) are drawn again, from counts per
  text.
  """
  counts_Tc = np.array([np.bincount([2 * x + y for x, y in pairs], minlength=4) for pairs in texts])
  drawn_RT = np.random.default_rng(seed).integers(len(texts), size=(RESAMPLES, len(texts)))
  both_no, b_only, a_only, both = np.moveaxis(counts_Tc[drawn_RT].sum(1) / 1.0, -1, 0)
  total = both_no + b_only + a_only + both
  equal = (both_no + both) / total
  chance = ((both + a_only) * (both + b_only) + (both_no + a_only) * (both_no + b_only)) / total**2
  kappas = (equal - chance)[chance < 1] / (1 - chance[chance < 1])
  return Interval(*map(float, np.quantile(kappas, (0.025, 0.975)))) if len(kappas) else None


def audit(run: Path, sheets: Sequence[Path], seed: int) -> Audit:
  """Compares each person with the grader, then each two people; corrects the run's marks by what all of them say."""
  grades, catalog = read_grades(run), catalogs.load(run / 'catalog')
  settings = from_config(read_config(run)['settings'])
  names = [path.stem for path in sheets]
  for name in names:
    if names.count(name) > 1 or name == 'grader':
      raise InputError(f'--sheets: two are named {name!r}: the name of a file is the name of the person')
  people = {path.stem: read_sheet(path, grades) for path in sheets}
  keys = set().union(*people.values())
  graders = sorted({grades[key].grader for key in keys})
  given = {key: points for key in keys if (points := grader_marks(grades[key]))}
  pairs = [MarkerPair(name, 'grader', compare(marked, given, seed)) for name, marked in people.items()]
  for (a, of_a), (b, of_b) in itertools.combinations(people.items(), 2):
    pairs.append(MarkerPair(a, b, compare(of_a, of_b, seed)))
  truth = corrected.full_marks_of(list(people.values()), grades, catalog, settings)
  corrections = corrected.correct(list(grades.values()), truth, seed)
  return Audit(run.resolve().name, ', '.join(graders), len(keys), names, CRITERIA, pairs, corrections)
