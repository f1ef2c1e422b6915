"""A LLaMA-shaped decoder of 3 layers x 128 on the toy world: the base model and its three fine-tunes.

The argument picks the stage: base, or D and the numbers of skills in its dialogs (D1, D12, D123, D23, ...), which
starts from the base. Minutes each on two CPU cores.

    python -m skillmix_jax.train --config=configs/minimix.py:base
    python -m skillmix_jax.train --config=configs/minimix.py:D123

examples/minimix.sh makes the data and runs every stage; docs/results/minimix.md has what comes out.
"""

import itertools

from configs import common

WORLD = 'data/minimix-world'  # where the commands that are named put the toy world
ARMS = ['D' + ''.join(ks) for n in (3, 2, 1) for ks in itertools.combinations('123', n)]


def get_config(stage: str = 'D123'):
  """Everything here is ours: the paper has no toy world."""
  common.check_argument(stage, ['base', *ARMS])
  c = common.get_config()
  c.data.path = f'data/minimix/{stage}'
  c.data.dialogs, c.data.text_rows, c.data.packing = 40, 2, True
  c.loss.kind, c.loss.chunks = 'per_token', 1
  c.optimizer.name, c.optimizer.schedule, c.optimizer.warmup_steps = 'muon', 'linear', 20
  c.optimizer.clip = 1.0
  c.log_every = 50
  c.checkpoint.every = 1000
  c.held_out.every, c.held_out.rows = 1000, 64
  if stage == 'base':
    c.steps, c.optimizer.learning_rate = 1100, 6e-3  # it copies then (evals.minimix.echo), with 500 not yet
  else:
    c.steps, c.optimizer.learning_rate = 300, 1.6e-3
    c.model.init_from = 'runs/minimix-base'
    c.made_by.weights = common.shell(
      'skillmix_jax.train', '--config=configs/minimix.py:base', f'--workdir={c.model.init_from}'
    )
  ks = stage.removeprefix('D') if stage != 'base' else ''
  dialogs = [f'{WORLD}/dialogs/d{k}.jsonl,{WORLD}/base/mix{k}.jsonl' for k in ks] or [f'{WORLD}/base/dialogs.jsonl']
  c.made_by.data = f'{common.shell("evals.minimix", f"--out={WORLD}")} && ' + common.shell(
    'skillmix_jax.prepare', f'--dialogs={",".join(dialogs)}', f'--text={WORLD}/base/text.jsonl',
    f'--tokenizer={WORLD}/tokenizer', '--template=mistral', '--length=192', f'--out={c.data.path}',
  )  # fmt: skip
  c.model.model_type = 'llama'
  c.model.max_positions = 512
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 128, 3, 384
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 4, 4, 32
  c.model.rope_theta, c.model.norm_eps = 1_000.0, 1e-5
  c.model.tie_embeddings = True
  c.model.dtype = 'float32'
  c.model.remat = 'save_all_matmuls'
  return c
