"""The reference and the page of error messages say what the code says."""

import ast
import re

from helpers.docs_blocks import ROOT
from ml_collections import ConfigDict

from configs import common, eval_paper, llama13b, mistral7b, tiny


def flat(config: ConfigDict, prefix: str = '') -> dict[str, str]:
  """'loss.chunks' -> '8': every key with its value as the reference prints it."""
  shown = {}
  for key in config:
    value = config[key]
    if isinstance(value, ConfigDict):
      shown |= flat(value, f'{prefix}{key}.')
    else:
      shown[prefix + key] = 'empty' if value == '' else f'`{value}`'
  return shown


def tables() -> tuple[list[list[str]], ...]:
  """The rows of the three tables of keys: cells without blanks around them."""
  text = (ROOT / 'docs/reference/config.md').read_text()
  rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('| `')]
  shapes, evaluation = (
    text[: text.index(words)].count('\n| `') for words in ('An experiment also sets', '## Evaluation')
  )
  return rows[:shapes], rows[shapes:evaluation], rows[evaluation:]


def test_the_reference_has_every_key_and_its_default():
  training, shapes, evaluation = tables()
  for rows, config in ((training, common.get_config()), (evaluation, eval_paper.get_config())):
    assert {row[0].strip('`'): row[1] for row in rows} == flat(config)
  shared = flat(common.get_config())
  for column, module in enumerate((llama13b, mistral7b, tiny), start=1):
    own = {key: value for key, value in flat(module.get_config()).items() if key not in shared}
    assert {row[0].strip('`'): row[column] for row in shapes} == own


def messages() -> list[str]:
  """Every text of our code, with ... for what an f-string puts in."""
  found = []
  for folder in ('skillmix_jax', 'evals'):
    for path in (ROOT / folder).rglob('*.py'):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
          found.append(''.join(part.value if isinstance(part, ast.Constant) else '...' for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
          found.append(node.value)
  return found


NOT_OURS = {'RESOURCE_EXHAUSTED', 'out of device memory', 'The following tasks are unhealthy'}


def test_every_message_of_troubleshooting_is_printed_somewhere():
  page = (ROOT / 'docs/troubleshooting.md').read_text()
  quoted = re.findall(r'^- `((?:[^`]|``)+)`(?!`)', page, re.M)
  assert len(quoted) > 30
  known = {''.join(message.split()) for message in messages() if len(message) < 600}  # longer ones are docstrings
  for message in set(quoted) - NOT_OURS:
    parts = [re.escape(''.join(part.split())) for part in message.replace('``', '`').split('...') if part]
    assert any(re.search('.*?'.join(parts), text) for text in known), message
