"""What is stored of the notebook: every cell was run, and nothing tells of the machine. tests/slow runs it."""

import json
import re
from pathlib import Path

NOTEBOOK = Path(__file__).parent.parent / 'examples' / 'first_hour.ipynb'


def test_the_stored_notebook_was_run_once_and_is_small():
  notebook = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
  code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  assert [cell['execution_count'] for cell in code] == list(range(1, len(code) + 1))
  assert all(cell['outputs'] for cell in code[1:])
  assert not [output for cell in code for output in cell['outputs'] if output['output_type'] == 'error']
  assert notebook['metadata']['kernelspec']['name'] == 'python3'
  assert NOTEBOOK.stat().st_size < 200_000


def test_the_stored_notebook_names_no_place_of_a_machine():
  text = NOTEBOOK.read_text(encoding='utf-8')
  assert not re.findall(r'/(?:home|root|tmp|work|usr|opt|Users|var)/\S*|https?://\S*(?:pypi|simple)\S*|\[\?25', text)
