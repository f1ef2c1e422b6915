"""What was taken from the paper and may not drift: its recipe, key by key, and what it prints, byte by byte.

The hashes were taken when the transcription was checked against the paper. Whoever corrects a misprint of ours changes
the hash in the same commit and says which line of the paper shows it.
"""

import hashlib

import pytest

from configs import common, eval_generate, eval_paper, llama13b, mistral7b
from evals.questions.catalog import IN_ANY_TEXT, PAPER
from skillmix_jax.loss import Loss
from skillmix_jax.optimizer import Optimizer

FILES = {
  'skills.json': 'a1060102d98f6ee92e1664b54e1c3745465e5b56a8a225dc7337c8d5c5f333a9',
  'topics.json': 'a3713442605d9c90c59f2fcb6a1b33e2b094f0cd424a5ed55dd9dde96a63db10',
  'results.json': 'aa0ca79437ab643576de8e312dbb715b8e356f3fc6eff16ea2e9678d3861dd5e',
  'prompts/student_round1.txt': '48dcc5638bc077d5172bedeca86e669f06094cce9142896e3f3acfe2802028b9',
  'prompts/student_round2.txt': '26802aaeddbcd1dece46b110b0217ab20a869309a6cee82f85e3b962dac76aee',
  'prompts/grade.txt': '202902c481e2a9ba3c6b00dfb542e3cb809f9098a359cdf9460259320209cbcf',
  'prompts/grade_claude.txt': '7ea94ef1d315a2ce364c5686fcc5fd46e422d8297cda70f7d7c10c981578ec46',
}


@pytest.mark.parametrize('config', [common.get_config(), llama13b.get_config(), mistral7b.get_config()])
def test_the_recipe_is_that_of_appendix_c2(config):
  assert (config.steps, config.data.dialogs, config.accumulation) == (4000, 64, 1)
  assert (config.loss.kind, config.loss.text_weight, config.data.text_rows) == ('two_term', 1.0, 16)
  optimizer = config.optimizer
  assert (optimizer.name, optimizer.learning_rate, optimizer.schedule) == ('adam', 2e-5, 'constant')
  assert optimizer.warmup_steps == 64
  assert (optimizer.b1, optimizer.b2, optimizer.eps, optimizer.clip) == (0.9, 0.999, 1e-8, None)
  assert (optimizer.mu_dtype, config.model.dtype, config.data.packing) == ('float32', 'bfloat16', False)


@pytest.mark.parametrize('config', [llama13b.get_config(), mistral7b.get_config()])
def test_the_papers_models_keep_their_pieces_of_a_row(config):
  assert config.loss.chunks == 8


def test_whoever_builds_from_defaults_gets_the_same_recipe():
  config = common.get_config()
  assert Optimizer() == Optimizer(**config.optimizer)
  assert Loss() == Loss(**config.loss)


def test_the_evaluation_is_that_of_appendix_c():
  c = eval_paper.get_config()
  assert (c.generations, c.votes, c.votes_mode, c.name_filter) == (3, 3, 'all', True)
  assert (c.settings, c.ks, c.split) == (('train', 'held_out', 'all'), (1, 2, 3, 4, 5), 'category')
  g = eval_generate.get_config()
  assert (g.settings, g.ks, g.num_combinations, g.generations) == (('generate',), (1, 2, 3), (5000, 10000, 10000), 1)


@pytest.mark.parametrize('name', FILES)
def test_what_the_paper_prints_is_unchanged(name):
  assert hashlib.sha256((PAPER / name).read_bytes()).hexdigest() == FILES[name]


def test_every_file_of_the_paper_is_pinned():
  there = {str(path.relative_to(PAPER)) for path in PAPER.rglob('*') if path.suffix in ('.json', '.txt')}
  assert there == FILES.keys() | {IN_ANY_TEXT}  # that list is ours, and says so
