"""Draws what runs report while they train: losses, held-out losses and the learning rate, as an SVG.

    python -m skillmix_jax.curve --workdirs=runs/base,runs/D123 --out=loss.svg

Reads metrics.jsonl of each workdir, also of a run that is still training or that was resumed. Every run has a colour.
The picture follows the reader's theme, light or dark, and opens in any browser. Nothing is smoothed.
"""

import dataclasses
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from absl import flags
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from skillmix_jax import command, metrics
from skillmix_jax.errors import InputError
from skillmix_jax.files import output_file, write_output
from skillmix_jax.hidden_characters import visible

FLAGS = flags.FLAGS

HELD_OUT = 'held_out_loss_'
DASHES = {'dialogs': '-', 'code': '--', 'wet': '-.', 'text': ':'}  # of held-out sources
FEW = 40  # points of a line that are marked

# matplotlib knows no themes: it draws in colours that stand for those of a style sheet. name: (stand-in, light, dark)
THEME = {
  'paper': ('#010201', '#ffffff', '#16181c'),
  'ink': ('#010202', '#22252a', '#e3e1dc'),
  'rule': ('#010203', '#dfdcd5', '#33373e'),
  'run-1': ('#010211', '#0f6cb6', '#6db3f2'),
  'run-2': ('#010212', '#b35c00', '#f0a75a'),
  'run-3': ('#010213', '#1a7a4c', '#6ccf9b'),
  'run-4': ('#010214', '#8a2f8f', '#d89adc'),
  'run-5': ('#010215', '#b3264a', '#f08aa3'),
  'run-6': ('#010216', '#6b5b00', '#d3c25a'),
  'run-7': ('#010217', '#4b4bb5', '#a9a9f5'),
  'run-8': ('#010218', '#5b6470', '#aeb6c1'),
}
COLOURS = [stand_in for name, (stand_in, _, _) in THEME.items() if name.startswith('run-')]
INK, RULE, PAPER = (THEME[name][0] for name in ('ink', 'rule', 'paper'))
STYLE: dict[Any, Any] = {
  'svg.fonttype': 'none', 'svg.hashsalt': 'curve', 'font.family': ['sans-serif'], 'font.size': 9, 'text.color': INK,
  'text.parse_math': False, 'axes.labelcolor': INK, 'axes.titlecolor': INK, 'axes.edgecolor': RULE,
  'axes.facecolor': PAPER, 'figure.facecolor': PAPER, 'savefig.facecolor': PAPER, 'xtick.color': INK,
  'ytick.color': INK, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlesize': 10,
  'axes.titlelocation': 'left', 'axes.titleweight': 'bold', 'grid.color': RULE, 'grid.linewidth': 0.6,
  'legend.frameon': False,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Run:
  """What one workdir reports: rows in the order of their steps."""

  name: str
  rows: Sequence[Mapping[str, Any]]

  def line(self, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the rows that have a finite number under `key`."""
    points = [(row['step'], row[key]) for row in self.rows if type(row.get(key)) in (int, float)]
    points = [(step, value) for step, value in points if math.isfinite(value)]
    return [step for step, _ in points], [value for _, value in points]


def read(folders: Sequence[Path]) -> list[Run]:
  """The runs in some workdirs.

  Raises:
    InputError: a folder is not a workdir, or has reported nothing yet; there are too many to tell apart.
  """
  if len(folders) > len(COLOURS):
    raise InputError(
      f'--workdirs names {len(folders)} runs, and there are {len(COLOURS)} colours: draw fewer at a time'
    )
  names = [folder.resolve().name for folder in folders]
  runs = []
  for folder, name in zip(folders, names):
    path = folder / metrics.METRICS
    if not path.is_file():
      raise InputError(f'{folder} has no {metrics.METRICS}: name the folder of a run, as skillmix_jax.train writes it')
    by_step = {row['step']: row for row in metrics.read_rows(path, say=True)}  # of a step written twice the later row
    if not by_step:
      raise InputError(f'{path} has no row yet: wait for the first steps of the run')
    runs.append(Run(name if names.count(name) == 1 else str(folder), [by_step[step] for step in sorted(by_step)]))
  return runs


def panels(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
  """title -> {key of metrics.jsonl: dashes of its lines}; without what no run reports."""
  reported = {key for run in runs for row in run.rows for key in row if run.line(key)[0]}
  held_out = {HELD_OUT + source: dashes for source, dashes in DASHES.items()}
  wanted = {
    'Loss on dialogs': {'loss_dialog': '-'}, 'Loss on text': {'loss_text': '-'}, 'Held-out loss': held_out,
    'Learning rate': {'learning_rate': '-'},
  }  # fmt: skip
  kept = {title: {key: dashes for key, dashes in keys.items() if key in reported} for title, keys in wanted.items()}
  return {title: keys for title, keys in kept.items() if keys}


def draw(runs: Sequence[Run]) -> str:
  """The picture: a panel for each kind of number, a colour for each run.

  Raises:
    InputError: the runs report none of these numbers.
  """
  shown = panels(runs)
  if not shown:
    raise InputError('the rows of these runs hold no losses: is metrics.jsonl one that skillmix_jax.train wrote?')
  with matplotlib.rc_context(STYLE):
    columns, lines = min(2, len(shown)), math.ceil(len(shown) / 2)
    figure = Figure(figsize=(4.6 * columns, 0.6 + 2.6 * lines), layout='constrained')
    for number, (title, keys) in enumerate(shown.items(), 1):
      axes = figure.add_subplot(lines, columns, number, sharex=figure.axes[0] if figure.axes else None)
      axes.set_title(title)
      axes.set_xlabel('step')
      axes.grid(axis='y')
      axes.set_axisbelow(True)
      axes.tick_params(length=0)
      axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
      axes.yaxis.set_major_formatter('{x:.8g}')
      if title != 'Learning rate':
        axes.set_ylabel('nats a token')
      for at, run in enumerate(runs):
        for key, dashes in keys.items():
          steps, values = run.line(key)
          marker = '.' if len(steps) <= FEW else ''
          axes.plot(steps, values, dashes, color=COLOURS[at], lw=1.5, marker=marker, ms=4, gid=f'{key}-{at}')
      if len(keys) > 1:
        grey = [Line2D([], [], color=INK, lw=1.2, ls=dashes) for dashes in keys.values()]
        axes.legend(grey, [key.removeprefix(HELD_OUT) for key in keys], fontsize=8)
    handles = [Line2D([], [], color=COLOURS[at], lw=3) for at in range(len(runs))]
    names = [f' {visible(run.name)}' for run in runs]  # matplotlib hides a name that begins with _
    figure.legend(handles, names, loc='outside upper left', ncols=min(4, len(runs)))
    file = io.StringIO()
    figure.savefig(file, format='svg', metadata={'Date': None, 'Creator': None})
  return _in_both_themes(file.getvalue(), ', '.join(shown))


def _in_both_themes(svg: str, what: str) -> str:
  """The element alone, its colours from a style sheet."""
  svg = re.sub(r'<metadata>.*?</metadata>', '', svg[svg.index('<svg') :], flags=re.DOTALL)
  sheets = ['', '']
  for name, (stand_in, *colours) in THEME.items():
    svg = svg.replace(stand_in, f'var(--{name})')
    for theme, colour in enumerate(colours):
      sheets[theme] += f'--{name}: {colour}; '
  light, dark = (f'svg {{ {sheet}}}' for sheet in sheets)
  head, body = svg.split('>', 1)
  style = f'<style>{light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>'
  return f'{head} role="img" aria-label="{what}, by step">\n {style}{body}'


def main():
  if not FLAGS.workdirs:
    raise InputError('--workdirs=RUN1,RUN2 is missing: folders that skillmix_jax.train wrote')
  if not FLAGS.out:
    raise InputError('--out=loss.svg is missing: the picture to write')
  out = output_file('out', FLAGS.out, 'loss.svg')
  runs = read([Path(folder) for folder in FLAGS.workdirs])
  write_output('out', out, draw(runs))
  print(f'{out}: ' + ', '.join(f'{visible(run.name)} to step {run.rows[-1]["step"]}' for run in runs))


if __name__ == '__main__':
  flags.DEFINE_list('workdirs', [], 'folders of runs, with commas between them')
  flags.DEFINE_string('out', None, 'SVG to write')
  command.run(main)
