"""The paper's printed numbers, for whoever puts ours beside them."""

import functools
import json
from typing import Any

from evals.questions import catalog
from evals.questions.printed import Results
from skillmix_jax.errors import InputError


@functools.cache
def results() -> dict[str, Any]:
  """Reads results.json, the numbers as transcribed from the paper."""
  return json.loads((catalog.PAPER / 'results.json').read_text(encoding='utf-8'))


@functools.cache
def printed() -> Results:
  """Returns its cells under one address."""
  return Results(results())


def rows() -> list[tuple[str, str]]:
  """(model, row) of all tables, each once: ('LLaMA-2-13B-Chat', 'D(1,2)'); the base model's row is its own name."""
  return list(dict.fromkeys(pair for table in (10, 11, 4, 5, 6) for pair in printed().rows(table)))


def parse_row(name: str) -> tuple[str | None, str | None]:
  """'LLaMA-2-13B-Chat D(1,2)' -> its (model, row), a model alone -> its base row, '' -> (None, None).

  Raises:
    InputError: the paper has no such row.
  """
  if not name:
    return None, None
  names = {model if row == model else f'{model} {row}': (model, row) for model, row in rows()}
  if name not in names:
    raise InputError(f"paper_row={name!r} is not one of the paper's rows: {', '.join(names)}")
  return names[name]
