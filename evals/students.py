"""`--student=` and `--grader=`: from what the command line says to an endpoint that answers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from absl import flags

from evals import graders
from evals.questions.catalog import Catalog
from evals.questions.settings import Settings
from evals.replies import address, endpoints, parameters
from evals.replies.batch_files import BatchFiles
from evals.replies.online import TIMEOUT
from skillmix_jax.errors import InputError

flags.disclaim_key_flags()  # those defined here are the command's, and in its --help

STUDENTS = (
  'checkpoint:W, a workdir of ours, W@step or a Hugging Face folder, as in --student=checkpoint:runs/llama13b-D123; '
  'or openai:MODEL, a model of OpenAI or of the server at --base_url, as in --student=openai:gpt-6-luna'
)


@dataclasses.dataclass(frozen=True)
class Access:
  """How hosted models are asked; the flags of the same names say what each means.

  Attributes:
    params: body parameters besides those of the config.
  """

  base_url: str | None = None
  allow_http: bool = False
  concurrency: int = 64
  timeout: float = TIMEOUT
  rpm: float | None = None
  tpm: float | None = None
  max_dollars: float | None = None
  batch: str | None = None
  params: dict[str, Any] = dataclasses.field(default_factory=dict)
  dry_run: bool = False


def define_flags(params: str):
  """Defines the flags of all commands that ask hosted models; `params` is the name of that for body parameters."""
  flags.DEFINE_string(
    'base_url', None, 'of an OpenAI-compatible server; default $OPENAI_BASE_URL, or the address of the vendor'
  )
  flags.DEFINE_boolean('allow_http', False, 'also a --base_url on another machine without https')
  flags.DEFINE_integer('concurrency', 64, 'requests in flight', lower_bound=1)
  flags.DEFINE_float('timeout', TIMEOUT, 'seconds for an answer; then it is asked again with twice as many, and again')
  flags.DEFINE_float('rpm', None, 'requests a minute at most')
  flags.DEFINE_float('tpm', None, 'tokens a minute at most, in and out')
  flags.DEFINE_string(params, '', 'sent with each request: reasoning_effort=low,service_tier=flex or a JSON object')
  flags.DEFINE_float('max_dollars', None, 'stop before the replies of this model in this run have cost more')
  flags.DEFINE_float('canary', 0.2, 'stop when a larger share of the replies is of no use', 0.0, 1.0)
  flags.DEFINE_string('batch', None, 'folder: write batch files there and take up their results, instead of asking')
  flags.DEFINE_boolean('dry_run', False, 'only say what would be asked and what it would cost')


def access(params: str) -> Access:
  """Reads these flags; raises InputError for body parameters that cannot be read."""
  names = [field.name for field in dataclasses.fields(Access) if field.name != 'params']
  values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
  return Access(**values, params=parameters.parse(str(flags.FLAGS[params].value or ''), params))


def open_student(
  name: str, settings: Settings, access: Access, *, dtype: str, template: str | None, batch_size: int | None
) -> endpoints.Endpoint:
  """`checkpoint:W` or `openai:MODEL`; raises InputError for anything else, and where it cannot be reached."""
  kind, _, rest = name.partition(':')
  student = settings.student
  if kind == 'checkpoint' and rest:
    if access.batch or access.params:
      raise InputError('--batch and --student_params are for hosted students, not for a checkpoint')
    return endpoints.Local(rest, **student, seed=settings.seed, dtype=dtype, template=template, batch_size=batch_size)
  if kind == 'openai' and rest:
    if twice := [key for key in access.params if student.get(key) is not None]:
      raise InputError(f'{twice[0]!r} is in --student_params and in --config.student: give it once')
    return open_hosted(rest, student | access.params, access)
  raise InputError(f'--student={name!r} must be one of these: {STUDENTS}')


def open_hosted(model: str, params: dict[str, Any], access: Access) -> endpoints.Endpoint:
  """A hosted model; raises InputError for one that is retired, or without a key where requests will be made."""
  known = graders.find(model)
  usual_url = known.base_url if known else None
  where = address.resolve(access.base_url, usual_url, access.allow_http)
  if (day := graders.retired(model)) and where.vendor is graders.VENDORS.get(graders.family(model) or ''):
    raise InputError(f'{model} was retired on {day}: evals/graders.py lists models that can be asked')
  if access.batch:
    if 'service_tier' in params:
      raise InputError('a batch has a price of its own: leave out service_tier, or --batch')
    return BatchFiles(
      access.batch, model, params, is_openai=where.is_openai, max_dollars=access.max_dollars,
      prices=graders.price(model, 'batch', where.url),
    )  # fmt: skip
  tier = str(params.get('service_tier', ''))
  return endpoints.Online(
    model, params, access.base_url, access.concurrency, access.timeout, prices=graders.price(model, tier, where.url),
    dry_run=access.dry_run, usual_url=usual_url, allow_http=access.allow_http, rpm=access.rpm, tpm=access.tpm,
    max_dollars=access.max_dollars,
  )  # fmt: skip


def exact_grader(catalog: Catalog) -> Callable:
  """The function that grades a toy language; raises InputError for a catalog that has none."""
  if catalog.language != 'minimix':
    raise InputError(f'--grader=exact only grades catalogs of evals.minimix, not {catalog.name}: name a hosted model')
  from evals.minimix.grader import grade

  return functools.partial(grade, limit=catalog.revised_sentences)


def open_grader(name: str, catalog: Catalog, access: Access) -> endpoints.Endpoint:
  """`openai:MODEL` or `exact`; no parameter is sent that --grader_params does not name."""
  if name == 'exact':
    if access.batch or access.params:
      raise InputError('--batch and --grader_params are for hosted graders, not for --grader=exact')
    return endpoints.Exact(exact_grader(catalog), name='exact')
  kind, _, model = name.partition(':')
  if kind == 'openai' and model:
    return open_hosted(model, access.params, access)
  raise InputError(f'--grader={name!r} must be openai:MODEL, or exact for a catalog of evals.minimix')


def is_hosted(endpoint: endpoints.Endpoint) -> bool:
  """Says whether its replies are made by a model that somebody else runs."""
  return isinstance(endpoint, (endpoints.Online, BatchFiles))
