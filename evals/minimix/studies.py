"""What is compared on the toy world, named before the seeds of docs/results/minimix.md were run.

An arm is a fine-tuned model; its runs are in evals/ and runs/ of a folder inside a seed's: '' as examples/minimix.sh
makes it, one-sentence and apart as examples/minimix_science.sh does.

A difference is tested over seeds, twice: by exact sign flips and by Student's t; both are printed. There is a verdict
only where all planned seeds are in and the exact p, after Holm's correction over the study, is at most .05. The
smallest exact p of n seeds is 2 / 2^n: of eight .0078, so up to six comparisons can be decided; of four .125, so a
study of four seeds describes and decides nothing.
"""

from typing import NamedTuple


class Arm(NamedTuple):
  """Where a model's runs are and what tables call it."""

  label: str
  name: str  # of examples/minimix.sh: base, D1, D12 or D123
  folder: str = ''


class Comparison(NamedTuple):
  """A difference that is expected to be positive.

  `setting`: train (at k = 2 and 3 only sets of skills that no dialog combines), no_pair_seen (those of them of which no
  two skills are combined in any dialog) or held_out.
  """

  what: str
  arm: str
  other: str
  setting: str
  k: int


class Study(NamedTuple):
  """Arms by key, in the tables' order, the differences between them, and the seeds that were planned."""

  name: str
  arms: dict[str, Arm]
  comparisons: tuple[Comparison, ...]
  seeds: tuple[int, ...]


MAIN = Study(
  name='main',
  arms={
    'base': Arm('base', 'base'),
    'D1': Arm('D(1)', 'D1'),
    'D12': Arm('D(1,2)', 'D12'),
    'D123': Arm('D(1,2,3)', 'D123'),
  },
  comparisons=(
    Comparison('composes triples none of whose pairs was combined', 'D123', 'D1', 'no_pair_seen', 3),
    Comparison('pairs alone teach triples', 'D12', 'D1', 'train', 3),
    Comparison('composes more than it saw, k=4', 'D123', 'D1', 'train', 4),
    Comparison('composes more than it saw, k=5', 'D123', 'D1', 'train', 5),
    Comparison('composes skills that no dialog combines', 'D123', 'D1', 'held_out', 3),
    Comparison('triples teach more than pairs', 'D123', 'D12', 'train', 4),
  ),
  seeds=(20, 21, 22, 23, 24, 25, 26, 27),
)

# All k skills in one sentence. The base, D(1) and D(1,2) are those of the main study, since their dialogs are the same;
# D(1,2,3) is another.
ONE_SENTENCE = Study(
  name='one-sentence',
  arms={
    'D1': Arm('D(1)', 'D1', 'one-sentence'),
    'D12': Arm('D(1,2)', 'D12', 'one-sentence'),
    'D123': Arm('D(1,2,3)', 'D123', 'one-sentence'),
  },
  comparisons=(
    Comparison('pairs alone teach three in a sentence', 'D12', 'D1', 'train', 3),
    Comparison('four in a sentence, of three', 'D123', 'D1', 'train', 4),
    Comparison('four in a sentence: triples teach more than pairs', 'D123', 'D12', 'train', 4),
    Comparison('three held-out skills in a sentence', 'D123', 'D1', 'held_out', 3),
  ),
  seeds=(20, 21, 22, 23),
)

# A base in which no sentence has two held-out skills either, and its fine-tunes.
APART = Study(
  name='apart',
  arms={'D1': Arm('D(1)', 'D1', 'apart'), 'D123': Arm('D(1,2,3)', 'D123', 'apart')},
  comparisons=(
    Comparison('composes pairs that were combined nowhere', 'D123', 'D1', 'held_out', 2),
    Comparison('composes triples of skills that were combined nowhere', 'D123', 'D1', 'held_out', 3),
  ),
  seeds=(20, 21, 22, 23),
)

STUDIES = {study.name: study for study in (MAIN, ONE_SENTENCE, APART)}
