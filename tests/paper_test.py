"""evals.paper: the paper's rows as data, what is done of them, what is left, and its cost."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from evals_test import reply
from helpers.fake_openai import Server

from evals.paper import gpu_hours
from evals.paper.__main__ import price
from evals.paper.experiments import DIALOGS, TABLES, TRAINING
from evals.paper.places import Place, config_of, paper_row, prepared, shape, student_of
from evals.paper.plan import plan_figure_2, plan_table
from evals.paper.run_plans import plan_row
from evals.paper.steps import preparation_step
from evals.questions import paper_tables
from evals.questions.settings import from_config
from evals.replies import run as runs
from evals.replies import waves
from evals.replies.run import Student
from skillmix_jax.models.config import PRESETS

NUMBERS = re.compile(r'([\d,]+) requests(?: to our own model)?, about ([\d,]+) \+ ([\d,]+) tokens')


def command(module, *arguments, code=0, url='http://127.0.0.1:9/v1'):
  env = os.environ | {'OPENAI_BASE_URL': url, 'OPENAI_API_KEY': 'sk-planted'}
  done = subprocess.run(
    [sys.executable, '-m', module, *arguments], env=env, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == code, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  return done.stdout if code == 0 else done.stderr.strip().splitlines()[-1]


def numbers(text):
  return tuple(int(one.replace(',', '')) for one in NUMBERS.search(text).groups())


def place_in(path, **changes):
  gpus = gpu_hours.parse('4xH100', 0.4)
  place = Place(path / 'runs', path / 'data', 'openai:fake-1', 'openai:fake-1', 'openai:fake-2', gpus)
  return dataclasses.replace(place, **changes)


def touch_dialogs(path, names=('D1', 'D2', 'D3', 'D123_8000', 'D4')):
  (path / 'data').mkdir(exist_ok=True)
  for name in names:
    (path / f'data/{name}.jsonl').touch()


def titles(steps):
  return [step.title.split(':')[0].rpartition('/')[2] for step in steps]


@pytest.mark.parametrize(('table', 'printed'), [(1, 10), (3, 11), (4, 4), (5, 5), (6, 6), (10, 10), (11, 11)])
def test_every_row_of_the_paper_is_an_experiment(table, printed):
  theirs = paper_tables.printed().rows(printed)
  graders = 2 if table == 5 else 1
  assert [paper_tables.parse_row(paper_row(row)) for row in TABLES[table]] == theirs * graders
  for row in TABLES[table]:
    assert not row.data or set(TRAINING[row.data]) <= set(DIALOGS)
    wanted = {'settings': ('train', 'held_out', 'all'), 'ks': (1, 2, 3, 4, 5)} | row.evaluation.overrides
    cells = [(setting, k) for setting in wanted['settings'] for k in wanted['ks']]
    assert cells == paper_tables.printed().columns(printed)


def test_configs_take_every_argument_and_have_the_models_that_are_costed():
  usual = Place(Path('runs'), Path('data'), None, None, None, None)
  for row in {(row.config, row.data): row for rows in TABLES.values() for row in rows}.values():
    config = config_of(row)
    if row.data:
      assert config.data.path == str(prepared(usual, row))
      assert preparation_step(usual, row).commands == (config.made_by.data,)
    # as published, by what the config says of them
    assert shape(row).num_params == {'llama13b': 13_015_864_320, 'mistral7b': 7_241_732_096}[row.config]
    for name in ('dim', 'num_layers', 'ffn_dim', 'num_heads', 'num_kv_heads', 'head_dim', 'rope_theta', 'window'):
      assert getattr(shape(row), name) == config.model[name], name


def check_against_dry_run(table, path):
  """Runs every sample and grade of a plan with --dry_run; returns what the plan printed and its modules in order."""
  out = command('evals.paper', f'--table={table}', f'--runs={path}/runs', f'--data={path}/data')
  blocks = re.split(r'\n\n(?=\d+\. )', out.split('\nTotal')[0])[1:]
  checked, sampled = {}, []
  for block in blocks:
    found = re.search(r'\$ python -m (evals\.(?:sample|grade) .*)', block)
    if found is None:
      continue
    module, *arguments = shlex.split(found[1])
    run = Path(next(one for one in arguments if one.startswith('--run=')).removeprefix('--run='))
    is_data = run.name == 'generate'
    if (module, is_data) not in checked:
      if module == 'evals.grade':  # the folder as it is when sampling has begun
        runs.start(run, settings_of(*sampled), Student('openai:fake-1', 'fake-1', {}))
      else:
        sampled = arguments = [re.sub('--student=.*', '--student=openai:fake-1', one) for one in arguments]
      checked[module, is_data] = numbers(command(module, *arguments, '--dry_run'))
    assert checked[module, is_data] == numbers(block), found[1]
  assert all(numbers(line) for line in re.findall(r'  (?:student|grader): .*', out))
  return out, [re.search(r'-m \S+\.(\w+)', block)[1] for block in blocks], checked


def settings_of(*arguments):
  """Of the command line of evals.sample."""
  code = 'import sys, json; from absl import flags; from ml_collections import config_flags\n'
  code += (
    "c = config_flags.DEFINE_config_file('config'); [flags.DEFINE_string(n, '', '') for n in ('run', 'student')]\n"
  )
  code += 'flags.FLAGS(sys.argv); print(json.dumps(c.value.to_dict()))'
  done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True, check=True)
  return from_config(json.loads(done.stdout))


def test_an_empty_folder_gives_a_plan_whose_numbers_are_those_of_dry_run(tmp_path):
  touch_dialogs(tmp_path)  # tests/slow generates them
  out, modules, checked = check_against_dry_run(4, tmp_path)
  assert modules == ['convert', *['prepare', 'train'] * 3, *['sample', 'grade'] * 3, 'report']
  assert checked['evals.sample', False][0] == 6000 and checked['evals.grade', False][0] == 9000
  assert numbers(re.search(r'  grader: .*', out)[0])[0] == 3 * 9000


def test_a_plan_knows_what_is_there(tmp_path):
  place, row = place_in(tmp_path), TABLES[5][1]
  touch_dialogs(tmp_path)
  few = ['--config.settings=all', '--config.ks=2,3', '--config.num_combinations=2', '--config.generations=1']
  path = tmp_path / 'runs/eval-llama13b-D1'
  reply.votes = {}
  with Server(reply=reply) as server:
    sample = ['evals.sample', '--config=configs/eval_paper.py', *few, f'--run={path}', '--student=openai:fake-1']
    command(*sample, url=server.base_url)
    command('evals.grade', f'--run={path}', '--grader=openai:fake-1', url=server.base_url)
  # what the folder has besides stays, and the table adds what it wants
  plan = plan_row(place, row)
  assert plan.run.settings.ks == (2, 3, 4, 5) and plan.run.settings.generations == 1
  assert (plan.texts, plan.votes) == (4, 12) and plan.student == 'openai:fake-1'
  assert plan.sampling.requests == 2 * (1000 - 4) and plan.grading.requests == 3 * (1000 - 4)
  assert '--config.generations=1' in plan.arguments and '--config.paper_row=LLaMA-2-13B-Chat D(1)' in plan.arguments
  out = command('evals.sample', *plan.arguments, f'--run={path}', '--student=openai:fake-1', '--dry_run')
  assert numbers(out) == dataclasses.astuple(plan.sampling)[:3]
  # the same answers for a second grader: copied, told so, then only votes are left
  claude = TABLES[5][4]
  _, steps = plan_table(place, 5)
  copied = next(step for step in steps if step.title.endswith('D1-claude: the same answers for another grader'))
  assert copied.commands[0].startswith(f'cp -r {path} {path}-claude')
  subprocess.run(copied.commands[0], shell=True, check=True)
  plan = plan_row(place, claude)
  assert (plan.texts, plan.votes, plan.settled) == (4, 0, False) and plan.grader == 'openai:fake-2'
  who = runs.open_run(path).student
  runs.start(Path(f'{path}-claude'), plan.run.settings, who)
  plan = plan_row(place, claude)
  assert plan.settled and plan.run.settings.grading_prompt == 'grade_claude'
  prompt = waves.grading_prompt(plan.run, next(waves.texts(plan.run)))
  assert "'|'" in prompt, 'not the prompt that Claude got'


def test_what_nobody_needs_is_not_asked_for(tmp_path):
  place, row = place_in(tmp_path), TABLES[1][1]
  touch_dialogs(tmp_path, ('D1', 'D2'))
  (tmp_path / 'runs/llama13b-D1/checkpoints/2000').mkdir(parents=True)
  _, steps = plan_table(place, 1)
  assert titles(steps)[:4] == ['llama2-13b-chat', 'generate', 'generate', 'D3.jsonl']
  half, whole = [step.training_hours for step in steps if step.training_hours][:2]
  assert half == pytest.approx(whole / 2)
  touch_dialogs(tmp_path)
  (tmp_path / 'data/llama2-D12').mkdir()
  (tmp_path / 'data/llama2-D12/manifest.json').touch()
  shutil.move(tmp_path / 'runs/llama13b-D1/checkpoints/2000', tmp_path / 'runs/llama13b-D1/checkpoints/4000')
  _, steps = plan_table(place, 1)
  assert titles(steps)[:4] == ['llama2-13b-chat', 'llama13b-D12', 'llama2-D123', 'llama13b-D123']
  train = next(step.commands[0] for step in steps if step.training_hours)
  assert (
    f'--config.data.path={tmp_path}/data/llama2-D12' in train and f'--workdir={tmp_path}/runs/llama13b-D12' in train
  )
  assert student_of(place, row) == f'checkpoint:{tmp_path}/runs/llama13b-D1@4000'


def test_table_6_says_that_its_list_is_missing(tmp_path):
  place = place_in(tmp_path)
  touch_dialogs(tmp_path)
  assert titles(plan_table(place, 6)[1])[0] == 'common.txt'
  (tmp_path / 'data/common.txt').write_text('metaphor\n')
  rows, steps = plan_table(place, 6)
  assert titles(steps)[0] != 'common.txt'
  assert not any('metaphor' in one.skills for _, plan in rows for one in plan.run.combinations)
  assert f'--config.exclude_skills=@{tmp_path}/data/common.txt' in rows[0][1].arguments


def test_figure_2_has_a_hosted_student_where_the_paper_has_gpt_4(tmp_path):
  touch_dialogs(tmp_path)
  rows, left = plan_figure_2(place_in(tmp_path))
  llama, mistral = 'LLaMA-2-13B-Chat', 'Mistral-7B-Instruct-v0.2'
  students = [llama, f'{llama} D(1,2,3)', mistral, f'{mistral} D(1,2,3)', None]
  assert [row and paper_row(row) for row, _ in rows] == students
  hosted = [step for step in left if step.role == 'student']
  # held-out skills: (3 x 100 + 2 x 400) combinations x 3 texts x 2 rounds
  assert [step.asked.requests for step in hosted] == [6600]
  assert hosted[0].commands == (
    'python -m evals.sample --config=configs/eval_paper.py --config.settings=held_out '
    f'--run={tmp_path}/runs/eval-fake-1 --student=openai:fake-1',
  )
  assert sum(step.asked.requests for step in left if step.role == 'grader') == 5 * 9900
  report = left[-1].commands[0]
  assert report.endswith(f'--out={tmp_path}/runs/figure2.html --figure={tmp_path}/runs/figure2.svg')
  assert f'{tmp_path}/runs/eval-fake-1' in report
  assert 'openai:STUDENT' in plan_figure_2(place_in(tmp_path, student=None))[1][-3].commands[0]


def test_gpu_hours_are_those_of_the_formula():
  gpus = gpu_hours.parse('4xH100', 0.4)
  tokens = 4000 * 80 * 1024
  # 78.4 and 43.5 GFLOPs a token (attention included), 989 TFLOP/s
  for name, gflops in (('llama2-13b', 78.4), ('mistral-7b-v0.2', 43.5)):
    hours = gpus.training_hours(PRESETS[name], tokens, 1024)
    assert hours == pytest.approx(gflops * 1e9 * tokens / (989e12 * 0.4) / 3600, rel=2e-3)
  assert gpus.holds(PRESETS['llama2-13b']) and not gpu_hours.parse('1xH200', 0.4).holds(PRESETS['llama2-13b'])
  assert gpu_hours.parse('1xH200', 0.4).holds(PRESETS['mistral-7b-v0.2'])
  assert gpus.sampling_hours(PRESETS['llama2-13b'], 0, 0, 0) == 0


@pytest.mark.parametrize(
  ('flags', 'words'),
  [
    ([], '1, 3, 4, 5, 6, 10, 11'),
    (['--table=1', '--figure=2'], '--figure=2, or --table'),
    (['--table=2'], '--table'),
    (['--table=1', '--grader=openai:gpt-4'], 'retired'),
    (['--table=1', '--grader=gpt'], 'openai:MODEL'),
    (['--table=1', '--gpus=4xB9000'], 'H100'),
    (['--table=1', '--mfu=40'], 'mfu'),
  ],
)
def test_bad_input_is_one_line(flags, words):
  assert words in command('evals.paper', *flags, code=2)


def test_a_plan_needs_no_jax():
  code = 'import sys, evals.paper.__main__; sys.exit("jax" in sys.modules or "openai" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_a_tier_is_in_the_commands_and_in_the_price(tmp_path):
  touch_dialogs(tmp_path)
  place = place_in(tmp_path, grader='openai:gpt-6-luna')
  lines = {}
  for tier in ('standard', 'flex', 'batch'):
    _, steps = plan_table(dataclasses.replace(place, tier=tier), 1)
    votes = [step for step in steps if step.role == 'grader']
    lines[tier] = [step.commands[0] for step in votes]
    assert price('openai:gpt-6-luna', tier)[1] == (0.5 if tier == 'standard' else 0.25)
  for plain, flex, batch in zip(*lines.values()):
    run = re.search('--run=([^ ]*)', plain)[1]
    assert flex == f'{plain} --grader_params=service_tier=flex' and batch == f'{plain} --batch={run}/batch'
