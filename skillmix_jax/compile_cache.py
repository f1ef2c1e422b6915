"""Where compiled programs are kept for the next start."""

import os
import platform
from pathlib import Path

import jax


def default_folder() -> Path:
  """Returns this user's folder; programs for a CPU get a folder for each machine, since another may lack its
  instructions.
  """
  cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
  backend = jax.default_backend()
  return cache / 'skillmix_jax' / 'compile_cache' / (f'cpu-{platform.node()}' if backend == 'cpu' else backend)


def use_default():
  """Keeps compiled programs in `default_folder`, unless JAX_COMPILATION_CACHE_DIR names another or it is read-only.

  Small programs too: a second start of `sample` takes a third less with them.
  """
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  if jax.config.values['jax_compilation_cache_dir']:
    return
  folder = default_folder()
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # everything works without, and compiles each time
  if os.access(folder, os.W_OK):
    jax.config.update('jax_compilation_cache_dir', str(folder))


def use_for_run(workdir: Path):
  """Keeps the programs of a training in its workdir, on a CPU in `default_folder`: other trainings there have most of
  the small ones in common, which are a third of what a toy model compiles.
  """
  if jax.default_backend() == 'cpu':
    use_default()
  elif not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    jax.config.update('jax_compilation_cache_dir', str(workdir.absolute() / 'compile_cache'))
