"""Imports point downwards, and no command imports a command."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = 'commands'

# The rooms of a package (folders, and files beside them), the lowest first. Rooms of one row do not import each other;
# commands are above all of them, wherever their files are. `students` is above `minimix` because --grader=exact is
# the toy world's own function.
ROOMS = {
  'evals': (
    ('files', 'graders'),
    ('questions',),
    ('marking',),
    ('replies',),
    ('results',),
    ('page', 'paper', 'minimix'),
    ('students',),
    (COMMANDS,),
  ),
}


def name_of(path: Path) -> str:
  """'evals.replies.run' of evals/replies/run.py."""
  return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


MODULES = {name_of(path): path for package in ('evals', 'skillmix_jax') for path in (ROOT / package).rglob('*.py')}


def imports(name: str) -> Iterator[str]:
  """Modules of ours that a module imports, wherever the statement is."""
  for node in ast.walk(ast.parse(MODULES[name].read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{name}: a relative import'
      for alias in node.names:
        yield from [one for one in (f'{node.module}.{alias.name}', node.module) if one in MODULES][:1]


def is_command(name: str) -> bool:
  return any(line.lstrip().startswith('command.run(') for line in MODULES[name].read_text().splitlines())


def room(name: str) -> str:
  return COMMANDS if is_command(name) else name.split('.')[1]


@pytest.mark.parametrize('package', ['evals', 'skillmix_jax'])
def test_no_command_is_imported(package):
  commands = {name for name in MODULES if name.startswith(f'{package}.') and is_command(name)}
  assert len(commands) > 6, 'the test does not see commands'
  assert not [(name, used) for name in MODULES for used in imports(name) if used in commands]


@pytest.mark.parametrize('package', ROOMS)
def test_imports_point_downwards(package):
  floors = {room: floor for floor, rooms in enumerate(ROOMS[package]) for room in rooms}
  wrong, arrows = [], set()
  for name in MODULES:
    for used in imports(name):
      if not (name.startswith(f'{package}.') and used.startswith(f'{package}.')) or room(name) == room(used):
        continue
      arrows.add((room(name), room(used)))
      if floors[room(name)] <= floors[room(used)]:
        wrong.append(f'{name} ({room(name)}) imports {used} ({room(used)})')
  assert not wrong
  assert len(arrows) > 10, 'the test does not see imports'


def test_what_trains_has_never_heard_of_a_grader():
  names = [name for name in MODULES if name.split('.')[0] == 'skillmix_jax']
  assert not [(name, used) for name in names for used in imports(name) if used.startswith('evals')]


@pytest.mark.parametrize(
  ('room', 'never'),
  [
    ('skillmix_jax.data', ('jax', 'flax', 'skillmix_jax.models')),  # numpy only
    ('skillmix_jax.models', ('skillmix_jax.data', 'orbax')),
    ('evals.questions', ('jax', 'openai')), ('evals.marking', ('jax', 'openai')), ('evals.results', ('jax', 'openai')),
  ],
)  # fmt: skip
def test_a_room_never_imports(room, never):
  names = [name for name in MODULES if name.startswith(f'{room}.')]
  assert len(names) >= 2
  for name in names:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
      used = [node.module] if isinstance(node, ast.ImportFrom) else []
      used += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
      for one in used:
        assert not any(one == other or one.startswith(f'{other}.') for other in never), f'{name} imports {one}'


def test_orbax_is_touched_by_two_files():
  users = {name for name in MODULES if 'from orbax' in MODULES[name].read_text()}
  assert users == {'skillmix_jax.checkpoint', 'skillmix_jax.restoring'}


def test_every_module_has_a_room_in_the_table():
  page = (ROOT / 'docs' / 'design' / 'house.md').read_text().split('## One place each')[0]
  paths = [path for path in MODULES.values() if path.name != '__init__.py']
  missing = [path for path in paths if f'`{path.name}`' not in page and f'`{path.parent.name}/`' not in page]
  assert len(paths) > 100 and not missing
