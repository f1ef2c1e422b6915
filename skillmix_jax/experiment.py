"""What a config and a workdir say together, resolved before anything is compiled: shared by the commands that train."""

import dataclasses
import sys
from pathlib import Path

import jax
from ml_collections import ConfigDict

from skillmix_jax import workdir
from skillmix_jax.checkpoint import steps_in
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import Data, open_data
from skillmix_jax.errors import InputError
from skillmix_jax.models import attention
from skillmix_jax.models.config import Config
from skillmix_jax.pretrained import is_here, name_base, open_source

COMPUTATION = ('dtype', 'remat', 'attention', 'lora')  # of model.*: how it is computed and trained, not its shape


def default_workdir(config_flag: str) -> Path:
  """Turns configs/llama13b.py:D12 into runs/llama13b-D12."""
  path, _, argument = config_flag.partition(':')
  return Path('runs') / '-'.join(filter(None, (Path(path).stem, argument)))


def check_numbers(config: ConfigDict):
  """Raises InputError for a config of another command, and for a number that makes no sense by itself."""
  flat = workdir.flatten(config.to_dict())
  at_least_1 = ('steps', 'accumulation', 'log_every', 'checkpoint.every', 'held_out.every')
  at_least_0 = ('data.dialogs', 'data.text_rows', 'held_out.rows', 'sample_every')
  for name in (*at_least_1, *at_least_0, 'model.init_from', 'mesh.fsdp', 'loss.kind', 'optimizer.name'):
    if name not in flat:
      raise InputError(f'--config is not a training config: it has no key {name}: take one such as configs/tiny.py')
  for name in (*at_least_1, *at_least_0):
    smallest = int(name in at_least_1)
    if flat[name] < smallest:
      raise InputError(f'{name}={flat[name]} must be at least {smallest}')
  if config.data.dialogs + config.data.text_rows == 0:
    raise InputError('data.dialogs=0 and data.text_rows=0: a step needs rows')
  if config.sample_every and not config.sample_prompts:
    raise InputError(f'sample_every={config.sample_every} needs prompts: give --config.sample_prompts=P.jsonl')


def open_inputs(config: ConfigDict, folder: Path) -> Data:
  """Opens the data of a run, when its weights exist as well.

  Raises:
    InputError: something is missing; the line names all the commands that make it, in their order.
  """
  path, reference = config.data.path, config.model.init_from
  if not path:
    raise InputError('data.path is not set: give --config.data.path=DATA, a folder written by skillmix_jax.prepare')
  way = config.get('made_by') or {'weights': '', 'data': '', 'before': ''}
  missing, commands = [], []
  if reference in way['weights'] and reference and not is_here(reference) and not steps_in(folder):
    missing.append(reference)
    commands.append(way['weights'])
  if way['data'].endswith(f'--out={path}') and not Path(path).exists():
    missing.append(path)
    commands.append(way['data'])
  if not missing:
    data = open_data(path)
    check_packing(config, data)
    return data
  steps = ' && '.join(commands)
  before = f' ({way["before"]})' if way['before'] and path in missing else ''
  raise InputError(f'not here yet: {", ".join(missing)}. First run: {steps}; then this command again{before}')


def check_packing(config: ConfigDict, data: Data):
  """Raises InputError where rows have room for several dialogs and the config gives each a row of its own."""
  if data.row_length > data.length and not config.data.packing:
    raise InputError(
      f'{data.path} is prepared with rows of {data.row_length} tokens for dialogs of at most {data.length}: give '
      '--config.data.packing=True, so that dialogs share rows, or prepare it without --row_length'
    )


def make_mixture(config: ConfigDict, data: Data) -> Mixture:
  """Makes the batches of a run, without the rows of padding that its devices need."""
  return Mixture(
    data, seed=config.seed, dialogs=config.data.dialogs, text_rows=config.data.text_rows,
    packing=config.data.packing, steps=config.steps,
  )  # fmt: skip


