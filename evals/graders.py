"""Models that one can name as --grader or --student, what they cost, and whose family they are.

Any other model works as well, with an unknown price: add a line here and `--dry_run` counts its dollars. Prices are
dollars per million tokens, standard service, prompts of our length (a grading prompt has about 600 tokens); VENDORS
tells which share of them a batch or a slower tier costs, and which variable holds the vendor's key. `noted` is the day
on which a dated document last confirmed the price on the page named as source: look at the page before a large run.
Models that think bill their thoughts as output.

The models of the paper cannot be asked any more: see RETIRED. So no number of ours is the paper's number under the
same grader, and every table prints the name of its grader. Only graders outside the family that wrote the training
data can confirm a result: a model may favour its own style.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

OPENAI = 'https://developers.openai.com/api/docs/pricing'
ANTHROPIC = 'https://platform.claude.com/docs/en/about-claude/pricing'
ANTHROPIC_URL = 'https://api.anthropic.com/v1/'
GOOGLE_URL = 'https://generativelanguage.googleapis.com/v1beta/openai/'


class Vendor(NamedTuple):
  """Who serves models: the ends of its host names, the variable with its key, and shares of the price by tier."""

  hosts: tuple[str, ...]
  key_variable: str
  shares: Mapping[str, float] = {}


# The shares are what batches cost at these vendors as a rule: look at the vendor's page before a large run. Anthropic's
# batches have a format of their own.
VENDORS = {
  'openai': Vendor(('openai.com',), 'OPENAI_API_KEY', {'batch': 0.5, 'flex': 0.5}),
  'anthropic': Vendor(('anthropic.com',), 'ANTHROPIC_API_KEY'),
  'google': Vendor(('googleapis.com',), 'GEMINI_API_KEY', {'batch': 0.5}),
  'mistral': Vendor(('mistral.ai',), 'MISTRAL_API_KEY', {'batch': 0.5}),
  'azure': Vendor(('azure.com',), 'AZURE_OPENAI_API_KEY'),
}
STANDARD = ('', 'default', 'auto', 'standard')  # tiers at the full price


class Hosted(NamedTuple):
  """One model: dollars per million tokens in and out, the day noted, the source, and --base_url where one is needed."""

  name: str
  family: str
  input: float
  output: float
  noted: str
  source: str
  base_url: str | None = None


MODELS = (
  Hosted('gpt-6-luna', 'openai', 0.10, 0.50, '2026-09-22', OPENAI),
  Hosted('gpt-6.1-sol', 'openai', 2.00, 10.00, '2026-10-01', OPENAI),
  Hosted('gpt-6-astra', 'openai', 10.00, 50.00, '2026-09-07', OPENAI),
  Hosted('claude-haiku-5-5', 'anthropic', 0.10, 0.50, '2026-10-24', ANTHROPIC, ANTHROPIC_URL),
  Hosted('claude-sonnet-5-5', 'anthropic', 2.00, 10.00, '2026-10-24', ANTHROPIC, ANTHROPIC_URL),
  Hosted('claude-opus-5-5', 'anthropic', 4.00, 20.00, '2026-10-24', ANTHROPIC, ANTHROPIC_URL),
  # "through December 31, 2026" says the page
  Hosted('gemini-3.8-flash', 'google', 0.75, 3.75, '2026-10-07', 'https://ai.google.dev/gemini-api/docs/pricing',
         GOOGLE_URL),
  Hosted('mistral-medium-3.5', 'mistral', 1.50, 7.50, '2026-05-22',
         'https://docs.mistral.ai/models/model-cards/mistral-medium-3-5-26-04', 'https://api.mistral.ai/v1'),
  # Open weights, own hardware: `vllm serve openai/gpt-oss-120b` (one 80 GB GPU) listens on port 8000.
  Hosted('openai/gpt-oss-120b', 'openai', 0.0, 0.0, '2026-11-21', 'https://huggingface.co/openai/gpt-oss-120b',
         'http://localhost:8000/v1'),
  Hosted('Qwen/Qwen3-32B', 'qwen', 0.0, 0.0, '2026-11-21', 'https://huggingface.co/Qwen/Qwen3-32B',
         'http://localhost:8000/v1'),
)  # fmt: skip

# The paper's graders (gpt-4 also wrote its training data), with the day from which requests fail. Sources:
# https://developers.openai.com/api/docs/deprecations, as quoted on 2026-10-15, and
# https://platform.claude.com/docs/en/about-claude/model-deprecations.
RETIRED = {
  'gpt-4': '2026-10-23',
  'gpt-4-0613': '2026-10-23',
  'claude-3-opus': '2026-01-05',
  'claude-3-opus-20240229': '2026-01-05',
  'claude-3-opus-latest': '2026-01-05',
}

_FAMILIES = {
  'gpt': 'openai', 'chatgpt': 'openai', 'ft:gpt': 'openai', 'openai/': 'openai',
  'gpt-neo': 'eleutherai', 'gpt-j': 'eleutherai', 'o1': 'openai', 'o3': 'openai', 'o4': 'openai',
  'claude': 'anthropic', 'anthropic/': 'anthropic', 'anthropic.': 'anthropic',
  'gemini': 'google', 'gemma': 'google', 'google/': 'google',
  'llama': 'meta', 'meta-llama': 'meta', 'codellama': 'meta',
  'mistral': 'mistral', 'mistralai/': 'mistral', 'mixtral': 'mistral', 'ministral': 'mistral', 'magistral': 'mistral',
  'qwen': 'qwen', 'qwq': 'qwen',
  'deepseek': 'deepseek', 'kimi': 'moonshot', 'moonshotai/': 'moonshot', 'glm': 'zhipu', 'zai-org/': 'zhipu',
  'grok': 'xai', 'x-ai/': 'xai', 'phi-': 'microsoft', 'command-': 'cohere', 'nova-': 'amazon', 'olmo': 'allenai',
}  # fmt: skip


def find(model: str) -> Hosted | None:
  """Returns the line of a model; a dated snapshot (`-2026-09-29`, `-20260929`) counts as its model."""
  undated = re.sub(r'-\d{4}-?\d\d-?\d\d$', '', model)
  return next((hosted for hosted in MODELS if hosted.name in (model, undated)), None)


def price(model: str, tier: str = '', url: str | None = None) -> tuple[float, float] | None:
  """Dollars per million tokens (input, output); None if unknown.

  Args:
    tier: 'batch' or a service tier.
    url: of the server; a model that is free on one's own hardware has no known price elsewhere.
  """
  hosted = find(model)
  if hosted is None:
    return None
  if not hosted.output:
    return (0.0, 0.0) if url is None or is_local(urlsplit(url).hostname or '') else None
  share = 1.0 if tier in STANDARD else VENDORS[hosted.family].shares.get(tier)
  return None if share is None else (hosted.input * share, hosted.output * share)


def vendor(url: str) -> Vendor | None:
  """Returns whose address it is; None: nobody's whom we know."""
  host = urlsplit(url).hostname or ''
  ours = (vendor for vendor in VENDORS.values() if any(f'.{host}'.endswith(f'.{end}') for end in vendor.hosts))
  return next(ours, None)


def is_local(host: str) -> bool:
  """Says whether a host name or address is this machine."""
  try:
    address = ipaddress.ip_address(host)
  except ValueError:
    return host == 'localhost' or host.endswith('.localhost')
  return address.is_loopback or address.is_unspecified


def family(model: str) -> str | None:
  """Says who trained a model, by the longest known beginning of its name, then of its name without the folder or
  owner.
  """
  for name in (model.lower(), model.lower().rstrip('/').rpartition('/')[2]):
    known = [start for start in _FAMILIES if name.startswith(start)]
    if known:
      return _FAMILIES[max(known, key=len)]
  return None


def retired(model: str) -> str | None:
  """Returns the day on which a model of the paper went away, as YYYY-MM-DD; None: not known to be gone."""
  return RETIRED.get(model)
