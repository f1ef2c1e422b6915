"""The paper's experiments as data: which config, argument and evaluation gives which row of which table or figure.

`python -m evals.paper --table=1` turns this into what is done, what is missing, commands and costs.
"""

import dataclasses
from typing import Any, NamedTuple

# The names of the paper's base models, by the file of configs/ that fine-tunes them.
MODELS = {'llama13b': 'LLaMA-2-13B-Chat', 'mistral7b': 'Mistral-7B-Instruct-v0.2'}

# Runs that make training data: --config.KEY=VALUE beside configs/eval_generate.py.
GENERATE: dict[str, dict[str, Any]] = {
  'generate': {},
  'generate4': {'ks': (4,), 'num_combinations': (5000,)},  # that a fifth of them passes is our guess
}

# Files of dialogs: the run that they are chosen from, and the flags of evals.select.
DIALOGS = {
  'D1': ('generate', '--ks=1'),
  'D2': ('generate', '--ks=2'),
  'D3': ('generate', '--ks=3'),
  'D123_8000': ('generate', '--ks=1,2,3 --max=8000 --seed=0'),  # D.2
  'D4': ('generate4', '--ks=4 --max=1000'),  # "about 1000": E.2
}

# The argument of a config, and the dialogs that its data are prepared from: configs/llama13b.py:D12.
TRAINING = {
  'D1': ('D1',),
  'D12': ('D1', 'D2'),
  'D123': ('D1', 'D2', 'D3'),
  'D123_8000': ('D123_8000',),
  'D1234': ('D1', 'D2', 'D3', 'D4'),
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """How the rows of a table are evaluated.

  Attributes:
    overrides: --config.KEY=VALUE beside configs/eval_paper.py; '{data}' becomes --data.
    suffix: of the run's folder. Rows of tables 1, 4 and half of 5 share theirs, for they are the same texts.
    copy: the answers come from the folder without the suffix, the votes from a second grader.
  """

  overrides: dict[str, Any]
  suffix: str = ''
  copy: bool = False


_ALL = {'settings': ('all',), 'ks': (2, 3, 4, 5), 'num_combinations': (100, 100, 400, 400)}
COMMON = '{data}/common.txt'  # the list that table 6 needs and the paper does not print
EVERYTHING = Evaluation({})
HELD_OUT = Evaluation({'settings': ('held_out',)})
ALL_SKILLS = Evaluation(_ALL)
BY_CLAUDE = Evaluation(_ALL | {'grading_prompt': 'grade_claude'}, '-claude', copy=True)
UNCOMMON = Evaluation({'ks': (5,), 'num_combinations': (400,), 'exclude_skills': ('@' + COMMON,)}, '-uncommon')


class Row(NamedTuple):
  """A row of a table: its name after the model's, the config, the config's argument, the evaluation.

  The config is a file of configs/ without its ending, or the path of a file (a student that the paper does not have).
  The untouched model has no name and no argument: it is not trained.
  """

  name: str
  config: str
  data: str
  evaluation: Evaluation


def main_table(config: str) -> tuple[Row, ...]:
  """Tables 1 and 3, and table 1 of any student."""
  return (
    Row('', config, '', EVERYTHING),
    Row('D(1)', config, 'D1', EVERYTHING),
    Row('D(1,2)', config, 'D12', EVERYTHING),
    Row('D(1,2,3)', config, 'D123', EVERYTHING),
  )


TABLES: dict[int, tuple[Row, ...]] = {
  1: main_table('llama13b'),
  3: main_table('mistral7b'),
  4: (
    Row('D(1,2)', 'llama13b', 'D12', ALL_SKILLS),
    Row('D(1,2,3) 8000 samples', 'llama13b', 'D123_8000', ALL_SKILLS),
    Row('D(1,2,3)', 'llama13b', 'D123', ALL_SKILLS),
  ),
  5: (
    Row('', 'llama13b', '', ALL_SKILLS),
    Row('D(1)', 'llama13b', 'D1', ALL_SKILLS),
    Row('D(1,2,3)', 'llama13b', 'D123', ALL_SKILLS),
    Row('', 'llama13b', '', BY_CLAUDE),
    Row('D(1)', 'llama13b', 'D1', BY_CLAUDE),
    Row('D(1,2,3)', 'llama13b', 'D123', BY_CLAUDE),
  ),
  6: (
    Row('', 'llama13b', '', UNCOMMON),
    Row('D(1,2,3)', 'llama13b', 'D123', UNCOMMON),
    Row('D(1,2,3,4)', 'llama13b', 'D1234', UNCOMMON),
    Row('', 'mistral7b', '', UNCOMMON),
    Row('D(1,2,3)', 'mistral7b', 'D123', UNCOMMON),
    Row('D(1,2,3,4)', 'mistral7b', 'D1234', UNCOMMON),
  ),
  10: main_table('llama13b'),  # tables 1 and 3 with the Ratio of All Skills
  11: main_table('mistral7b'),
}

# Figure 2; beside these the paper has GPT-4, which wrote the training data: whoever is asked in its place.
FIGURE_2 = (
  Row('', 'llama13b', '', HELD_OUT),
  Row('D(1,2,3)', 'llama13b', 'D123', HELD_OUT),
  Row('', 'mistral7b', '', HELD_OUT),
  Row('D(1,2,3)', 'mistral7b', 'D123', HELD_OUT),
)
