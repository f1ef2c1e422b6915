"""What the packages import is what they say they need."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ('skillmix_jax', 'evals', 'configs')


def imported(folder: Path) -> set[str]:
  """Top-level names that the modules of a folder import from outside, wherever the statement stands."""
  names = set()
  for path in folder.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        names |= {alias.name.split('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom) and not node.level:
        names.add(node.module.split('.')[0])
  return names - set(sys.stdlib_module_names) - set(OURS)


def normal(name: str) -> str:
  return re.sub('[-_.]+', '-', name).lower()


def test_every_import_is_a_declared_dependency():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  declared = {normal(re.match(r'[\w.-]+', line)[0]) for line in project['dependencies']}
  providers = packages_distributions()
  for folder in ('skillmix_jax', 'evals'):
    for name in imported(ROOT / folder):
      assert declared & set(map(normal, providers.get(name, []))), f'{folder} imports {name}, which nothing declares'


def test_the_packages_import_no_configs():
  """An experiment's config is a user's file; a wheel has none of them."""
  for folder in ('skillmix_jax', 'evals'):
    for path in (ROOT / folder).rglob('*.py'):
      assert not re.search(r'^\s*(from|import) configs\b', path.read_text(), re.MULTILINE), path
