"""Where the things of a row are: its config, workdir, data, dialogs and run. Nothing here touches a folder."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from evals.paper.experiments import MODELS, Row
from evals.paper.gpu_hours import Gpus
from skillmix_jax.models.config import PRESETS, Config


@dataclasses.dataclass(frozen=True)
class Place:
  """Where things are, and who is asked (None: not chosen yet), at which tier."""

  runs: Path
  data: Path
  student: str | None
  grader: str | None
  second_grader: str | None
  gpus: Gpus
  tier: str = 'standard'


def paper_row(row: Row) -> str:
  """Names the row as config.paper_row does: 'LLaMA-2-13B-Chat D(1,2)'."""
  return f'{MODELS[row.config].name} {row.name}'.rstrip()


def config_of(row: Row) -> Any:
  """Returns the config that a row is trained with."""
  module = importlib.import_module(f'configs.{row.config}')
  return module.get_config(row.data) if row.data else module.get_config()


def shape(row: Row) -> Config:
  """Returns the shape of the row's model."""
  return PRESETS[MODELS[row.config].preset]


def workdir(place: Place, row: Row) -> Path:
  """Returns the folder that a row is trained in."""
  return place.runs / f'{row.config}-{row.data}'


def student_of(place: Place, row: Row) -> str:
  """Names the student: the fine-tuned model at its last step, or the converted one."""
  config = config_of(row)
  return f'checkpoint:{workdir(place, row)}@{config.steps}' if row.data else f'checkpoint:{config.model.init_from}'


def reached(folder: Path) -> int | None:
  """Returns the last step of which a workdir has a checkpoint; None where it has none."""
  steps = [int(entry.name) for entry in (folder / 'checkpoints').glob('*') if entry.name.isdigit()]
  return max(steps, default=None)


def is_trained(place: Place, row: Row) -> bool:
  """Says whether the last step exists."""
  return (reached(workdir(place, row)) or 0) >= config_of(row).steps


def prepared(place: Place, row: Row) -> Path:
  """Returns the folder of a row's prepared data."""
  return place.data / f'{MODELS[row.config].template}-{row.data}'


def dialogs(place: Place, name: str) -> Path:
  """Returns the path of a file of dialogs."""
  return place.data / f'{name}.jsonl'


def evaluated(place: Place, row: Row, suffix: str = '') -> Path:
  """Returns the folder of a row's run."""
  return place.runs / f'eval-{row.config}-{row.data or "base"}{suffix}'
