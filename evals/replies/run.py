"""The folder of one run, complete in itself: it can be copied to another machine and graded there.

RUN/config.json         settings, the student, the catalog's fingerprint, versions
RUN/catalog/            skills, topics and prompts, as they were when the run began
RUN/combinations.jsonl  what is asked
RUN/replies/*.jsonl     the ledger: the only files that cost money
RUN/grades.jsonl, metrics.json   derived from these; rebuilt by `report`
"""

import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.files import write_json
from evals.questions import catalog as catalogs
from evals.questions import combinations
from evals.questions.combinations import Combination
from evals.questions.settings import MAY_CHANGE, Settings, from_config
from evals.replies.ledger import Ledger, Row
from skillmix_jax import __version__
from skillmix_jax.errors import InputError

ATTEMPTS = 3
MAKING = '.making'  # holds the files of a run that are not in place yet
BEFORE_A_RUN = {'.lock', 'compile_cache'}  # what may be in a folder that no run was made in yet


@dataclasses.dataclass(frozen=True)
class Student:
  """Who writes the texts.

  Attributes:
    name: as the command line said it, 'checkpoint:W' or 'openai:MODEL'.
    model: as the ledger knows it; a checkpoint has the fingerprint of its weights here.
    params: what a request carries besides messages.
    batch_size: of a checkpoint, texts that it writes at a time; None: not known, or a hosted model.
  """

  name: str
  model: str
  params: dict[str, Any]
  batch_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Run:
  """An open run; see the head of this file.

  Attributes:
    attempts: at a vote that the parser can read; then it is missing.
    gradings: what the parser made of a vote's reply: (points, ''), or (None, why it could not be read).
  """

  path: Path
  settings: Settings
  student: Student
  catalog: catalogs.Catalog
  combinations: Sequence[Combination]
  ledger: Ledger
  attempts: int = ATTEMPTS
  gradings: dict[Row, tuple[tuple[int, ...] | None, str]] = dataclasses.field(default_factory=dict)


def plan_combinations(settings: Settings, catalog: catalogs.Catalog) -> list[Combination]:
  """Draws what the settings ask for; fewer combinations where the catalog has fewer.

  Raises:
    InputError: a name, a k or the file of combinations is wrong.
  """
  exclude = catalogs.read_exclusions(settings.exclude_skills, catalog)
  if settings.combinations:
    return combinations.read(Path(settings.combinations), catalog)
  return combinations.draw(
    catalog, settings=settings.settings, ks=settings.ks, num_combinations=settings.num_combinations,
    seed=settings.seed, split=settings.split, exclude=exclude,
  )  # fmt: skip


def start(path: Path, settings: Settings, student: Student) -> Run:
  """Makes the folder, or continues it where answers of the same student to the same settings are in it.

  A folder without replies is made anew: nothing in it depends on the settings yet, and a start that was killed or ran
  out of disk may have left it half made.

  Raises:
    InputError: the folder holds another run.
  """
  run = preview(path, settings, student)
  if len(run.ledger):
    combinations.write(path / 'combinations.jsonl', run.combinations)
    write_json(path / 'config.json', _describe(settings, run.student, run.catalog))
  else:
    _make(run)
  return open_run(path)


def preview(path: Path, settings: Settings, student: Student) -> Run:
  """Returns what `start` would return, without touching the folder; raises the same errors."""
  catalog = catalogs.load(settings.catalog or None)
  plan = plan_combinations(settings, catalog)
  if settings.grading_prompt not in catalog.prompts:
    raise InputError(
      f'the catalog {catalog.name} has no prompts/{settings.grading_prompt}.txt: see --config.grading_prompt'
    )
  ledger = Ledger(path / 'replies')
  if (path / 'config.json').is_file():
    saved = read_config(path)
    if len(ledger):
      _check_continues(path, saved, settings, student, catalog, plan)
      student = dataclasses.replace(student, batch_size=saved['student'].get('batch_size') or student.batch_size)
  else:
    _check_empty(path)
  return Run(path, settings, student, catalog, plan, ledger)


def _check_empty(path: Path):
  """Raises InputError where there is something in the folder that no start has put there."""
  entries = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
  if not entries <= BEFORE_A_RUN and not entries & {MAKING, 'config.json'}:  # another process may be making it
    raise InputError(f'{path} is not empty and not a run (it has no config.json): give another --run')


