"""What all commands share: help that teaches, and bad input that ends in one line and exit code 2."""

import errno
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from skillmix_jax import config_flag as config_flags
from skillmix_jax.errors import BAD_INPUT, INTERRUPTED, PREEMPTED, InputError
from skillmix_jax.hidden_characters import visible

# What libraries that are not Python's own say as well, inside of errors of their own
_DISK_FULL = os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)

STORED = 'what came is stored; run the same command again and it does only what is missing'


def _fail(message: object):
  print('error: ' + visible(' '.join(str(message).split())), file=sys.stderr)
  sys.exit(BAD_INPUT)


def _without_repr(error: Exception) -> str:
  """Returns what an error about a flag says, without what only users of Python can read."""
  text = str(error)
  if isinstance(error, KeyError):
    text = str(error.args[0])
  text = re.sub(
    r"invalid literal for int\(\) with base 10: '(.*)'$", r'\1 is not a whole number', text, flags=re.DOTALL
  )
  text = re.sub(r"could not convert string to float: '(.*)'$", r'\1 is not a number', text, flags=re.DOTALL)
  text = re.sub(
    r"\('Non-boolean argument to boolean flag', '?(.*?)'?\)$", r'\1 is not True or False', text, flags=re.DOTALL
  )
  return re.sub(r'\[Errno \d+\] ', '', text)


def _ignore_late_callbacks(unraisable):
  """Ignores what tensorstore calls in an event loop that a failed save or read has closed; the failure itself is
  raised.
  """
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def _help(main_module) -> str:
  own_flags = flags.FLAGS.module_help(main_module)
  return f'{inspect.getdoc(main_module)}\n\n{own_flags}'


def stop_on_sigterm():
  """Makes SIGTERM end a command that stores as it goes, with the code that tells launchers to run it again."""
  signal.signal(signal.SIGTERM, _stop)


def _stop(number, frame):
  print(f'SIGTERM: {STORED}', file=sys.stderr, flush=True)
  sys.exit(PREEMPTED)


_read: list[str] = []  # what `read_flags` left of the command line: the command's name, where it was called


def read_flags(config_flag: str | None = None):
  """Reads the command line; --help and every mistake in it end the command here, with 0 or with a line and code 2.

  A command calls it above its imports where these take seconds, else `run` does. `config_flag` names a config flag
  whose file and overrides are read too, since a wrong key raises only when something first looks at the value.
  """
  app.define_help_flags()
  _read[:] = _parse(sys.argv, config_flag)


def _parse(argv: Sequence[str], config_flag: str | None) -> list[str]:
  if any(argument in ('--help', '-h', '--helpfull') for argument in argv):
    print(_help(sys.modules['__main__']))
    sys.exit(0)
  mistake = None
  try:
    rest = flags.FLAGS(argv)
    for name in flags.FLAGS:
      if (value := flags.FLAGS[name].value) != value:  # NaN, which is inside of any bounds
        raise InputError(f'--{name}={value} is not a number')
    if config_flag is not None:
      config = flags.FLAGS[config_flag].value
      if config is None:
        raise InputError(config_flags.missing(config_flag))
      config.to_dict()  # a config that could not be loaded says so only when it is read
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, ImportError, SyntaxError) as error:
    mistake = error
  if mistake is not None:
    _fail((config_flag and config_flags.explain(argv, config_flag)) or _without_repr(mistake))
  if len(rest) > 1:
    _fail(f'unexpected argument {rest[1]!r}: every option starts with --, see --help')
  return rest


def run(main: Callable[[], int | None], config_flag: str | None = None):
  """Runs a command; `main` reads its flags from absl and returns an exit code (None: 0).

  `InputError` from `main`, every mistake on the command line and a full disk become one line on stderr and exit
  code 2. Other exceptions are bugs and keep their traceback. `config_flag`: see `read_flags`.
  """

  def guarded(argv: Sequence[str]):
    del argv  # _parse refused leftovers
    sys.unraisablehook = _ignore_late_callbacks
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.FATAL)  # libraries narrate every file, and log what they raise as well
    try:
      return main()
    except InputError as error:
      _fail(error)
    except KeyboardInterrupt:
      stores = signal.getsignal(signal.SIGTERM) is _stop
      print(f'Ctrl-C: {STORED}' if stores else 'interrupted', file=sys.stderr)
      sys.exit(INTERRUPTED)
    except Exception as error:
      if not any(text in str(error) for text in _DISK_FULL):
        raise
      said = str(error).split(' [tensorstore_spec')[0]
      _fail(f'{said}: free some space and run the same command again')

  app.run(guarded, flags_parser=lambda argv: _read or _parse(argv, config_flag))
