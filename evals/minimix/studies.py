"""What is compared on the toy world, named before the seeds of docs/results/minimix.md were run.

An arm is a fine-tuned model; its runs lie in evals/ and runs/ of a folder inside a seed's: '' as examples/minimix.sh
makes it, science/NAME as examples/minimix_science.sh does.
"""

from typing import NamedTuple


class Arm(NamedTuple):
  """Where a model's runs are and what tables call it."""

  label: str
  name: str  # of examples/minimix.sh: base, D1, D12 or D123
  folder: str = ''


class Comparison(NamedTuple):
  """A difference that is expected to be positive."""

  what: str
  arm: str
  other: str
  setting: str
  k: int


class Study(NamedTuple):
  """Arms by key, in the tables' order, and the differences between them."""

  arms: dict[str, Arm]
  comparisons: tuple[Comparison, ...]


MAIN = Study(
  arms={
    'base': Arm('base', 'base'),
    'D1': Arm('D(1)', 'D1'),
    'D12': Arm('D(1,2)', 'D12'),
    'D123': Arm('D(1,2,3)', 'D123'),
  },
  comparisons=(
    Comparison('composes unseen pairs', 'D123', 'D1', 'train', 2),
    Comparison('composes unseen triples', 'D123', 'D1', 'train', 3),
    Comparison('composes more than it saw, k=4', 'D123', 'D1', 'train', 4),
    Comparison('composes more than it saw, k=5', 'D123', 'D1', 'train', 5),
    Comparison('composes skills never seen combined, k=2', 'D123', 'D1', 'held_out', 2),
    Comparison('composes skills never seen combined, k=3', 'D123', 'D1', 'held_out', 3),
    Comparison('pairs alone teach triples', 'D12', 'D1', 'train', 3),
    Comparison('pairs alone teach k=4', 'D12', 'D1', 'train', 4),
    Comparison('triples help at k=4', 'D123', 'D12', 'train', 4),
    Comparison('triples help at k=5', 'D123', 'D12', 'train', 5),
    Comparison('triples help on held-out skills, k=3', 'D123', 'D12', 'held_out', 3),
  ),
)

SCIENCE = Study(
  arms={
    'D1': MAIN.arms['D1'],
    'D12': MAIN.arms['D12'],
    'D123': MAIN.arms['D123'],
    'control': Arm('8,004 of D(1,2,3)', 'D123', 'science/control'),
    'epochs': Arm('D(1), 87 steps', 'D1', 'science/epochs'),
    'D1/pairs-0': Arm('D(1), no pairs in the base', 'D1', 'science/pairs-0'),
    'D123/pairs-0': Arm('D(1,2,3), no pairs in the base', 'D123', 'science/pairs-0'),
    'D123/pairs-.05': Arm('D(1,2,3), 5 % pairs', 'D123', 'science/pairs-.05'),
    'D123/pairs-.3': Arm('D(1,2,3), 30 % pairs', 'D123', 'science/pairs-.3'),
    'text-0': Arm('D(1,2,3), text weight 0', 'D123', 'science/text-0'),
    'text-.1': Arm('D(1,2,3), text weight .1', 'D123', 'science/text-.1'),
    'text-1': Arm('D(1,2,3), text weight 1', 'D123', 'science/text-1'),
  },
  comparisons=(
    # Appendix D.2: k = 2 and 3 together are fewer than D(2), and yet
    Comparison('fewer dialogs with triples beat all pairs, k=3', 'control', 'D12', 'train', 3),
    Comparison('fewer dialogs with triples beat all pairs, k=4', 'control', 'D12', 'train', 4),
    Comparison('fewer dialogs with triples beat all pairs, held-out', 'control', 'D12', 'held_out', 3),
    Comparison('D(1) is not merely trained too long, k=2', 'D123', 'epochs', 'train', 2),
    Comparison('D(1) is not merely trained too long, k=3', 'D123', 'epochs', 'train', 3),
    Comparison('pairs are composed with none in the base', 'D123/pairs-0', 'D1/pairs-0', 'train', 2),
    Comparison('triples are composed with no pairs in the base', 'D123/pairs-0', 'D1/pairs-0', 'train', 3),
    Comparison('pairs in the base help at k=4', 'D123/pairs-.3', 'D123/pairs-0', 'train', 4),
    Comparison('pairs in the base help on held-out skills', 'D123/pairs-.3', 'D123/pairs-0', 'held_out', 2),
    Comparison('training on text helps at k=4', 'text-1', 'text-0', 'train', 4),
    Comparison('training on text helps on held-out skills', 'text-1', 'text-0', 'held_out', 2),
  ),
)

STUDIES = {'main': MAIN, 'science': SCIENCE}
