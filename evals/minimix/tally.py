"""The toy experiment's results as rows of a small table, so that what is published can be computed without training.

Which questions count is decided here, from the files of a seed: at k = 2 and 3 of the training skills only sets of
skills that no dialog asks for.
"""

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from evals.minimix import echo_gate, shown
from evals.minimix.studies import Arm, Study
from evals.replies.run import open_run
from evals.results import comparable, graded, training_data
from evals.results.contrasts import values
from skillmix_jax import metrics
from skillmix_jax.errors import InputError
from skillmix_jax.files import write_output

FULL_MARKS, TEXT_LOSS, ECHO, SECONDS = 'full_marks', 'text_loss', 'echo', 'seconds'
SETTINGS = ('train', 'no_pair_seen', 'held_out')  # as tables order them

Cell = tuple[str, int]
Ratios = Mapping[str, Mapping[Cell, Mapping[int, float]]]  # arm -> cell -> seed -> Ratio of Full Marks


@dataclasses.dataclass(frozen=True, order=True)
class Row:
  """A number of one seed.

  Attributes:
    study, seed, arm: which model; no arm: the seed as a whole.
    metric: full_marks: questions of the cell that got them; text_loss: on held-out text, nats a token; echo: prompts
      that a base answered exactly; seconds: that a seed took.
    setting, k: of a cell; no_pair_seen: triples of training skills no two of which share a sentence of a dialog.
    n: questions or prompts, 0 for a loss and seconds.
  """

  study: str
  seed: int
  arm: str
  metric: str
  setting: str
  k: int
  n: int
  value: float


_COLUMNS = [field.name for field in dataclasses.fields(Row)]


def of_seed(path: Path, study: Study, seconds: int | None = None) -> list[Row]:
  """The rows of one seed's folder, as examples/minimix.sh makes it; raises InputError where no run is graded."""
  runs = {key: path / arm.folder / 'evals' / arm.name for key, arm in study.arms.items()}
  runs = {key: run for key, run in runs.items() if (run / 'config.json').is_file()}
  if not runs:
    raise InputError(f'{path} has no graded run of the study {study.name}: make one with examples/minimix.sh')
  seed = open_run(next(iter(runs.values()))).settings.seed
  worlds = {folder: _World(path / folder / 'world') for folder in {study.arms[key].folder for key in runs}}
  by_arm = {key: graded.load(run, key) for key, run in runs.items()}
  first = next(iter(by_arm.values()))
  if odd := next(filter(None, (comparable.refusal(run, first, but=('catalog',)) for run in by_arm.values())), None):
    raise InputError(f'{path}: {odd}')
  rows = []
  for key, run in by_arm.items():
    arm = study.arms[key]
    marks = values(run, 'ratio_of_full_marks')
    asked = Counter(cell for question in marks for cell in worlds[arm.folder].cells(question))
    full = Counter(cell for question, mark in marks.items() if mark for cell in worlds[arm.folder].cells(question))
    rows += [Row(study.name, seed, key, FULL_MARKS, *cell, n, full[cell]) for cell, n in asked.items()]
    rows += [Row(study.name, seed, key, *more) for more in _of_model(path, arm)]
  if seconds:
    rows.append(Row(study.name, seed, '', SECONDS, '', 0, 0, seconds))
  return rows


class _World:
  """Which cells a question belongs to."""

  def __init__(self, folder: Path):
    dialogs = sorted((folder / 'dialogs').glob('d?.jsonl'))
    self._asked = training_data.read([str(path) for path in dialogs]).skill_sets
    self._sharing = shown.sharing(dialogs)

  def cells(self, question: tuple) -> Iterable[Cell]:
    setting, k, names, _ = question
    if k == 1 or frozenset(names) not in self._asked:
      yield setting, k
      if setting == 'train' and k == 3 and not shown.pairs(names) & self._sharing.keys():
        yield 'no_pair_seen', k


def _of_model(path: Path, arm: Arm) -> Iterable[tuple]:
  """(metric, setting, k, n, value) of a training."""
  further = path / arm.folder / 'runs' / f'{arm.name}-more'  # of a base that was trained on
  workdir = further if further.exists() else path / arm.folder / 'runs' / arm.name
  losses = [row.get('held_out_loss_text') for row in metrics.read_rows(workdir / metrics.METRICS)]
  if measured := [loss for loss in losses if loss is not None]:
    yield TEXT_LOSS, '', 0, 0, round(measured[-1], 4)
  prompts, answers = path / arm.folder / 'world' / 'base' / 'echo.jsonl', workdir / 'echo.jsonl'
  if answers.exists():
    exact, n = echo_gate.count_exact(prompts, answers)
    yield ECHO, '', 0, n, exact


def read(path: Path) -> list[Row]:
  """Raises InputError with FILE:LINE."""
  rows = []
  lines = csv.reader(path.read_text(encoding='utf-8').splitlines())
  if next(lines, None) != _COLUMNS:
    raise InputError(f'{path}: the first line must be {",".join(_COLUMNS)}')
  for number, line in enumerate(lines, 2):
    try:
      study, seed, arm, metric, setting, k, n, value = line
      rows.append(Row(study, int(seed), arm, metric, setting, int(k), int(n), float(value)))
    except ValueError as error:
      raise InputError(f'{path}:{number}: {error}') from None
  return rows


def write(path: Path, rows: Iterable[Row]):
  """In the order of their columns."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(_COLUMNS)
  for row in sorted(rows):
    writer.writerow([f'{x:g}' if isinstance(x, float) else x for x in dataclasses.astuple(row)])
  write_output('table', path, file.getvalue())


def ratios(rows: Iterable[Row]) -> Ratios:
  """Of one study; raises InputError where two arms of a seed were not asked as many questions."""
  by_arm: dict[str, dict[Cell, dict[int, float]]] = {}
  asked: dict[tuple, Row] = {}
  for row in rows:
    if row.metric == FULL_MARKS:
      first = asked.setdefault((row.seed, row.setting, row.k), row)
      if row.n != first.n:
        cell = f'seed {row.seed}, {row.setting}, k={row.k}'
        raise InputError(f'{cell}: {row.arm} has {row.n} questions and {first.arm} {first.n}: grade both completely')
      by_arm.setdefault(row.arm, {}).setdefault((row.setting, row.k), {})[row.seed] = row.value / row.n
  return by_arm
