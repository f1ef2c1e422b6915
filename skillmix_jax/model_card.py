"""README.md of an export: what the model is, and how it was made."""

import shlex
from pathlib import Path

from skillmix_jax import workdir
from skillmix_jax.checkpoint import parse_reference
from skillmix_jax.data.tokenizer_export import BREAK, CUT
from skillmix_jax.errors import InputError
from skillmix_jax.metrics import read_rows

RECIPE = ('seed', 'steps', 'accumulation', 'deterministic', 'data', 'loss', 'optimizer', 'mesh')


def ancestors(init_from: str) -> list[str]:
  """Lists what a run started from, what that started from, and so on, as far as the folders exist."""
  chain: list[str] = []
  while init_from and init_from not in chain:
    chain.append(init_from)
    try:
      folder, _ = parse_reference(init_from)
      init_from = workdir.read_config(folder)['model']['init_from']
    except InputError:
      break
  return chain


def render(folder: Path, step: int, dtype: str, template: str, library: str = 'transformers') -> str:
  """Writes the card of the checkpoint of one step of the run in `folder`; `library` opens what is exported."""
  config = workdir.read_config(folder)
  bases = ancestors(config['model']['init_from'])
  starts = workdir.read_starts(folder)
  rows = [row for row in read_rows(folder / 'metrics.jsonl') if row['step'] <= step]
  metrics = {name: value for row in rows for name, value in row.items()}
  recipe = workdir.flatten({name: config[name] for name in RECIPE if name in config})
  marks = ', '.join(' '.join(f'U+{ord(c):04X}' for c in mark) for mark in (BREAK, CUT))
  lines = [
    '---', f'library_name: {library}', 'pipeline_tag: text-generation', '---', '',
    f'# {folder.name}, step {step}', '',
    f'Written by skillmix_jax in {dtype}. Started from: {", then ".join(bases[::-1]) or "random weights"}.', '',
    f'- data fingerprint: {config["data_identity"]["fingerprint"] or "none, the weights were not trained here"}',
    f'- architecture: {config["model"]["model_type"]}, chat template: {template}',
    *_adapters(config),
    *(f'- skillmix_jax at git {start["git_sha"]}, {_list(start["packages"])}' for start in starts[-1:]), '',
    '## Command', '', '```sh', *dict.fromkeys(_command(start['command']) for start in starts), '```', '',
    '## Chat template', '',
    'The ids of `AutoTokenizer.from_pretrained(...).apply_chat_template(messages)` are those of training, also where a '
    f'text spells a control token. Only texts that contain one of the sequences {marks} get other ids.',
  ]  # fmt: skip
  for title, table in (('Recipe', recipe), ('Last metrics', metrics)):
    if table:
      lines += ['', f'## {title}', '', '| | |', '|---|---|', *(f'| {name} | {x} |' for name, x in table.items())]
  return '\n'.join(lines) + '\n'


def _adapters(config: dict) -> list[str]:
  lora = config['model'].get('lora')
  if not lora:
    return []
  return [
    f'- trained: adapters alone (LoRA, rank {lora["rank"]}, alpha {lora["alpha"]:g}) of {", ".join(lora["targets"])}, '
    f'of the weights {config["base"]["name"]} ({config["base"]["fingerprint"]})'
  ]


def _command(argv: list[str]) -> str:
  """Returns the command as it was typed; argv has a module's file instead of its name."""
  file = Path(argv[0])
  program = f'python -m skillmix_jax.{file.stem}' if file.parent.name == 'skillmix_jax' else file.name
  return shlex.join([*program.split(), *argv[1:]])


def _list(versions: dict[str, str]) -> str:
  return ', '.join(f'{name} {version}' for name, version in versions.items())