def model_config(config: ConfigDict, data: Data, folder: Path) -> Config:
  """Returns the decoder of this run: its shape from model.init_from, else from the config and the data.

  A run that goes on in `folder` has its shape there: what it once started from need not exist any more.
  """
  model = config.model.to_dict()
  reference = model.pop('init_from')
  model['attention'], note = attention.choose(model['attention'], jax.default_backend(), data.length, model['dtype'])
  if note and jax.process_index() == 0:
    print(note, file=sys.stderr, flush=True)
  if reference:
    if steps_in(folder):
      saved = workdir.read_config(folder)
      shape, identity = workdir.saved_model(folder, saved), saved['data_identity']
    else:
      source = open_source(reference)
      shape, identity = source.config, source.data_identity
    workdir.check_same_data(reference, identity, data.manifest, ('tokenizer', 'template'))
    cfg = of_weights(model, shape, reference)
    if data.vocab_size > cfg.vocab_size or data.length > cfg.max_positions:
      raise InputError(
        f'{reference} has {cfg.vocab_size} tokens and {cfg.max_positions} positions, but the data in '
        f'{config.data.path} has {data.vocab_size} tokens and --length={data.length}: prepare it again to fit'
      )
    return cfg
  model['vocab_size'] = data.vocab_size if model['vocab_size'] is None else model['vocab_size']
  model['max_positions'] = data.length if model['max_positions'] is None else model['max_positions']
  if data.vocab_size > model['vocab_size'] or data.length > model['max_positions']:
    raise InputError(
      f'model.vocab_size={model["vocab_size"]} and model.max_positions={model["max_positions"]} are too small for '
      f'the data: {data.vocab_size} tokens, --length={data.length}; leave them out and the data decides'
    )
  cfg = Config(**model)
  if cfg.lora is not None:
    raise InputError(f'model.lora.rank={cfg.lora.rank} trains beside weights that exist: give model.init_from')
  if not steps_in(folder):
    cfg.check_family()
  return cfg


def of_weights(model: dict, shape: Config, reference: str) -> Config:
  """Returns the shape of the weights that `reference` names, computed as the config's keys `model` say.

  Raises:
    InputError: the config gives another shape; a key that is None leaves it to the weights.
  """
  known = dataclasses.asdict(shape)
  for name, value in model.items():
    if name not in COMPUTATION and value is not None and value != known[name]:
      theirs = known[name]
      raise InputError(
        f'model.{name}={value}, but the weights of {reference} have {theirs}: give --config.model.{name}={theirs}, or '
        'other weights'
      )
  return dataclasses.replace(shape, **{name: model[name] for name in COMPUTATION})


def rows_of_step(needed: int, devices: int, accumulation: int) -> int:
  """Rows of a batch, padding included: equally many for each of the devices that rows are split over, in each piece.

  Raises:
    InputError: there are fewer rows than devices.
  """
  if devices > needed:
    raise InputError(
      f'mesh.data * mesh.fsdp = {devices} devices, but a step has only {needed} rows: '
      'raise data.dialogs or data.text_rows, or give devices to mesh.tensor'
    )
  piece = devices * accumulation
  return -(-needed // piece) * piece


def resolve(config: ConfigDict, cfg: Config, data: Data, folder: Path) -> dict:
  """Returns what W/config.json records: config, model's shape, identity of the data, how held-out rows are chosen, and
  the frozen weights that adapters belong to.

  A run of an earlier version that goes on in `folder` keeps its held-out rows, the first of each source.
  """
  resolved = config.to_dict() | {'data_identity': workdir.data_identity(data.manifest)}
  resolved['model'] = {'init_from': config.model.init_from} | dataclasses.asdict(cfg)
  if steps_in(folder):
    saved = workdir.read_config(folder)
    chosen, base = saved.get('held_out', {}).get('chosen', 'first'), saved.get('base')
  else:
    chosen, base = 'spread', name_base(config.model.init_from) if cfg.lora else None
  resolved['held_out'] |= {'chosen': chosen}
  return resolved if base is None else resolved | {'base': base}
