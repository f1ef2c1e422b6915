"""A LLaMA-shaped decoder of 3 layers x 128 on the toy world: the base model and its three fine-tunes.

The argument picks the stage; D1, D12 and D123 start from the base. Minutes each on two CPU cores.

    python -m skillmix_jax.train --config=configs/minimix.py:base
    python -m skillmix_jax.train --config=configs/minimix.py:D123

examples/minimix.sh makes the data and runs every stage; docs/minimix.md has what comes out.
"""

from configs import common


def get_config(stage: str = 'D123'):
  """Everything here is ours: the paper has no toy world."""
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
    c.steps, c.optimizer.learning_rate = 500, 6e-3
  else:
    c.steps, c.optimizer.learning_rate = 300, 1.6e-3
    c.model.init_from = 'runs/minimix-base'
  c.model.model_type = 'llama'
  c.model.max_positions = 512
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 128, 3, 384
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 4, 4, 32
  c.model.rope_theta, c.model.norm_eps = 1_000.0, 1e-5
  c.model.tie_embeddings = True
  c.model.dtype = 'float32'
  c.model.remat = 'save_all_matmuls'
  return c
