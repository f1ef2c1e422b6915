"""Weights to start from: a workdir, a Hugging Face folder, or the name of a repository on the Hugging Face Hub."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from skillmix_jax import workdir
from skillmix_jax.checkpoint import FOLDER, load_params, parse_reference
from skillmix_jax.data import chat, own_template, tokenizer
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.models import adapters, hf, tensor_files
from skillmix_jax.models.config import Config
from skillmix_jax.models.decoder import Decoder
from skillmix_jax.pieces import add_pieces

FILES = ['*.safetensors', '*.json', '*.jinja', tokenizer.SENTENCEPIECE_FILE]
NOT_FILES = ['consolidated*']  # the same weights a second time, under other names
HUB_ID = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
OURS = ('checkpoints', 'runs')  # folders of this project: 'checkpoints/x' is never looked up on the Hub


class Source(NamedTuple):
  """Weights that exist, and what belongs to them."""

  config: Config
  data_identity: dict[str, Any]  # template and tokenizer that they were made for, as in W/config.json
  tokenizer: Path  # its folder
  load: Callable[[Any, jax.sharding.Mesh], Any]  # takes an abstract decoder and the mesh
  files: Callable[[], dict[str, Path]]  # that hold the weights, by their names in the checkpoint's folder
  name: str  # W@step, or the folder


def open_source(reference: str) -> Source:
  """Opens `W`, `W@step`, a Hugging Face folder or `ORG/NAME`, a Hub repository, which is downloaded.

  Raises:
    InputError: there are no usable weights.
  """
  folder = Path(reference)
  if _is_hub_id(reference) or ((folder / 'config.json').is_file() and not (folder / FOLDER).is_dir()):
    return open_folder(fetch(reference), None)
  return open_workdir(*parse_reference(reference))


def open_folder(folder: Path, template: str | None) -> Source:
  """Opens a Hugging Face folder; the template is 'auto', a name, or None: then it follows from the model type.

  Raises:
    InputError: its config, weights or tokenizer are not usable.
  """
  config = hf.read_config(folder)
  encoder = tokenizer.load(folder)
  if encoder.vocab_size > config.vocab_size:
    raise InputError(
      f'{encoder.files[0]} has {encoder.vocab_size} tokens, but the embedding of the model has {config.vocab_size} '
      'rows: the two do not belong together'
    )
  template = own_template.named(template, encoder) or _template_of(config, encoder)
  identity = {
    'fingerprint': None,
    'template': chat.identity(template),
    'tokenizer': encoder.identity,
    'length': None,
  }
  files = lambda: {tensor.file.name: tensor.file for tensor in tensor_files.open_folder(folder).values()}
  return Source(config, identity, folder, lambda like, mesh: hf.load(folder, like, mesh), files, str(folder))


def _template_of(config: Config, encoder: tokenizer.Tokenizer) -> str:
  fitting = [name for name in config.family.templates if TEMPLATES[name].fits(encoder)]
  if fitting[1:] and (own := own_template.among(encoder, fitting)):
    return own
  if fitting:
    return fitting[0]
  raise InputError(
    f'{encoder.files[0]} lacks the control tokens of the chat template of {config.model_type} '
    f'({", ".join(config.family.templates)}): give the one that your dialogs are prepared with to convert --template'
  )


def open_workdir(folder: Path, step: int) -> Source:
  """Opens one checkpoint of a workdir, adapters merged into their base.

  Raises:
    InputError: its config, tokenizer or base is not usable.
  """
  saved = workdir.read_config(folder)
  load = lambda like, mesh: load_params(folder, step, like, mesh)
  weights = folder / FOLDER / str(step) / 'params'
  files = lambda: {str(path.relative_to(weights)): path for path in weights.rglob('*') if path.is_file()}
  workdir.open_tokenizer(folder, saved)
  config = workdir.saved_model(folder, saved)
  source = Source(config, saved['data_identity'], folder / 'tokenizer', load, files, f'{folder}@{step}')
  return source if config.lora is None else _merged(source, open_base(folder, saved.get('base')))


def _merged(source: Source, base: Source) -> Source:
  """The decoder that the adapters of `source` make of their base."""

  def load(like: Decoder, mesh: jax.sharding.Mesh) -> Decoder:
    trained, frozen = adapters.abstract(source.config)
    return adapters.merge(source.load(trained, mesh), base.load(frozen, mesh), like, consume=True)

  files = lambda: source.files() | {f'base/{name}': path for name, path in base.files().items()}
  return source._replace(config=dataclasses.replace(source.config, lora=None), load=load, files=files)


def name_base(reference: str) -> dict[str, str]:
  """Returns what a run of adapters records of the weights that it starts from: where they are, and which.

  Raises:
    InputError: there are no usable weights.
  """
  source = open_source(reference)
  return {'name': reference if _is_hub_id(reference) else source.name, 'fingerprint': fingerprint(source)}


def base_name(folder: Path, base: Any) -> str:
  """Returns where the weights are that the adapters in `folder` belong to; `base` is what its config.json says.

  Raises:
    InputError: it is not what `name_base` wrote: people edit it when they move weights.
  """
  match base:
    case {'name': str(name), 'fingerprint': str()}:
      return name
  raise InputError(
    f'{folder / "config.json"}: "base" must be {{"name": "W@STEP or FOLDER", "fingerprint": "16 hex digits"}}, the '
    f'weights that its adapters belong to, not {json.dumps(base)}: change its "name" alone, or put a copy in its place'
  )


def open_base(folder: Path, base: Any) -> Source:
  """Opens the weights that the adapters in `folder` belong to; `base` is of `name_base`.

  Raises:
    InputError: they are not there any more, or are others.
  """
  name = base_name(folder, base)
  remedy = f'put those weights back, or write their new place into "base", "name" of {folder / "config.json"}'
  try:
    source = open_source(name)
  except InputError as error:
    raise InputError(f'{folder} holds adapters of {name}, which cannot be opened: {remedy} ({error})') from None
  there = fingerprint(source)
  if there != base['fingerprint']:
    held = base['fingerprint']
    raise InputError(f'{folder} holds adapters of the weights {held}, but {name} now has {there}: {remedy}')
  return source


def fingerprint(source: Source) -> str:
  """Returns 16 hex digits that tell weights apart: a copy has the same, another training or export another.

  Of each file the name, the size and a few pieces are read, the first and the last bytes among them, so that 50 GB
  take no time. Ends alone would not do: in bfloat16 the norms, which often come last, hardly move in a fine-tuning.
  """
  digest = hashlib.sha256()
  for name, path in sorted(source.files().items()):
    size = path.stat().st_size
    digest.update(f'{name}\n{size}\n'.encode())
    add_pieces(digest, path, size)
  return digest.hexdigest()[:16]


def is_here(reference: str) -> bool:
  """Says whether a folder of that name exists or the Hub may have it."""
  return Path(re.sub(r'@\d+$', '', reference)).is_dir() or _is_hub_id(reference)


def _is_hub_id(reference: str) -> bool:
  return bool(HUB_ID.fullmatch(reference)) and not Path(reference).exists() and reference.split('/')[0] not in OURS


def fetch(reference: str) -> Path:
  """Returns the folder of a model: `reference` itself, or the download of the Hub repository of that name.

  The cache of huggingface_hub is used, and so are its variables: HF_HOME, HF_TOKEN, HF_HUB_OFFLINE=1.

  Raises:
    InputError: there is no such folder or repository, or it cannot be reached.
  """
  if Path(reference).is_dir():
    return Path(reference)
  if not _is_hub_id(reference):
    raise InputError(f'{reference} is neither a folder nor the name of a Hub repository (ORG/NAME)')
  import huggingface_hub
  from huggingface_hub import errors

  try:
    return Path(huggingface_hub.snapshot_download(reference, allow_patterns=FILES, ignore_patterns=NOT_FILES))
  except errors.GatedRepoError:
    raise InputError(
      f'{reference} is gated: accept its licence on https://huggingface.co/{reference}, then run `hf auth login` '
      'or set HF_TOKEN'
    ) from None
  except errors.RepositoryNotFoundError:
    raise InputError(
      f'{reference} is neither a folder here nor a repository on the Hub (a private one needs `hf auth login`)'
    ) from None
  except errors.LocalEntryNotFoundError:
    raise InputError(
      f'{reference} is not in the cache of huggingface_hub and the Hub cannot be reached (is HF_HUB_OFFLINE set?): '
      f'download it where there is internet with `hf download {reference}`, and copy HF_HOME or give the folder'
    ) from None
  except (errors.HTTPError, errors.XetDownloadError, OSError) as error:
    raise InputError(f'{reference} could not be downloaded: {error}') from None
