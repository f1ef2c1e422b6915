"""Where the things of a row are: its config, workdir, data, dialogs and run. Nothing here touches a folder."""

import dataclasses
import functools
import importlib
import shlex
from pathlib import Path
from typing import Any

from evals.paper.experiments import MODELS, Row
from evals.paper.gpu_hours import Gpus
from evals.paper.student_config import load, shape_of
from skillmix_jax.models.config import Config


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


def model_name(row: Row) -> str:
  """Names the row's base model: as the paper does, or as its config is called."""
  return MODELS.get(row.config, Path(row.config).stem)


def row_title(row: Row) -> str:
  """Names the row: 'LLaMA-2-13B-Chat D(1,2)'."""
  return f'{model_name(row)} {row.name}'.rstrip()


def paper_row(row: Row) -> str:
  """Names the row as config.paper_row does; '' where it is no row of the paper."""
  return row_title(row) if row.config in MODELS else ''


def config_file(row: Row) -> str:
  """Returns the config as --config takes it."""
  return f'configs/{row.config}.py' if row.config in MODELS else row.config


@functools.cache
def _config(config: str, data: str) -> Any:
  get_config = importlib.import_module(f'configs.{config}').get_config if config in MODELS else load(config)
  return get_config(data) if data else get_config()


def config_of(row: Row) -> Any:
  """Returns the config that a row is trained with."""
  return _config(row.config, row.data)


def shape(row: Row) -> Config:
  """Returns the shape of the row's model."""
  return shape_of(config_of(row).model.to_dict(), config_file(row))


def preparation(row: Row) -> list[str]:
  """Returns the words of the command that prepares the row's data, as its config has them."""
  return shlex.split(config_of(row).made_by.data)


def length(row: Row) -> int:
  """Returns the tokens of a row of its data."""
  return int(next(word for word in preparation(row) if word.startswith('--length=')).partition('=')[2])


def workdir(place: Place, row: Row) -> Path:
  """Returns the folder that a row is trained in."""
  return place.runs / f'{Path(row.config).stem}-{row.data}'


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
  return place.data / Path(config_of(row).data.path).name


def dialogs(place: Place, name: str) -> Path:
  """Returns the path of a file of dialogs."""
  return place.data / f'{name}.jsonl'


def evaluated(place: Place, row: Row, suffix: str = '') -> Path:
  """Returns the folder of a row's run."""
  return place.runs / f'eval-{Path(row.config).stem}-{row.data or "base"}{suffix}'


def evaluated_hosted(place: Place) -> Path:
  """Returns the folder of the run of a hosted student, who writes the training data as well."""
  name = (place.student or 'openai:STUDENT').partition(':')[2]
  return place.runs / f'eval-{name.replace("/", "-")}'
