"""Runs every command with wrong values of every flag; tests/helpers/flag_walk.py FOLDER [quick] writes what each said.

One process imports what is slow; each command line runs in a fork of it. Flags are read from absl, commands are the
modules that call command.run, keys of a config those of the config that the flag's help names.
"""

import contextlib
import json
import os
import pkgutil
import re
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import jax  # noqa: F401 (slow to import: once)
import ml_collections
from absl import flags

import evals
import skillmix_jax
from skillmix_jax import command, experiment  # noqa: F401

# Modules of ours as absl names them: those that are imported, and the one that is run
OURS = ('skillmix_jax.', 'evals.', *(package.__path__[0] for package in (skillmix_jax, evals)))
SECONDS = 60  # of one command line
CONFIGS = ('nowhere.py', 'configs', 'configs/tiny.py:FOO', 'configs/eval_paper.py:FOO', 'configs/llama13b.py:FOO',
           'configs/tiny.py', 'configs/eval_paper.py', 'configs/graders.py')  # fmt: skip


def commands() -> list[str]:
  """Modules that can be run with python -m."""
  names = []
  for package in (skillmix_jax, evals):
    for module in pkgutil.iter_modules(package.__path__, f'{package.__name__}.'):
      path = Path(package.__path__[0], *module.name.split('.')[1:])
      source = path / '__main__.py' if module.ispkg else path.with_suffix('.py')
      if source.is_file() and re.search(r'^ *command\.run\(', source.read_text(), re.MULTILINE):
        names.append(module.name)
  return names


def wrong_values(flag: flags.Flag) -> tuple[str, ...]:
  kind = flag.flag_type()
  if kind == 'config object':
    return CONFIGS
  return ('FOO', '-7', 'nan', '9' * 30) if kind in ('int', 'float') else ('FOO', '', 'a/b/é')


def command_lines(own: list[str], quick: bool) -> Iterator[list[str]]:
  """Each flag alone, then with the others given; `quick`: one wrong value of each, and of each tenth key."""
  texts = [name for name in own if flags.FLAGS[name].flag_type() == 'string']
  for name in own:
    flag = flags.FLAGS[name]
    if not quick:
      yield [f'--{name}']
      yield [f'--{name}x=1']
    for value in wrong_values(flag)[: 1 if quick else None]:
      if not quick:
        yield [f'--{name}={value}']
      yield [*(f'--{other}=nowhere' for other in texts if other != name), f'--{name}={value}']
    if flag.flag_type() == 'config object':
      example = re.search(r'configs/\w+\.py', flag.help)[0]
      config = runpy.run_path(example)['get_config']()
      for key in keys(config)[:: 10 if quick else 1]:
        yield [f'--{name}={example}', f'--{name}.{key}x=1', *(f'--{other}=nowhere' for other in texts)]
        yield [f'--{name}={example}', f'--{name}.{key}=FOO', *(f'--{other}=nowhere' for other in texts)]


def keys(config, prefix='') -> list[str]:
  """Leaves of a config."""
  names = []
  for name in config:
    value = config.get(name)
    nested = isinstance(value, ml_collections.ConfigDict)
    names += keys(value, f'{prefix}{name}.') if nested else [prefix + name]
  return names


def in_fork(run, seconds: int = 0) -> int:
  """Exit code of `run` in a fork, which may take so long; 0: as long as it likes."""
  child = os.fork()
  if not child:
    signal.alarm(seconds)
    code = 70
    try:
      run()
      code = 0
    except SystemExit as error:
      code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
      sys.excepthook(*sys.exc_info())
    finally:
      with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
      os._exit(code or 0)
  return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def say(name: str, arguments: list[str], start, results: int):
  """Runs one command line in a fork and writes what it said as a line of JSON."""
  with open('stderr.txt', 'w+') as errors, open(os.devnull, 'r+') as nothing:

    def run():
      os.dup2(errors.fileno(), 2)
      os.dup2(nothing.fileno(), 1)
      os.dup2(nothing.fileno(), 0)
      sys.argv = [name, *arguments]
      start()

    code = in_fork(run, SECONDS)
    errors.seek(0)
    row = {'command': name, 'arguments': arguments, 'code': code, 'said': errors.read()}
  os.write(results, (json.dumps(row) + '\n').encode())


def walk(name: str, results: int, quick: bool):
  """All command lines of one command."""
  before = set(flags.FLAGS)
  originals = command.read_flags, command.run
  read = []  # what the command asks for above its slow imports: it is asked for in each fork, after them

  def run(main, config_flag=None):
    command.read_flags, command.run = originals

    def start():
      for asked in read:
        command.read_flags(*asked)
      command.run(main, config_flag)

    ours = lambda flag: flags.FLAGS.find_module_defining_flag(flag).startswith(OURS)
    for arguments in command_lines(sorted(filter(ours, set(flags.FLAGS) - before)), quick):
      say(name, arguments, start, results)

  command.read_flags, command.run = lambda *asked: read.append(asked), run
  sys.argv = [name]
  runpy.run_module(name, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  os.chdir(sys.argv[1])
  sys.path.insert(0, os.getcwd())
  descriptor = os.open('results.jsonl', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  for each in commands():
    if in_fork(lambda: walk(each, descriptor, quick='quick' in sys.argv)):  # noqa: B023 (runs before the next)
      sys.exit(f'{each} could not be walked')
