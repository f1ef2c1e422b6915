"""Config, workdir and weights agree before anything is compiled, and what is missing is named with its commands."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.data_fixtures import bpe_folder
from train_test import make_config, run

from configs import common, eval_paper, llama13b, minimix, mistral7b, tiny
from evals.paper import experiments
from evals.paper.places import Place
from evals.paper.steps import conversion_step, preparation_step
from skillmix_jax import config_flag
from skillmix_jax.errors import InputError
from skillmix_jax.experiment import check_numbers, open_inputs
from skillmix_jax.pretrained import open_source
from skillmix_jax.train import train

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope='module')
def trained(tmp_path_factory, small_data) -> Path:
  """A run of one step."""
  folder = tmp_path_factory.mktemp('trained') / 'run'
  run(folder, small_data, steps=1)
  return folder


def test_a_shape_that_is_not_that_of_the_weights_is_refused_and_the_same_is_not(tmp_path, small_data, trained):
  for name, value, says in (('dim', 32, '64'), ('tie_embeddings', True, 'False'), ('vocab_size', 512, '304')):
    config = make_config(small_data, model__init_from=str(trained), **{f'model__{name}': value})
    with pytest.raises(InputError, match=rf'model\.{name}={value}, but the weights of .*run have {says}'):
      train(config, tmp_path / 'run')
  config = make_config(small_data, model__init_from=str(trained), steps=1, model__vocab_size=304)
  assert train(config, tmp_path / 'run') == 0


def test_a_run_of_an_earlier_version_keeps_its_held_out_rows(tmp_path, small_data):
  folder = tmp_path / 'run'
  run(folder, small_data, held_out__rows=4, steps=3)
  saved = json.loads((folder / 'config.json').read_text())
  assert saved['held_out'].pop('chosen') == 'spread'
  (folder / 'config.json').write_text(json.dumps(saved))
  rows = run(folder, small_data, held_out__rows=4, steps=6)
  assert json.loads((folder / 'config.json').read_text())['held_out']['chosen'] == 'first'
  spread = run(tmp_path / 'new', small_data, held_out__rows=4, steps=6)
  assert rows[6, 'loss'] == spread[6, 'loss']  # what is trained is the same
  assert rows[3, 'held_out_loss_text'] == spread[3, 'held_out_loss_text']  # measured before it became an old one
  assert rows[6, 'held_out_loss_text'] != spread[6, 'held_out_loss_text']


def test_a_folder_that_is_used_again_gets_the_tokenizer_of_its_data(tmp_path, small_data):
  folder = tmp_path / 'run'
  bpe_folder(folder / 'tokenizer')  # what a start before, on other data, left there
  (folder / 'tokenizer' / 'tokenizer.model').write_text('of other data')
  assert run(folder, small_data, steps=1)
  names = lambda place: {file.name: file.read_bytes() for file in place.iterdir()}
  assert names(folder / 'tokenizer') == names(small_data / 'tokenizer')
  assert not list(folder.glob('.tokenizer*'))


def test_a_tokenizer_that_is_not_of_the_weights_is_refused(tmp_path, trained):
  shutil.copytree(trained, tmp_path / 'run')
  bpe_folder(tmp_path / 'run' / 'tokenizer')
  with pytest.raises(InputError, match='is not the tokenizer that its weights were trained with'):
    open_source(str(tmp_path / 'run'))


def commands_in(error: str) -> list[list[str]]:
  """The commands of 'First run: A && B; then'."""
  return [shlex.split(line) for line in re.search(r'First run: (.*); then', error)[1].split(' && ')]


CONFIGS = {
  'llama13b': llama13b.get_config, 'mistral7b': mistral7b.get_config, 'tiny': tiny.get_config,
  'minimix': minimix.get_config, 'minimix base': lambda: minimix.get_config('base'),
}  # fmt: skip


@pytest.mark.parametrize('name', CONFIGS)
def test_the_first_command_names_all_that_comes_before_it_in_order(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  config = CONFIGS[name]()
  with pytest.raises(InputError) as error:
    open_inputs(config, tmp_path / 'run')
  commands = commands_in(str(error.value))
  assert '\n' not in str(error.value)
  made = [
    argument for line in commands for argument in line if argument.startswith(('--checkpoint', '--out', '--work'))
  ]
  wanted = [path for path in (config.model.init_from, config.data.path) if path]
  assert [made_path.split('=')[1] for made_path in made if made_path.split('=')[1] in wanted] == wanted
  if config.model.init_from:  # weights that are there are not asked for again
    Path(config.model.init_from).mkdir(parents=True)
    with pytest.raises(InputError) as error:
      open_inputs(config, tmp_path / 'run')
    assert commands_in(str(error.value)) == commands[1:]


def test_data_of_ones_own_that_are_not_there_name_prepare(tmp_path):
  config = llama13b.get_config()
  config.data.path, config.model.init_from = str(tmp_path / 'mine'), ''
  with pytest.raises(InputError, match=f'no prepared data in .*mine .* --out={tmp_path / "mine"}$'):
    open_inputs(config, tmp_path / 'run')


def test_the_commands_are_those_of_the_paper_plan():
  assert common.TRAINING == experiments.TRAINING
  rows = [row for table in experiments.TABLES.values() for row in table if row.data]
  assert len(rows) > 5
  for row in rows:
    config = {'llama13b': llama13b, 'mistral7b': mistral7b}[row.config].get_config(row.data)
    place = Place(Path('runs'), Path('data'), None, None, None, None)
    assert conversion_step(row).commands == (config.made_by.weights,)
    assert preparation_step(place, row).commands == (config.made_by.data,)


def test_a_config_of_another_command_is_said():
  with pytest.raises(InputError, match='not a training config: it has no key steps'):
    check_numbers(eval_paper.get_config())


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    ('--config=configs/tinyy.py', 'did you mean configs/tiny.py?'),
    ('--config=configs/tiny.py --config.optimizer.lr=1', 'nearest is --config.optimizer.learning_rate'),
    ('--config=configs/tiny.py --config.stesp=3', '--config.stesp: there is no such key; nearest is --config.steps'),
    ('--config=configs/tiny.py --config.learning_rate=3', 'nearest is --config.optimizer.learning_rate'),
    ('--config=configs/tiny.py --config.steps=many', '--config.steps=many must be a whole number, as in'),
    ('--config=configs/tiny.py --config.mesh=3', 'is a group: set one of mesh.data, mesh.fsdp, mesh.tensor'),
    ('--config=configs/tiny.py:FOO', 'configs/tiny.py takes no argument, leave out :FOO'),
    ('--config=configs/llama13b.py:FOO', "'FOO' is not one of D1, D12, D123, D123_8000, D1234"),
    ('--config=configs/mistral7b.py:FOO', "'FOO' is not one of D1, D12"),
    ('--config=configs/minimix.py:FOO', "'FOO' is not one of base, D123"),
    ('--config=configs/eval_paper.py:FOO', 'takes no argument'),
    ('--config=configs/eval_minimix.py:FOO', 'takes no argument'),
    ('--config=configs/eval_generate.py:FOO', 'takes no argument'),
    ('--config.steps=3', 'comes without --config=FILE'),
    ('--config=', '--config=FILE is missing: the experiment'),
    ('--config=configs/tiny.py --config.steps=3 --other=x', None),
  ],
)
def test_mistakes_in_a_config_flag_are_explained(monkeypatch, arguments, said):
  from absl import flags
  from ml_collections import config_flags

  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, 'the experiment, for example configs/tiny.py', flag_values=values)
  monkeypatch.setattr(config_flag.flags, 'FLAGS', values)
  monkeypatch.chdir(ROOT)
  explained = config_flag.explain(['train', *arguments.split()], 'config')
  assert explained is None if said is None else said in explained
  assert '\n' not in (explained or '')
