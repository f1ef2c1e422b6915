"""Runs whose true marks are known, sheets drawn from them as `evals.audit` draws, and how often intervals cover."""

from collections import Counter
from types import SimpleNamespace

import numpy as np

from evals.results import corrected, sheets

# setting and k -> true Ratio of Full Marks of single texts
CELLS = {('train', 2): 0.6, ('train', 3): 0.35, ('held_out', 2): 0.4, ('held_out', 3): 0.12}


def simulate(chance, sensitivity, specificity, cells=None, num=100, generations=3, spread=3.0):
  """Returns (texts, what people say of each). Texts of a combination are alike: its share is drawn from a beta.

  Args:
    sensitivity, specificity: of the grader; functions of (setting, k).
    spread: how much combinations differ; less is more.
  """
  texts, truth = [], {}
  for place, ratio in (cells or CELLS).items():
    shares = chance.beta(spread * ratio, spread * (1 - ratio), num)
    for i, share in enumerate(shares):
      for generation in range(1, generations + 1):
        is_full = chance.random() < share
        rate = sensitivity(*place) if is_full else 1 - specificity(*place)
        name = f'{place[0]}-{place[1]}-{i}'
        marks = SimpleNamespace(full_marks=int(chance.random() < rate))
        texts.append(
          SimpleNamespace(combination=name, generation=generation, setting=place[0], k=place[1], marks=marks)
        )
        truth[name, generation] = float(is_full)
  return texts, truth


def audited(texts, truth, n, seed):
  """The corrections by a sheet of n texts."""
  drawn = sheets.draw({(text.combination, text.generation): text for text in texts}, n, seed)
  keys = [(text.combination, text.generation) for text in drawn]
  return corrected.correct(texts, {key: truth[key] for key in keys}, seed)


def coverage(rounds, n, sensitivity, specificity, seed=0, cells=None, **arguments):
  """Returns (shares of 95 % intervals that hold the truth, mean widths) of the raw mark and the corrected ones."""
  cells = cells or CELLS
  chance = np.random.default_rng(seed)
  holds, total, width = Counter(), Counter(), Counter()
  whole = float(np.mean(list(cells.values())))
  for i in range(rounds):
    texts, truth = simulate(chance, sensitivity, specificity, cells, **arguments)
    found = audited(texts, truth, n, i)
    for one in found.ratios:
      is_run = one.k == 0
      right = whole if is_run else cells[one.setting, one.k]
      numbers = {'graded': one.graded, 'run' if is_run else 'cells': one.prediction_powered}
      numbers |= {} if is_run else {'rogan_gladen': one.rogan_gladen}
      for name, estimate in numbers.items():
        if estimate is not None:
          total[name] += 1
          holds[name] += estimate.ci95.low <= right <= estimate.ci95.high
          width[name] += estimate.ci95.high - estimate.ci95.low
  return {name: holds[name] / total[name] for name in total}, {name: width[name] / total[name] for name in total}
