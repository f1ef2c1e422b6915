"""Figure 2 and its siblings: full marks against k, the paper's lines thin, ours with intervals; one SVG per setting."""

import functools
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.page.view import RunView, labels, short_model
from evals.questions.printed import Results
from skillmix_jax.hidden_characters import visible

if TYPE_CHECKING:  # 30 MB and half a second, which only drawing needs
  from matplotlib.lines import Line2D

METRIC = 'ratio_of_full_marks'
MARKERS = 'osD^vPX*'
# matplotlib knows no CSS variables: these stand for them until the SVG is text.
_INK, _RULE = '#010203', '#010204'
_SERIES = [f'#0a0b{i:02x}' for i in range(1, 9)]
_VARIABLES = {_INK: 'var(--ink)', _RULE: 'var(--rule)'} | {c: f'var(--series-{i})' for i, c in enumerate(_SERIES, 1)}
_STYLE: dict[Any, Any] = {
  'svg.fonttype': 'none', 'font.family': ['sans-serif'], 'font.size': 9, 'axes.edgecolor': _RULE, 'text.color': _INK,
  'axes.labelcolor': _INK, 'xtick.color': _INK, 'ytick.color': _INK, 'axes.spines.top': False,
  'axes.spines.right': False, 'xtick.major.size': 0, 'ytick.major.size': 0,
}  # fmt: skip


LEGEND_CHARACTERS, HEADING_CHARACTERS = 72, 60  # that fit across draw_alone's figure
LINE = 0.16  # inches


def settings(runs: Sequence[RunView]) -> list[str]:
  """Settings that a figure can show: held-out first, as in the paper."""
  found = {setting for run in runs for (setting, _), cell in run.cells.items() if METRIC in cell.best}
  order = ('held_out', 'train', 'all')
  return [*(setting for setting in order if setting in found), *sorted(found - set(order))]


@dataclass(frozen=True)
class Series:
  """One colour and marker: a run, a row of the paper, or both. Points are (k, value) and (k, value, low, high)."""

  label: str
  paper: Sequence[tuple[int, float]]
  ours: Sequence[tuple[int, float, float, float]] = ()


def series(runs: Sequence[RunView], results: Results, setting: str) -> list[Series]:
  """Our runs with the paper's rows of the same students; then what figure 2 has besides: base models and D(1,2,3)."""
  found, shown = [], set()
  for label, run in zip(labels(runs), runs):
    ours = []
    for (of, k), cell in sorted(run.cells.items()):
      if of == setting and METRIC in cell.best:
        ours.append((k, cell.best[METRIC].mean, *cell.best[METRIC].ci95))
    student = None if run.metrics.exclude_skills else (run.model, run.row)
    paper = _printed(results, student, setting) if student and student not in shown else []
    shown.add(student)
    found.append(Series(label, paper, ours))
  for model in dict.fromkeys(run.model for run in runs if run.model):
    for row in (model, 'D(1,2,3)'):
      if (model, row) not in shown:
        name = row if row == model else f'{short_model(model)} {row}'
        found.append(Series(f'{name} (the paper only)', _printed(results, (model, row), setting)))
  return found


def _printed(results: Results, student: tuple[str | None, str | None], setting: str) -> list[tuple[int, float]]:
  cells = [(k, results.find(*student, setting, k, METRIC)) for k in range(1, 6)]
  return [(k, printed.value) for k, printed in cells if printed is not None]


