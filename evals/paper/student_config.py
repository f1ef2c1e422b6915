"""A student that the paper does not have: its config, read as the commands read it, and the shape of its model."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evals.paper.experiments import MODELS, TABLES, TRAINING, Row, main_table
from skillmix_jax.errors import InputError
from skillmix_jax.models.config import PRESETS, Config

_LEFT_TO_WEIGHTS = ('vocab_size', 'max_positions')  # the rest of a shape has to be there to say which model it is
_NO_SHAPE = ('dtype', 'remat', 'attention', 'lora')  # keys of config.model that say how it is computed and trained
_MADE_BY = {  # what the two commands have in them
  'weights': ('skillmix_jax.convert',),
  'data': ('skillmix_jax.prepare', '--dialogs=', '--rows=', '--length=', '--out='),
}


def load(path: str) -> Callable[..., Any]:
  """Returns get_config of a config file.

  Raises:
    InputError: there is no such file, or it is no config.
  """
  if not Path(path).is_file() or not path.endswith('.py'):
    raise InputError(f'--student_config={path} is not a file of Python, such as configs/llama13b.py')
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    raise InputError(f'--student_config={path} cannot be read: {type(error).__name__}: {error}') from None
  if not hasattr(module, 'get_config'):
    raise InputError(f'--student_config={path} has no get_config: take one such as configs/llama13b.py')
  return module.get_config


def shape_of(model: Mapping[str, Any], path: str) -> Config:
  """Returns the shape that the keys `model` of a config give; a published one says what they leave to the weights.

  Adapters are part of it, since they say what trains.

  Raises:
    InputError: they are not enough.
  """
  names = {field.name for field in dataclasses.fields(Config)} - set(_NO_SHAPE)
  given = {name: value for name, value in model.items() if name in names and value is not None}
  needed = [field.name for field in dataclasses.fields(Config) if field.default is dataclasses.MISSING]
  lacking = [name for name in needed if name not in given]
  if set(lacking) <= set(_LEFT_TO_WEIGHTS):
    for preset in PRESETS.values():
      if given.items() <= dataclasses.asdict(preset).items():
        return dataclasses.replace(preset, lora=model.get('lora'))
  if lacking:
    raise InputError(
      f'{path}: model.{lacking[0]} is not set, and no model of skillmix_jax/models/config.py (PRESETS) is like it: '
      'set it in the file, so that its weights can be counted'
    )
  return Config(**given, lora=model.get('lora'))


def rows(path: str, table: int) -> tuple[Row, ...]:
  """Returns the rows of the main table for the student of a config file, once the file has all that a plan needs.

  Raises:
    InputError: it has not, it is of the paper's own student, or the table is another one.
  """
  if TABLES[table] != TABLES[1]:
    raise InputError(f'--student_config={path} plans table 1 (or 10) for this student, not table {table}')
  get_config, stem = load(path), Path(path).stem
  if stem in MODELS:
    mine = next(number for number, rows in TABLES.items() if rows == main_table(stem))
    raise InputError(f'--student_config={path} is a student of the paper: --table={mine} without it')
  found = main_table(path)
  for row in found:
    try:
      config = get_config(row.data) if row.data else get_config()
      made_by = config.made_by
      is_complete = config.model.init_from and all(word in made_by[key] for key in _MADE_BY for word in _MADE_BY[key])
      why = ''
    except Exception as error:  # whatever a file of the user's does
      is_complete, why = False, f' ({type(error).__name__}: {error})'
    if not is_complete:
      raise InputError(
        f'--student_config={path}{why}: a plan needs a config as configs/llama13b.py is, with model.init_from, the '
        f'commands made_by.weights and made_by.data, and the argument {row.data or "D123"} of {", ".join(TRAINING)}'
      )
  return found
