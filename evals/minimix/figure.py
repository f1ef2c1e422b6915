"""One picture: the toy world's curves and the paper's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evals.minimix.studies import Study
from evals.minimix.tally import Ratios
from evals.questions import paper_tables

COLOURS = ('#8a8a8a', '#d08700', '#2f7fb8', '#1b6e3c')
PAPER_MODEL = 'LLaMA-2-13B-Chat'  # table 10
KS = (1, 2, 3, 4, 5)


def draw(ratios: Ratios, study: Study, out: Path):
  """An SVG: above the toy world, every seed a dot and means as lines, below the paper's LLaMA."""
  import matplotlib
  from matplotlib.figure import Figure

  matplotlib.rcParams['svg.hashsalt'] = 'minimix'  # the same numbers give the same file
  figure = Figure(figsize=(9, 6), layout='constrained', facecolor='white')
  axes = figure.subplots(2, 2, sharey=True)
  labels = [arm.label for arm in study.arms.values()]
  for column, setting in enumerate(('train', 'held_out')):
    name = f'{setting.replace("_", "-")} skills'
    for shift, (key, colour) in enumerate(zip(study.arms, COLOURS)):
      cells = [ratios.get(key, {}).get((setting, k), {}) for k in KS]
      _curve(axes[0, column], shift, colour, labels[shift], cells)
      row = PAPER_MODEL if key == 'base' else labels[shift]
      printed = paper_tables.results()['table_10']['settings'][setting][row]
      _curve(axes[1, column], shift, colour, labels[shift], [{0: metrics[0]} for metrics in printed])
    axes[0, column].set_title(f'toy world, {name}')
    axes[1, column].set_title(f"the paper's {PAPER_MODEL}, {name}")
  for panel in axes.flat:
    panel.set(xlabel='k', xticks=KS, ylim=(-0.03, 1.03))
    panel.spines[['top', 'right']].set_visible(False)
    panel.grid(axis='y', lw=0.4, alpha=0.5)
  for panel in axes[:, 0]:
    panel.set_ylabel('Ratio of Full Marks')
  axes[0, 1].legend(frameon=False, loc='upper right')
  out.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(out, format='svg', metadata={'Date': None})


def _curve(panel, shift: int, colour: str, label: str, cells: Sequence[Mapping[int, float]]):
  known = [(k + (shift - 1.5) * 0.09, list(cell.values())) for k, cell in zip(KS, cells) if cell]
  panel.plot([x for x, _ in known], [np.mean(values) for _, values in known], color=colour, lw=1.5, label=label)
  for x, values in known:
    panel.plot([x] * len(values), values, 'o', color=colour, ms=3.5, alpha=0.75)
