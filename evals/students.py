"""`--student=` and `--grader=`: from what the command line says to an endpoint that answers."""

import functools
import os
from collections.abc import Callable

from evals import graders
from evals.questions.catalog import Catalog
from evals.questions.settings import Settings
from evals.replies import endpoints, online
from skillmix_jax.errors import InputError

STUDENTS = (
  'checkpoint:W, a workdir of ours, W@step or a Hugging Face folder, as in --student=checkpoint:runs/llama13b-D123; '
  'or openai:MODEL, a model of OpenAI or of the server at --base_url, as in --student=openai:gpt-6-luna'
)


def open_student(
  name: str, settings: Settings, *, base_url: str | None, concurrency: int, dtype: str, template: str | None,
  batch_size: int | None, dry_run: bool = False,
) -> endpoints.Endpoint:  # fmt: skip
  """`checkpoint:W` or `openai:MODEL`; raises InputError for anything else, and where it cannot be reached."""
  kind, _, rest = name.partition(':')
  student = settings.student
  if kind == 'checkpoint' and rest:
    return endpoints.Local(rest, **student, seed=settings.seed, dtype=dtype, template=template, batch_size=batch_size)
  if kind == 'openai' and rest:
    return open_hosted(rest, student, base_url, concurrency, dry_run)
  raise InputError(f'--student={name!r} must be one of these: {STUDENTS}')


def open_hosted(model: str, params: dict, base_url: str | None, concurrency: int, dry_run: bool) -> endpoints.Endpoint:
  """A hosted model; raises InputError for one that is retired, or without a key where requests will be made."""
  if day := graders.retired(model):
    raise InputError(f'{model} was retired on {day}: evals/graders.py lists models that can be asked')
  known = graders.find(model)
  url = base_url or os.environ.get(online.URL_VARIABLE) or (known.base_url if known else None)
  return endpoints.Online(
    model, params, base_url=url, concurrency=concurrency, prices=graders.price(model), dry_run=dry_run
  )


def exact_grader(catalog: Catalog) -> Callable:
  """The function that grades a toy language; raises InputError for a catalog that has none."""
  if catalog.language != 'minimix':
    raise InputError(f'--grader=exact only grades catalogs of evals.minimix, not {catalog.name}: name a hosted model')
  from evals.minimix.grader import grade

  return functools.partial(grade, limit=catalog.revised_sentences)


def open_grader(
  name: str, catalog: Catalog, *, base_url: str | None, concurrency: int, dry_run: bool = False
) -> endpoints.Endpoint:
  """`openai:MODEL` or `exact`; no sampling parameter is sent."""
  if name == 'exact':
    return endpoints.Exact(exact_grader(catalog), name='exact')
  kind, _, model = name.partition(':')
  if kind == 'openai' and model:
    return open_hosted(model, {}, base_url, concurrency, dry_run)
  raise InputError(f'--grader={name!r} must be openai:MODEL, or exact for a catalog of evals.minimix')
