"""The paper's recipe (appendix C.2), and what the paper leaves open: every number that is ours says so."""

import dataclasses
import shlex
from collections.abc import Collection

from ml_collections import ConfigDict, config_dict

from skillmix_jax.errors import InputError
from skillmix_jax.models.config import PRESETS

# The argument of the configs that fine-tune by the paper's recipe, and the files of dialogs (data/NAME.jsonl) in its
# training data: C.2; 8,000 dialogs: D.2; k = 4: E.2.
TRAINING = {
  'D1': ('D1',),
  'D12': ('D1', 'D2'),
  'D123': ('D1', 'D2', 'D3'),
  'D123_8000': ('D123_8000',),
  'D1234': ('D1', 'D2', 'D3', 'D4'),
}
TEXT_ROWS = 64_000  # so that none comes twice in 4,000 steps x 16 rows: ours


def check_argument(argument: str, known: Collection[str]):
  """Raises InputError where the text after the colon of --config=FILE:ARGUMENT is not one of `known`."""
  if argument not in known:
    raise InputError(f'the argument {argument!r} is not one of {", ".join(known)}')


def shell(*arguments: str) -> str:
  """One of this project's commands, quoted for a shell."""
  return 'python -m ' + shlex.join(arguments)


def paper_way(c: ConfigDict, argument: str, repository: str, template: str):
  """Sets the commands that make the weights and the data of a model, the paper's way; CODE and CRAWL are yours."""
  check_argument(argument, TRAINING)
  c.made_by.weights = shell('skillmix_jax.convert', f'--from_hf={repository}', f'--checkpoint={c.model.init_from}')
  c.made_by.data = shell(
    'skillmix_jax.prepare', '--dialogs=' + ','.join(f'data/{name}.jsonl' for name in TRAINING[argument]),
    '--code=CODE/**/*.py', '--wet=CRAWL/*.warc.wet.gz', '--languages=eng', f'--rows={TEXT_ROWS}',
    f'--tokenizer={c.model.init_from}/tokenizer', f'--template={template}', '--length=1024', f'--out={c.data.path}',
  )  # fmt: skip
  c.made_by.before = (
    'python -m evals.paper --table=1 says how the dialogs are made; CODE and CRAWL are source files and Common Crawl '
    'pages of yours, and --text=FILE.jsonl does as well'
  )


def student(data: str, preset: str, repository: str, template: str) -> ConfigDict:
  """A student that the paper does not have, by the paper's recipe: the shape is a preset of models/config.py."""
  c = get_config()
  name = repository.split('/')[1].lower()
  c.data.path = f'data/{name}-{data}'
  c.model.init_from = f'checkpoints/{name}'
  paper_way(c, data, repository, template)
  shape = dataclasses.asdict(PRESETS[preset])
  for key in ('max_positions', 'dtype', 'remat', 'attention'):  # left to the weights, and how it is computed
    del shape[key]
  c.model.update({key: value for key, value in shape.items() if value is not None})
  return c


def get_config() -> ConfigDict:
  """Everything but the model and the data; see the other files of this folder for whole experiments."""
  c = ConfigDict()
  c.seed = 0
  c.steps = 4000  # C.2
  c.accumulation = 1  # pieces of a step whose gradients are added up; changes memory, not the update
  c.log_every = 10
  c.deterministic = False  # True: bit-equal repetition on GPUs as well, at some cost in speed

  c.sample_every = 0  # steps; greedy answers to the prompts below go to W/samples/<step>.jsonl; 0: never
  c.sample_prompts = ''  # a JSONL file of dialogs that end with a user message

  c.data = ConfigDict()
  c.data.path = config_dict.placeholder(str)  # a folder written by `python -m skillmix_jax.prepare`
  c.data.dialogs = 64  # dialogs in a step: C.2
  c.data.text_rows = 16  # rows of code and web text in a step: ours, the paper only says that it mixes them in
  c.data.packing = False  # True: dialogs of a step share rows, which prepare --row_length makes longer than a dialog

  c.made_by = ConfigDict()  # commands that are named where the default data.path or model.init_from is not there
  c.made_by.data = ''
  c.made_by.weights = ''
  c.made_by.before = ''  # what these commands need in turn

  c.loss = ConfigDict()
  c.loss.kind = 'two_term'  # "similarly to the loss design of RLHF": C.2; or per_token
  c.loss.text_weight = 1.0  # ours
  c.loss.chunks = config_dict.placeholder(int)  # of a row; None: with which the logits of a device stay below 1 GB

  c.optimizer = ConfigDict()
  c.optimizer.name = 'adam'  # C.2; or muon
  c.optimizer.learning_rate = 2e-5  # C.2
  c.optimizer.schedule = 'constant'  # C.2; or linear
  c.optimizer.warmup_steps = 64  # C.2
  c.optimizer.b1, c.optimizer.b2, c.optimizer.eps = 0.9, 0.999, 1e-8  # the defaults of Adam: ours
  c.optimizer.clip = config_dict.placeholder(float)  # largest gradient norm; the paper names none
  c.optimizer.mu_dtype = 'float32'  # bfloat16 saves 2 bytes a weight when memory is short

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 500
  c.checkpoint.keep = 2  # 12 bytes a weight each: 156 GB at 13B; the one before is there if the last is damaged

  c.held_out = ConfigDict()
  c.held_out.every = 500  # also before the first step and after the last
  c.held_out.rows = 64  # of each source, kept out of training by prepare

  c.mesh = ConfigDict()
  c.mesh.data, c.mesh.fsdp, c.mesh.tensor = 1, -1, 1  # -1: the devices that are left

  c.model = ConfigDict()
  c.model.init_from = ''  # a workdir W or W@step, a Hugging Face folder or ORG/NAME; empty: random weights
  c.model.vocab_size = config_dict.placeholder(int)  # None: as the data says
  c.model.max_positions = config_dict.placeholder(int)  # None: the --length of the data
  c.model.window = config_dict.placeholder(int)
  c.model.tie_embeddings = False
  c.model.dtype = 'bfloat16'  # of the computation; weights and moments are float32 (bf16 does not move at 2e-5)
  c.model.remat = 'full'
  c.model.attention = 'auto'  # cudnn on NVIDIA GPUs in bfloat16, splash on TPUs, else xla

  c.model.lora = ConfigDict()  # adapters that train while all weights are frozen: ours, the paper trains all
  c.model.lora.rank = config_dict.placeholder(int)  # None: no adapters
  c.model.lora.alpha = 32.0  # what they add counts alpha / rank times
  c.model.lora.targets = ('query', 'key', 'value', 'out', 'gate', 'up', 'down')  # matrices that have them
  return c
