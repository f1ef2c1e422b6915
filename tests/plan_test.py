"""plan without compilers: targets, the arithmetic against what XLA's compilers said, advice, and the command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.data_fixtures import bpe_folder, write_jsonl
from ml_collections import ConfigDict

from configs import (
  llama13b,
  llama31_8b,
  llama32_1b,
  llama32_3b,
  mistral7b,
  olmo2_1b,
  olmo2_7b,
  qwen3_4b,
  qwen25_0_5b,
  qwen25_1_5b,
  qwen25_7b,
  tiny,
)
from skillmix_jax import plan
from skillmix_jax.data.mixture import Mixture
from skillmix_jax.data.records import open_data
from skillmix_jax.devices import GPUS
from skillmix_jax.errors import InputError
from skillmix_jax.planning import hardware
from skillmix_jax.planning.estimate import memory, step_seconds
from skillmix_jax.planning.hardware import GIB, parse_target
from skillmix_jax.prepare import prepare

ROOT = Path(__file__).parent.parent

# GiB of a device by the compilers of jax 0.10.2 (libtpu 0.0.42, CUDA 12 plugin); docs/guides/scale.md has the commands.
COMPILED = [
  (llama13b, '4xH100', {'attention': 'xla'}, 68.49),
  (llama13b, '4xH100', {}, 64.99),
  (llama13b, '2xH100', {'attention': 'xla'}, 135.55),
  (llama13b, '8xH100', {}, 32.90),
  (llama13b, '8xH100', {'remat': 'save_qkv'}, 44.42),
  (llama13b, '8xH100', {'remat': 'save_qkv_context'}, 48.39),
  (llama13b, '8xH100', {'remat': 'save_all_matmuls'}, 69.22),
  (llama13b, '8xH100', {'tensor': 2}, 37.02),
  (llama13b, '4xH100', {'mu_dtype': 'bfloat16'}, 58.93),
  (llama13b, '4xH100', {'accumulation': 2}, 70.84),
  (llama13b, '4xH100', {'accumulation': 5}, 67.33),
  (llama13b, 'v5p-16', {'attention': 'xla'}, 34.72),
  (llama13b, 'v5p-16', {}, 33.76),
  (llama13b, 'v5e-32', {'attention': 'xla'}, 9.79),
  (llama13b, 'v5e-8', {'attention': 'xla'}, 33.62),
  (mistral7b, '4xH100', {'attention': 'xla'}, 40.90),
  (mistral7b, '4xH100', {}, 38.32),
  (mistral7b, '8xH100', {'tensor': 2}, 22.11),
  (mistral7b, '1xH200', {'dialogs': 26, 'text_rows': 6}, 120.35),
  (mistral7b, '1xH200', {'attention': 'xla'}, 147.54),
  (mistral7b, 'v5e-16', {'attention': 'xla'}, 10.52),
  (mistral7b, 'v5e-16', {}, 9.96),
]  # fmt: skip
BF16 = {'mu_dtype': 'bfloat16'}
ON_ONE_GPU = [
  (qwen25_0_5b, '1xRTX4090', {}, 15.05),
  (llama32_1b, '1xRTX4090', BF16 | {'dialogs': 16, 'text_rows': 4}, 20.08),
  (llama32_1b, '1xA100-40GB', {}, 29.65),
  (olmo2_1b, '1xA100-40GB', BF16, 30.99),
  (olmo2_1b, '1xL40S', {}, 33.75),
  (qwen25_1_5b, '1xA100-40GB', BF16, 34.64),
  (qwen25_1_5b, '1xL40S', {}, 37.51),
  (llama32_3b, '1xA100-80GB', {}, 71.52),
  (qwen3_4b, '1xH100', BF16 | {'dialogs': 32, 'text_rows': 8}, 64.08),
  (qwen3_4b, '1xH200', {}, 85.52),
  (olmo2_7b, '1xH200', BF16, 129.35),
  (qwen25_7b, '1xH200', BF16, 125.72),
  (llama31_8b, '1xH200', BF16, 132.50),
]  # fmt: skip
GROUPS = {
  'attention': 'model', 'remat': 'model', 'tensor': 'mesh', 'mu_dtype': 'optimizer', 'dialogs': 'data',
  'text_rows': 'data',
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_data_and_no_compilers(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(hardware, 'has_compiler', lambda target: False)


def make_config(module, changes: dict | None = None) -> ConfigDict:
  config = module.get_config()
  for name, value in (changes or {}).items():
    (config[GROUPS[name]] if name in GROUPS else config)[name] = value
  return config


@pytest.mark.parametrize(('module', 'name', 'changes', 'compiled'), COMPILED)
def test_the_estimate_is_within_10_percent_of_the_compilers(module, name, changes, compiled):
  run, _ = plan.read_run(make_config(module, changes), parse_target(name))
  assert sum(memory(run).values()) / GIB == pytest.approx(compiled, rel=0.10)


@pytest.mark.parametrize(('module', 'name', 'changes', 'compiled'), ON_ONE_GPU)
def test_on_one_gpu_the_estimate_of_a_student_is_at_most_14_percent_too_high(module, name, changes, compiled):
  run, _ = plan.read_run(make_config(module, changes), parse_target(name))
  assert compiled <= sum(memory(run).values()) / GIB <= 1.14 * compiled


def test_the_state_of_13b_by_hand():
  run, _ = plan.read_run(make_config(llama13b), parse_target('4xH100'))
  sizes = memory(run)
  assert sizes['weights'] * 4 == 13_015_864_320 * 4
  assert sizes['moments'] * 4 == 13_015_864_320 * 8
  assert run.rows == 80 and run.tokens == 20 * 1024


def test_float32_is_planned_with_xla_attention_and_refused_with_cudnn():
  target = parse_target('1xH100')
  run, _ = plan.read_run(make_config(tiny), target)
  assert (run.config.dtype, run.config.attention) == ('float32', 'xla')
  with pytest.raises(InputError, match=r'model\.attention=cudnn does not compute in model\.dtype=float32'):
    plan.read_run(make_config(tiny, {'attention': 'cudnn'}), target)


def test_packed_rows_are_planned_as_the_data_has_them(tmp_path):
  lines = [
    {'messages': [{'role': role, 'content': 'word ' * n} for role in ('user', 'assistant')]} for n in range(10, 50)
  ]
  prepare(
    out=tmp_path / 'data', tokenizer_path=bpe_folder(tmp_path / 'tokenizer'), template='mistral', length=512,
    row_length=1024, dialogs=[str(write_jsonl(tmp_path / 'a.jsonl', lines))], held_out=0,
  )  # fmt: skip
  config = make_config(mistral7b, {'text_rows': 0, 'dialogs': 12})
  config.data.path, config.data.packing, config.steps = str(tmp_path / 'data'), True, 20
  run, notes = plan.read_run(config, parse_target('4xH100'))
  batch = Mixture(open_data(tmp_path / 'data'), seed=0, dialogs=12, text_rows=0, packing=True, steps=20)[7]['tokens']
  assert (run.rows, run.length) == (-(-len(batch) // 4) * 4, batch.shape[1]) == (8, 1024)
  assert not [note for note in notes if 'rows' in note]
  config.data.packing = False
  with pytest.raises(InputError, match=r'rows of 1024 tokens .* --config\.data\.packing=True'):
    plan.read_run(config, parse_target('4xH100'))


def test_the_compilers_limit_is_the_budget():
  target = parse_target('4xH100')
  given = re.search(r'device_memory_size: (\d+)', hardware._gpu_config(target))
  assert given and abs(int(given[1]) * 0.8 - target.budget) < 2  # XLA takes 80 % of it
  config = make_config(llama13b)
  assert plan.make_plan(config, target).budget_bytes_per_device == target.budget


def test_step_time_brackets_the_published_mfu():
  run, _ = plan.read_run(make_config(llama13b), parse_target('8xH100'))
  low, high = step_seconds(run, parse_target('8xH100'))
  at_45_percent = 80 * 1024 * 78.3e9 / (8 * 989e12 * 0.45)  # 6 (N - lookup) + causal attention
  assert low < at_45_percent < high


@pytest.mark.parametrize(
  ('name', 'devices', 'gib', 'topology'),
  [
    ('4xH100', 4, 79, '1x1x4'),
    ('16xA100-80GB', 16, 79, '1x2x8'),
    ('1xH200', 1, 139, '1x1x1'),
    ('1xA100-40GB', 1, 39, '1x1x1'),
    ('1xL40S', 1, 44, '1x1x1'),
    ('1xRTX4090', 1, 23, '1x1x1'),
    ('v5p-16', 8, 95, 'v5p:2x2x2'),  # two cores a chip
    ('v4-32', 16, 30, 'v4:2x2x4'),
    ('v5e-32', 32, 15, 'v5e:4x8'),
    ('v6e-16', 16, 31, 'v6e:4x4'),
  ],
)
def test_targets(name, devices, gib, topology):
  target = parse_target(name)
  assert (target.num_devices, target.memory // GIB, target.topology) == (devices, gib, topology)
  assert target.peak > 1e14


@pytest.mark.parametrize('name', ['4xB100', 'H100', '0xH100', '12xH100', 'v5p-7', 'v7-8', '', '4xH100 '])
def test_an_unknown_target_lists_the_known_ones(name):
  with pytest.raises(InputError, match=r'NxH100.*v5p-8\|16.*v6e-4'):
    parse_target(name)


def test_every_target_that_is_listed_can_be_parsed():
  for first in (*(f'1x{name}' for name in GPUS), 'v4-8', 'v5p-8', 'v5e-4', 'v6e-4'):
    larger = hardware.larger(parse_target(first))
    assert len(larger) >= 5
    assert [x.num_devices for x in larger] == sorted(x.num_devices for x in larger)


@pytest.mark.parametrize(
  ('module', 'name', 'fits'),
  [
    (llama13b, '4xH100', True),
    (llama13b, '2xH100', False),
    (llama13b, 'v5e-8', False),
    (llama13b, 'v5p-16', True),
    (llama13b, 'v5e-32', True),
    (mistral7b, '4xH100', True),
  ],
)
def test_what_fits_by_arithmetic(module, name, fits):
  found = plan.make_plan(make_config(module), parse_target(name))
  assert (found.method, found.fits) == ('analytic', fits)
  assert found.fits == (found.peak_bytes_per_device <= found.budget_bytes_per_device)
  assert any('arithmetic' in note for note in found.notes)


@pytest.mark.parametrize(
  ('module', 'name', 'changes', 'expected'),
  [
    (mistral7b, '1xH200', {'dialogs': 52, 'text_rows': 4}, {'optimizer.mu_dtype': 'bfloat16'}),
    (llama13b, '8xH100', {'remat': 'save_all_matmuls', 'mu_dtype': 'bfloat16', 'dialogs': 90}, {'model.remat': 'full'}),
    (llama13b, '4xH100', {'dialogs': 240}, {'optimizer.mu_dtype': 'bfloat16', 'accumulation': 4}),
  ],
)
def test_the_cheapest_change_is_named(module, name, changes, expected):
  config, target = make_config(module, changes), parse_target(name)
  found = plan.make_plan(config, target)
  assert not found.fits
  change = plan.find_change(config, target, found)
  assert change['set'] == expected
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(change['set'])
  assert plan.make_plan(changed, target).fits


def test_where_no_change_helps_a_larger_target_is_named():
  config, target = make_config(llama13b), parse_target('v5e-8')
  change = plan.find_change(config, target, plan.make_plan(config, target))
  assert change['target'] == 'v5e-32'


def command(*arguments: str) -> subprocess.CompletedProcess:
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  everything = [sys.executable, '-m', 'skillmix_jax.plan', *arguments]
  return subprocess.run(everything, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_command_answers_people_and_programs(tmp_path):
  path = tmp_path / 'plan.json'
  done = command('--config=configs/llama13b.py', '--target=2xH100', f'--json={path}')
  assert done.returncode == 0, done.stderr  # also where it does not fit
  assert 'DOES NOT FIT' in done.stdout and '--target=4xH100' in done.stdout
  answer = json.loads(path.read_text())
  assert answer['target'] == '2xH100' and answer['num_devices'] == 2 and answer['fits'] is False
  assert answer['method'] in ('analytic', 'compiled') and answer['attention'] in ('cudnn', 'xla')
  assert answer['peak_bytes_per_device'] > answer['budget_bytes_per_device']


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (('--target=4xB100',), 'error: --target=4xB100 is not known; known are NxH100'),
    ((), 'error: --target is missing; known are NxH100'),
    (('--target=v5p-16', '--config.model.attention=cudnn'), 'error: model.attention=cudnn needs NVIDIA GPUs'),
  ],
)
def test_wrong_input_is_one_line(arguments, said):
  done = command('--config=configs/llama13b.py', *arguments)
  assert done.returncode == 2 and done.stderr.startswith(said) and done.stderr.count('\n') == 1