def _make(run: Run):
  """Puts the files of a run that has no replies in place, config.json last: without it the folder is not a run.

  As long as RUN/.making exists, whatever else is there was put there by this function and may be replaced.
  """
  making = run.path / MAKING
  shutil.rmtree(making, ignore_errors=True)
  making.mkdir(parents=True)
  _copy_catalog(run.catalog, making / 'catalog')
  combinations.write(making / 'combinations.jsonl', run.combinations)
  write_json(making / 'config.json', _describe(run.settings, run.student, run.catalog))
  shutil.rmtree(run.path / 'catalog', ignore_errors=True)
  for name in ('catalog', 'combinations.jsonl', 'config.json'):
    os.replace(making / name, run.path / name)
  making.rmdir()


def open_run(path: Path) -> Run:
  """Reads the folder of a run.

  Raises:
    InputError: the folder is not a run, or a file in it was edited into nonsense (FILE:LINE).
  """
  config = read_config(path)
  catalog = catalogs.load(str(path / 'catalog'))
  if catalog.fingerprint != config['catalog']['fingerprint']:
    raise InputError(f'{path / "catalog"} is not what the run began with: restore it, or begin another run')
  catalog = dataclasses.replace(catalog, name=config['catalog']['name'])
  try:
    settings, student = from_config(config['settings']), Student(**config['student'])
  except TypeError:
    raise InputError(f'{path / "config.json"}: the student needs name, model and params') from None
  plan = combinations.read(path / 'combinations.jsonl', catalog)
  return Run(path, settings, student, catalog, plan, Ledger(path / 'replies'))


def read_config(path: Path) -> dict[str, Any]:
  """Reads RUN/config.json; raises InputError where it is missing or wrong."""
  file = path / 'config.json'
  try:
    config = json.loads(file.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise InputError(f'{path} is not a run: it has no config.json; evals.sample makes one') from None
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise InputError(f'{file}:{getattr(error, "lineno", 1)}: not JSON ({error})') from None
  missing = {'settings', 'student', 'catalog'} - config.keys() if isinstance(config, dict) else {'settings'}
  if missing:
    raise InputError(f'{file}: {min(missing)!r} is missing; it is not the config of a run')
  return config


def _check_continues(
  path: Path, saved: dict[str, Any], settings: Settings, student: Student, catalog: catalogs.Catalog,
  plan: list[Combination],
):  # fmt: skip
  old_student, new_student = saved['student'], dataclasses.asdict(student)
  for name in ('model', 'params'):
    if old_student.get(name) != new_student[name]:
      raise InputError(
        f'{path} holds answers of {old_student.get("name")} ({old_student.get(name)}), not of {student.name} '
        f'({new_student[name]}): give another --run'
      )
  batch_size = old_student.get('batch_size')  # runs of earlier versions have none
  if batch_size and student.batch_size not in (None, batch_size):
    raise InputError(
      f'{path} holds texts written with --batch_size={batch_size}, not {student.batch_size}: give the same, or another '
      '--run'
    )
  if saved['catalog'].get('fingerprint') != catalog.fingerprint:
    raise InputError(f'{path} was begun with another catalog than {catalog.name} is now: give another --run')
  old, new = saved['settings'], json.loads(json.dumps(settings.to_dict()))
  for name in sorted(new.keys() - MAY_CHANGE - {'catalog', 'student'}):
    if old.get(name) != new[name]:
      raise InputError(
        f'{path} holds a run with {name}={old.get(name)!r}, not {new[name]!r}: give the same value, or another --run'
      )
  before = {c.id: c for c in combinations.read(path / 'combinations.jsonl', catalog)}
  for combination in plan:
    if before.get(combination.id, combination) != combination:
      raise InputError(f'{path} has another combination {combination.id!r} than is asked for now: give another --run')


def _describe(settings: Settings, student: Student, catalog: catalogs.Catalog) -> dict[str, Any]:
  return {
    'settings': settings.to_dict(),
    'student': dataclasses.asdict(student),
    'catalog': {'name': catalog.name, 'fingerprint': catalog.fingerprint},
    'versions': {'skillmix_jax': __version__},
    'written': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
  }


def _copy_catalog(catalog: catalogs.Catalog, to: Path):
  (to / 'prompts').mkdir(parents=True)
  for name in ('skills.json', 'topics.json', catalogs.IN_ANY_TEXT):
    if (catalog.folder / name).is_file():
      shutil.copyfile(catalog.folder / name, to / name)
  for name, text in catalog.prompts.items():
    (to / 'prompts' / f'{name}.txt').write_bytes(text.encode())
