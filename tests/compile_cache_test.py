"""Where compiled programs are kept."""

from pathlib import Path

import jax
import pytest

from skillmix_jax import compile_cache


def test_compiled_programs_go_to_the_users_cache_where_nothing_else_is_said(tmp_path, monkeypatch):
  told = jax.config.values['jax_compilation_cache_dir']
  compile_cache.use_default()
  assert jax.config.values['jax_compilation_cache_dir'] == told  # JAX_COMPILATION_CACHE_DIR wins
  try:
    jax.config.update('jax_compilation_cache_dir', None)
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))  # as a home that is not there or read-only
    compile_cache.use_default()
    assert jax.config.values['jax_compilation_cache_dir'] is None
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compile_cache.use_default()
    folder = Path(jax.config.values['jax_compilation_cache_dir'])
    assert folder.is_dir() and folder.is_relative_to(tmp_path / 'skillmix_jax' / 'compile_cache')
  finally:
    jax.config.update('jax_compilation_cache_dir', told)


@pytest.mark.parametrize(('backend', 'expected'), [('cpu', 'home/skillmix_jax'), ('gpu', 'run/compile_cache')])
def test_trainings_on_a_cpu_share_their_programs(backend, expected, tmp_path, monkeypatch):
  told = jax.config.values['jax_compilation_cache_dir']
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  try:
    jax.config.update('jax_compilation_cache_dir', None)
    compile_cache.use_for_run(tmp_path / 'run')
    assert Path(jax.config.values['jax_compilation_cache_dir']).is_relative_to(tmp_path / expected)
  finally:
    jax.config.update('jax_compilation_cache_dir', told)
