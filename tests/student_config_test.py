"""evals.paper --student_config: table 1 for a student that the paper does not have."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest
from paper_test import place_in, titles

from evals.paper import gpu_hours, student_config
from evals.paper.experiments import main_table
from evals.paper.places import length, paper_row, shape
from evals.paper.plan import plan_table
from skillmix_jax.devices import GPUS
from skillmix_jax.errors import InputError
from skillmix_jax.models.config import PRESETS

CONFIGS = Path(__file__).parent.parent / 'configs'
MINE = """
from configs import common


def get_config(data='D123'):
  c = common.get_config()
  c.data.path, c.model.init_from = f'data/mine-{data}', 'checkpoints/mine'
  common.paper_way(c, data, repository='me/mine', template='chatml')
  c.model.model_type, c.model.vocab_size, c.model.max_positions, c.model.tie_embeddings = 'qwen3', 151_936, 2048, True
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 2560, 36, 9728
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 32, 8, 128
  return c
"""


def test_table_1_is_planned_for_a_student_that_the_paper_does_not_have(tmp_path):
  mine = tmp_path / 'mine.py'
  mine.write_text(MINE)
  place = place_in(tmp_path, gpus=gpu_hours.parse('1xH200', 0.4))
  rows, left = plan_table(place, 1, str(mine))
  theirs, as_paper = plan_table(place, 1)
  assert [row.name for row, _ in rows] == [row.name for row, _ in theirs]
  assert [row and paper_row(row) for row, _ in rows] == [''] * 4, 'they would be shown as rows of the paper'
  assert not [step for step in left for line in step.commands if 'paper_row' in line or 'llama' in line.lower()]
  asked = lambda plan: [(step.role, step.asked) for step in plan if step.role]
  assert asked(left) == asked(as_paper), 'the questions are others'
  assert titles(left)[:7] == ['mine', 'generate', 'generate', 'D1.jsonl', 'D2.jsonl', 'D3.jsonl', 'mine-D1']
  assert left[0].commands == ('python -m skillmix_jax.convert --from_hf=me/mine --checkpoint=checkpoints/mine',)
  train = [step for step in left if step.training_hours]
  assert [re.search('--config=([^ ]*)', step.commands[0])[1] for step in train] == [
    f'{mine}:{data}' for data in ('D1', 'D12', 'D123')
  ]
  # Qwen3-4B: 4,022,468,096 weights, a tied table multiplies as the head; attention 6 x 36 x 1024 x 32 x 128
  flops = (6 * 4_022_468_096 + 6 * 36 * 1024 * 32 * 128) * 4000 * 80 * 1024
  assert train[0].training_hours == pytest.approx(flops / (989e12 * 0.4) / 3600, rel=1e-6)
  assert '64 GB of weights' in train[0].notes[1]
  samples = [step.commands[0] for step in left if 'evals.sample' in step.commands[0]]
  assert f'--run={tmp_path}/runs/eval-mine-base --student=checkpoint:checkpoints/mine' in samples[1]
  assert f'--student=checkpoint:{tmp_path}/runs/mine-D123@4000' in samples[4]
  assert f'--out={tmp_path}/runs/table1-mine.html' in left[-1].commands[0]


def test_a_student_with_adapters_trains_these_alone(tmp_path):
  mine = tmp_path / 'mine.py'
  mine.write_text(MINE.replace('  return c', '  c.model.lora.rank = 16\n  return c'))
  _, left = plan_table(place_in(tmp_path, gpus=gpu_hours.parse('1xRTX4090', 0.4)), 1, str(mine))
  train = next(step for step in left if step.training_hours)
  # rank 16 beside all seven matrices of a block: query 2560 x 4096, key and value x 1024, out; gate, up and down
  adapters = 36 * 16 * (2 * (2560 + 4096) + 2 * (2560 + 1024) + 3 * (2560 + 9728))
  # a frozen weight has no gradient of its own: 4 FLOPs of 6
  flops = (4 * 4_022_468_096 + 6 * adapters + 6 * 36 * 1024 * 32 * 128) * 4000 * 80 * 1024
  assert train.training_hours == pytest.approx(flops / (GPUS['RTX4090'].peak * 0.4) / 3600, rel=1e-6)
  state = (2 * 4_022_468_096 + 16 * adapters) / 1e9
  assert (
    f'{state:.0f} GB of weights, gradients and moments' in train.notes[1] and '0.4 GB a checkpoint' in train.notes[1]
  )
  assert not [note for note in train.notes if 'does not fit' in note]


@pytest.mark.parametrize(
  ('content', 'table', 'words'),
  [
    (MINE, 4, 'table 1'),
    (None, 1, 'not a file'),
    ('x = [', 1, 'SyntaxError'),
    ('x = 1', 1, 'get_config'),
    (MINE.replace('common.paper_way', '#'), 1, 'made_by'),
    (MINE.replace("data='D123'", '').replace('{data}', '').replace('(c, data,', "(c, 'D1',"), 1, 'the argument D1 '),
    (MINE.replace("'checkpoints/mine'", "''"), 1, 'init_from'),
    (MINE.replace('common.get_config()', '1 / 0'), 1, r'\(ZeroDivisionError: division by zero\)'),
  ],
)
def test_a_config_that_no_plan_can_be_made_of_is_refused(tmp_path, content, table, words):
  mine = tmp_path / 'mine.py'
  if content is not None:
    mine.write_text(content)
  with pytest.raises(InputError, match=words):
    student_config.rows(str(mine), table)


def test_the_papers_own_students_stay_rows_of_the_paper():
  with pytest.raises(InputError, match='--table=3 without'):
    student_config.rows('configs/mistral7b.py', 1)
  (row, *_) = main_table('configs/none.py')
  assert paper_row(row) == ''


def test_a_shape_that_nothing_says_is_refused():
  with pytest.raises(InputError, match='vocab_size is not set'):
    student_config.shape_of({'model_type': 'llama', 'dim': 64, 'vocab_size': None, 'max_positions': 128}, 'mine.py')
  for unsaid in ({'tie_embeddings': False}, {'tie_embeddings': False, 'model_type': 'qwen2', 'dim': 5120}):
    with pytest.raises(InputError, match=r'mine\.py: model\..* is not set, and no model'):  # the first may be alike
      student_config.shape_of(unsaid | {'init_from': 'W', 'vocab_size': None}, 'mine.py')
  for name, preset in PRESETS.items():
    keys = {key: value for key, value in dataclasses.asdict(preset).items() if key not in ('vocab_size', 'remat')}
    same = student_config.shape_of(keys | {'init_from': 'W', 'remat': 'save_qkv', 'lora': {'rank': None}}, 'mine.py')
    assert dataclasses.replace(same, vocab_size=preset.vocab_size) == preset, name


OURS = [path for path in sorted(CONFIGS.glob('*.py')) if 'common.student(' in path.read_text()]


@pytest.mark.parametrize('path', OURS, ids=lambda path: path.stem)
def test_every_student_in_configs_can_be_planned(path):
  rows = student_config.rows(str(path), 1)
  assert [row.data for row in rows] == ['', 'D1', 'D12', 'D123'] and length(rows[1]) == 1024
  stated = re.search(r'State: ([\d.]+) B weights', ast.get_docstring(ast.parse(path.read_text())))[1]
  assert f'{shape(rows[0]).num_params / 1e9:.2f}' == stated


def test_there_are_students_in_configs():
  assert len(OURS) >= 10
