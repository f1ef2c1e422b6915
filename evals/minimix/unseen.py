"""What is unseen in a toy world: which pairs and triples share a sentence, counted in the files that are trained on.

    python -m evals.minimix.unseen --world=runs/minimix/seed-20/world
    python -m evals.minimix.unseen --world=runs/minimix/seed-20/world --ks=1,2     # what D(1,2) is fine-tuned on

Fine-tuning reads the dialogs D(k) of --ks and the base documents that are mixed into them; the base has read its own.
"In one sentence of" counts the sets whose skills share a sentence, and how many sentences those are.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from absl import flags

from evals.minimix import shown
from evals.minimix.shown import Skills
from evals.questions import catalog
from evals.questions.settings import parse_ks
from evals.results import training_data
from skillmix_jax import command
from skillmix_jax.errors import InputError

FLAGS = flags.FLAGS


def count(world: Path, ks: list[int]) -> tuple[dict[str, list[Skills]], dict[str, Mapping[Skills, int]]]:
  """(kinds of sets with their members, what is trained on with the sets that share its sentences)."""
  skills = {
    half: [s.name for s in catalog.load(world / 'catalog').skills if s.table == half] for half in catalog.HALVES
  }
  kinds = {
    f'{half.replace("_", "-")} {what}': [frozenset(names) for names in combinations(skills[half], size)]
    for half in catalog.HALVES
    for what, size in (('pairs', 2), ('triples', 3))
  }
  label = f'D({",".join(map(str, ks))})'
  sources = {
    label: [world / 'dialogs' / f'd{k}.jsonl' for k in ks],
    f'what {label} is mixed with': [world / 'base' / f'mix{k}.jsonl' for k in ks],
    'the base': [world / 'base' / 'dialogs.jsonl', world / 'base' / 'text.jsonl'],
  }
  return kinds, {name: shown.sharing(paths) for name, paths in sources.items()}


def table(world: Path, ks: list[int]) -> list[str]:
  """Markdown."""
  kinds, by_source = count(world, ks)
  dialogs = next(iter(by_source))
  asked = training_data.read([str(world / 'dialogs' / f'd{k}.jsonl') for k in ks]).skill_sets
  lines = ['| | ' + ' | '.join(kinds) + ' |', '|---|' + '---|' * len(kinds)]

  def line(what: str, cells: list[str]):
    lines.append(f'| {what} | ' + ' | '.join(cells) + ' |')

  def of(sets: list[Skills], chosen: list[Skills]) -> str:
    return f'{len(chosen)} of {len(sets)}'

  line(f'asked for in {dialogs}, exactly these', [of(sets, [s for s in sets if s in asked]) for sets in kinds.values()])
  for name, sharing in by_source.items():
    cells = []
    for sets in kinds.values():
      held = [skills for skills in sets if skills in sharing]
      cells.append(of(sets, held) + (f' ({sum(map(sharing.__getitem__, held)):,} sentences)' if held else ''))
    line(f'in one sentence of {name}', cells)
  *tuning, base = by_source.values()
  tuned, all_of_it = set().union(*tuning), set().union(*tuning, base)
  for where, seen in (('fine-tuning', tuned), ('the base', set(base)), ('both together', all_of_it)):
    line(f'in no sentence of {where}', [of(sets, [s for s in sets if s not in seen]) for sets in kinds.values()])
    line(
      f'with no pair in a sentence of {where}',
      [
        of(sets, [s for s in sets if not shown.pairs(s) & seen]) if 'triples' in kind else ''
        for kind, sets in kinds.items()
      ],
    )
  return lines


def main():
  if not FLAGS.world:
    raise InputError('--world=FOLDER is missing, see --help')
  print('\n'.join(table(Path(FLAGS.world), parse_ks(FLAGS.ks))))


if __name__ == '__main__':
  flags.DEFINE_string('world', None, 'folder of evals.minimix')
  flags.DEFINE_list('ks', ['1', '2', '3'], 'of the dialogs that are fine-tuned on')
  command.run(main)
