"""Every command that README.md and docs/ print exists and takes the flags it is given."""

import os
import re
import runpy
import sys
from contextlib import contextmanager

import pytest
from absl import app, flags
from helpers.docs_blocks import PAGES, ROOT, blocks, commands, inline_commands, module_call

OURS = re.compile(r'(skillmix_jax|evals)(\.|$)')


@contextmanager
def no_flags_of_ours():
  """The registry of flags as a command finds it when it starts."""
  registry = flags.FLAGS._flags()
  saved = dict(registry)
  for name in saved:
    if not flags.FLAGS.find_module_defining_flag(name, '').startswith('absl.'):
      registry.pop(name)
  try:
    yield
  finally:
    registry.clear()
    registry.update(saved)


def check(call: list[str], monkeypatch, capsys):
  """Starts `python -m MODULE ...` up to where its command line is read."""
  module, *arguments = call
  if not OURS.match(module) or '...' in arguments:
    return
  with no_flags_of_ours(), monkeypatch.context() as patch:
    patch.chdir(ROOT)
    patch.setattr(sys, 'argv', call)
    patch.setattr(app, 'run', lambda main, flags_parser: flags_parser(sys.argv))
    patch.setitem(os.environ, 'TF_CPP_MIN_LOG_LEVEL', '2')  # plan sets it
    try:
      runpy.run_module(module, run_name='__main__')
    except SystemExit as error:
      assert error.code == 0, capsys.readouterr().err


def test_blocks_are_found_and_say_what_they_need():
  assert len(PAGES) >= 10
  found = [block for page in PAGES for block in blocks(page)]
  assert sum(page.read_text().count('```sh') for page in PAGES) == len(found) >= 20
  assert [block for block in found if block.needs is None] and [block for block in found if block.needs]


@pytest.mark.filterwarnings('ignore:.*found in sys.modules:RuntimeWarning')  # other tests import the same modules
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_and_flags_exist(page, monkeypatch, capsys):
  targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M))
  for text in [*(block.text for block in blocks(page)), *inline_commands(page)]:
    for words in commands(text):
      if (call := module_call(words)) is not None:
        check(call, monkeypatch, capsys)
      elif words[0] == 'make':
        assert {word for word in words[1:] if '=' not in word} <= targets, words
      for word in words:
        if re.match(r'(launch|examples|benchmarks|tests)/[\w/]+\.\w+$', word):
          assert (ROOT / word).is_file(), words
