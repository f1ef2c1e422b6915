"""The students of configs/ that the paper does not have: the paper's recipe, another model."""

import importlib

import pytest
from helpers.docs_blocks import ROOT

from configs import mistral7b
from skillmix_jax.models.config import Config
from skillmix_jax.models.families import FAMILIES
from skillmix_jax.workdir import flatten

# The number of parameters that the page of each model on the Hugging Face Hub gives.
PUBLISHED = {
  'qwen25_0_5b': 494_032_768, 'qwen25_1_5b': 1_543_714_304, 'qwen25_7b': 7_615_616_512, 'qwen3_4b': 4_022_468_096,
  'llama32_1b': 1_235_814_400, 'llama32_3b': 3_212_749_824, 'llama31_8b': 8_030_261_248, 'olmo2_1b': 1_484_916_736,
  'olmo2_7b': 7_298_617_344, 'mistral_nemo': 12_247_782_400,
}  # fmt: skip
EVERY = pytest.mark.parametrize('name', PUBLISHED)


def config_of(name: str):
  return importlib.import_module(f'configs.{name}').get_config('D12')


def test_every_student_of_configs_is_here():
  files = (path for path in (ROOT / 'configs').glob('*.py') if 'common.student(' in path.read_text())
  assert {path.stem for path in files} == PUBLISHED.keys()


@EVERY
def test_a_student_has_its_published_size(name):
  model = config_of(name).model.to_dict() | {'max_positions': 1024, 'attention': 'xla'}
  del model['init_from']
  assert Config(**model).num_params == PUBLISHED[name]


@EVERY
def test_a_student_is_trained_by_the_papers_recipe(name):
  ours, paper = (flatten(config.to_dict()) for config in (config_of(name), mistral7b.get_config('D12')))
  differ = {key for key in ours.keys() | paper.keys() if ours.get(key) != paper.get(key)}
  assert {key.split('.')[0] for key in differ - {'data.path', 'loss.chunks'}} == {'model', 'made_by'}
  how = ('model.dtype', 'model.remat', 'model.attention', 'made_by.before')
  assert ours['loss.chunks'] is None and not differ.intersection(how)


# Published with each model; that convert gives it so is tested in own_template_test.py.
TEMPLATES = {'llama': 'llama3.1', 'mistral': 'mistral-v3', 'olmo2': 'olmo', 'qwen2': 'qwen2.5', 'qwen3': 'chatml'}


@EVERY
def test_its_data_have_the_template_that_convert_gives_its_weights(name):
  config = config_of(name)
  template = TEMPLATES[config.model.model_type]
  assert f'--template={template} ' in config.made_by.data
  assert template in FAMILIES[config.model.model_type].templates