def draw(all_series: Sequence[Series], setting: str, title: str) -> str:
  """An SVG element whose colours are the page's and whose text is text."""
  import matplotlib
  from matplotlib.figure import Figure

  with matplotlib.rc_context(_STYLE | {'svg.hashsalt': setting}):
    figure = Figure(figsize=(4.3, 3.5), layout='constrained')
    _plot(figure.add_subplot(), all_series)
    file = io.StringIO()
    figure.savefig(file, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
  return _inline(file.getvalue(), title)


def draw_alone(all_series: Sequence[Series], heading: str) -> str:
  """An SVG file for a text or a talk: the same lines in the page's light colours, with axes and a legend that say all.

  Its text is text, in any sans-serif font.
  """
  import matplotlib
  from matplotlib.figure import Figure
  from matplotlib.lines import Line2D

  with matplotlib.rc_context(_STYLE | {'svg.hashsalt': heading, 'text.parse_math': False}):
    handles = [_handle(i, one) for i, one in enumerate(all_series)]
    names = [f' {visible(one.label)}' for one in all_series]  # matplotlib hides a name that begins with _
    if any(one.ours and one.paper for one in all_series):
      handles.append(Line2D([], [], color=_INK, linewidth=0.9, dashes=(4, 2)))
      names.append(' the paper’s (graded by gpt-4), in the colour and mark of the student')
    # Names of hosted models and of graders are long: what does not fit beside each other goes below each other.
    ncols = 2 if sum(sorted(map(len, names))[-2:]) <= LEGEND_CHARACTERS else 1
    fold = functools.partial(textwrap.fill, break_on_hyphens=False, drop_whitespace=False)
    names = [fold(name, LEGEND_CHARACTERS, subsequent_indent='   ') for name in names]
    heading = '\n'.join(fold(line, HEADING_CHARACTERS) for line in heading.split('\n'))
    num_lines = heading.count('\n') + sum(name.count('\n') + 1 for name in names) / ncols
    height = 4.6 + LINE * max(0, num_lines - 4)
    figure = Figure(figsize=(5.6, height), layout='constrained', facecolor='white')
    axes = figure.add_subplot()
    _plot(axes, all_series)
    axes.set(xlabel='skills to combine', ylabel='Ratio of Full Marks')
    axes.set_title(heading, loc='left', fontsize=10)
    figure.legend(handles, names, loc='outside lower center', ncols=ncols, frameon=False, fontsize=8)
    file = io.StringIO()
    figure.savefig(file, format='svg', metadata={'Date': None, 'Creator': None})
  svg = file.getvalue()
  for stand_in, colour in _light_colours().items():
    svg = svg.replace(stand_in, colour)
  return svg


def _light_colours() -> dict[str, str]:
  """What stands for a CSS variable -> its light colour, as the page's style sheet has it."""
  sheet = (Path(__file__).parent / 'page.css').read_text(encoding='utf-8')
  light = dict(re.findall(r'(--[\w-]+): light-dark\((#\w+),', sheet))
  return {stand_in: light[variable.removeprefix('var(').removesuffix(')')] for stand_in, variable in _VARIABLES.items()}


def _shape(i: int) -> int:
  """Which marker series i has: colours begin anew after eight, and then with other markers."""
  return (i + i // 8) % 8


def _handle(i: int, one: Series) -> 'Line2D':
  """What the legend shows of a series: as `_line` draws ours, or the paper's where it has none of ours."""
  from matplotlib.lines import Line2D

  its: dict[str, Any] = {'color': _SERIES[i % 8], 'marker': MARKERS[_shape(i)]}
  if one.ours:
    return Line2D([], [], linewidth=2, markersize=5.5, **its)
  return Line2D(
    [], [], linewidth=0.9, dashes=(4, 2), markersize=3.5, markerfacecolor='none', markeredgewidth=0.8, **its
  )


def _plot(axes, all_series: Sequence[Series]):
  ks = sorted({point[0] for one in all_series for point in (*one.ours, *one.paper)})
  for i, one in enumerate(all_series):
    _line(axes, i, one, (i - (len(all_series) - 1) / 2) * min(0.07, 0.35 / len(all_series)))
  axes.set_ylim(-0.02, 1.02)
  axes.set_yticks(np.linspace(0, 1, 6), ['0', '.2', '.4', '.6', '.8', '1'])
  axes.set_xticks(ks, [f'k = {k}' for k in ks])
  axes.set_xlim(min(ks, default=1) - 0.3, max(ks, default=1) + 0.3)
  axes.grid(axis='y', color=_RULE, linewidth=0.6)
  axes.set_axisbelow(True)
  axes.spines['left'].set_visible(False)


def _line(axes, i: int, one: Series, shift: float):
  """The paper thin, dashed and hollow; ours thick, with intervals, moved sideways so that these do not overlap."""
  colour, marker = _SERIES[i % 8], MARKERS[_shape(i)]
  if one.paper:
    axes.plot(*zip(*one.paper), color=colour, linewidth=0.9, dashes=(4, 2), marker=marker, markersize=3.5,
              markerfacecolor='none', markeredgewidth=0.8, zorder=2)  # fmt: skip
  if one.ours:
    k, y, low, high = np.array(one.ours).T
    axes.vlines(k + shift, low, high, color=colour, linewidth=1.6, alpha=0.65, zorder=3)
    axes.plot(k + shift, y, color=colour, linewidth=2, marker=marker, markersize=5.5, zorder=4)


def legend(all_series: Sequence[Series]) -> list[tuple[int, str, Series]]:
  """(number of the series' colour, marker as SVG path, series)."""
  return [(i % 8 + 1, _PATHS[_shape(i)], one) for i, one in enumerate(all_series)]


# The markers of MARKERS in a 12 x 12 box, for the legend that the page draws itself.
_PATHS = (
  'M6 2a4 4 0 1 0 .001 0z', 'M2 2h8v8h-8z', 'M6 1l5 5-5 5-5-5z', 'M6 1.5l4.5 8.5h-9z', 'M6 10.5l4.5-8.5h-9z',
  'M4 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z', 'M3 1l3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3-3-3z',
  'M6 1l1.5 3.5 3.5.3-2.7 2.4.9 3.8-3.2-2-3.2 2 .9-3.8L1 4.8l3.5-.3z',
)  # fmt: skip


def _inline(svg: str, title: str) -> str:
  """The bare element: no XML head, no metadata, no fixed size, no address."""
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
  for colour, variable in _VARIABLES.items():
    svg = svg.replace(colour, variable)
  head, body = svg.split('>', 1)
  box = re.findall(r'viewBox="[^"]+"', head)[0]
  return f'<svg {box} role="img" aria-label="{_attribute(title)}">' + re.sub(r'>\s+<', '><', body).strip()


def _attribute(text: str) -> str:
  return visible(text).replace('&', '&amp;').replace('"', '&quot;').replace('<', '&lt;')


def plain_title(setting_name: str, runs: Sequence[RunView]) -> str:
  """What a screen reader says instead of the figure."""
  models = ', '.join(dict.fromkeys(short_model(run.model) for run in runs if run.model)) or 'the students'
  return f'Ratio of Full Marks against k on {setting_name}, {models}; the numbers stand in the tables'
