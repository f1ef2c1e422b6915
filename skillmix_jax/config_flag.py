"""What is wrong with --config on a command line, in the words of the user and not of a library."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from skillmix_jax.errors import InputError

NOT_CONFIGS = ('__init__', 'common', 'graders')
KINDS = {bool: 'True or False', int: 'a whole number', float: 'a number'}
BOOLEANS = ('true', 't', '1', 'false', 'f', '0')


def explain(argv: Sequence[str], flag: str) -> str | None:
  """Returns a line about the first mistake in --`flag` or a --`flag`.KEY of `argv`; None where neither is to blame."""
  given = _values(argv, flag)
  if not given:
    return None
  reference = given.pop('', '')
  if not reference:
    return f'--{flag}.{next(iter(given))} comes without --{flag}=FILE: {_example(flag)}' if given else missing(flag)
  try:
    config = flags.FLAGS[flag].parser.parse(reference)
    config.to_dict()  # type: ignore[union-attr]  # a file that cannot be opened says so only now
  except Exception as error:  # whatever the user's file raises
    return _about_file(flag, reference, _innermost(error))
  leaves = _leaves(config)
  return next(filter(None, (_about_key(flag, config, leaves, *item) for item in given.items())), None)


def _about_file(flag: str, reference: str, reason: BaseException) -> str:
  path, _, argument = reference.partition(':')
  where = f'--{flag}={reference}'
  if not Path(path).is_file():
    return f'{where}: there is no such file{_meant(path)}'
  if argument and isinstance(reason, TypeError) and 'get_config() takes 0' in str(reason):
    return f'{where}: {path} takes no argument, leave out :{argument}'
  if isinstance(reason, AttributeError) and 'get_config' in str(reason):
    return f'{where}: {path} is not a config: it has no function get_config'
  if isinstance(reason, SyntaxError):
    return f'{where}: {path} is no Python file ({reason.msg}, line {reason.lineno})'
  return f'{where}: {reason if isinstance(reason, InputError) else f"{type(reason).__name__} in it, {reason}"}'


def missing(flag: str) -> str:
  """Returns the message for a command line without --`flag`."""
  return f'--{flag}=FILE is missing: {_example(flag)}'


def _example(flag: str) -> str:
  return flags.FLAGS[flag].help or 'give a config file'


def _values(argv: Sequence[str], flag: str) -> dict[str, str | None]:
  """Returns KEY -> value of each --flag.KEY=value, '' for --flag itself; None where the value is missing."""
  values: dict[str, str | None] = {}
  rest = list(argv[1:])
  while rest:
    match = re.fullmatch(rf'--?(?:no)?{flag}(?:\.([^=]+))?(?:=(.*))?', rest.pop(0), re.DOTALL)
    if match:
      value = match[2]
      if value is None and rest and not rest[0].startswith('-'):
        value = rest.pop(0)
      values[match[1] or ''] = value
  return values


def _leaves(config: ConfigDict) -> list[str]:
  """Lists the names of all keys, with their groups."""
  names = []
  for name in config:
    value = config.get(name)
    names += [f'{name}.{leaf}' for leaf in _leaves(value)] if isinstance(value, ConfigDict) else [name]
  return names


def _about_key(flag: str, config: ConfigDict, leaves: list[str], key: str, value: str | None) -> str | None:
  name = re.sub(r'\[.*', '', key)
  group = [leaf for leaf in leaves if leaf.startswith(name + '.')]
  if group:
    return f'--{flag}.{key} is a group: set one of {", ".join(group)}'
  if name not in leaves:
    return f'--{flag}.{key}: there is no such key; nearest is --{flag}.{_nearest(name, leaves)}'
  default, kind = _default(config, name)
  if value is None:
    return None if kind is bool else f'--{flag}.{key} has no value, give --{flag}.{key}={default}'
  wrong = value.lower() not in BOOLEANS if kind is bool else kind in (int, float) and not _is_number(value, kind)
  if wrong:
    return f'--{flag}.{key}={value} must be {KINDS[kind]}, as in --{flag}.{key}={default}'
  return None


def _default(config: ConfigDict, name: str) -> tuple[Any, type]:
  *groups, last = name.split('.')
  for group in groups:
    config = config[group]
  kind = config.get_type(last)
  value = config.get(last)
  return (value if value is not None else {int: 1, float: 1.0}.get(kind, 'VALUE')), kind


def _is_number(value: str, kind: type) -> bool:
  try:
    kind(value)
  except ValueError:
    return value.lower() == 'none'
  return True


def _nearest(name: str, leaves: list[str]) -> str:
  """Guesses the key that was meant: the one with the same initials (lr), else the one most alike."""
  group, _, last = name.rpartition('.')
  initials = [leaf for leaf in leaves if ''.join(word[0] for word in leaf.rpartition('.')[2].split('_')) == last]
  same_group = [leaf for leaf in initials if leaf.startswith(group)]
  if same_group or initials:
    return (same_group or initials)[0]
  alike = lambda leaf: max(
    difflib.SequenceMatcher(None, name, leaf).ratio(),
    difflib.SequenceMatcher(None, last, leaf.rpartition('.')[2]).ratio(),
  )
  return max(leaves, key=alike)


def _meant(path: str) -> str:
  folder = Path(path).parent if any(Path(path).parent.glob('*.py')) else Path('configs')
  there = sorted(str(file) for file in folder.glob('*.py') if file.stem not in NOT_CONFIGS)
  close = difflib.get_close_matches(path, there, 1, 0.6)
  if close:
    return f'; did you mean {close[0]}?'
  return f'; there are {", ".join(there)}' if there else '; run this where the folder configs is'


def _innermost(error: BaseException) -> BaseException:
  """Returns the error that a library wrapped, without its traceback."""
  while (inner := error.__cause__ or error.__context__) is not None:
    error = inner
  return error
