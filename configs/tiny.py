"""A random model of 2 layers x 64 for a first run and for tests: minutes on two CPU cores, 1 to 8 devices.

python -m skillmix_jax.train --config=configs/tiny.py --config.data.path=DATA
"""

from configs import common


def get_config():
  """Small and fast: a high learning rate, a short warm-up, float32."""
  c = common.get_config()
  c.steps = 100
  c.data.path = 'data/tiny'
  c.made_by.data = 'python examples/make_data.py --out=demo/raw && ' + common.shell(
    'skillmix_jax.prepare', '--dialogs=demo/raw/dialogs.jsonl', '--wet=demo/raw/*.warc.wet.gz',
    '--tokenizer=demo/raw/tokenizer', '--template=mistral', '--length=512', f'--out={c.data.path}',
  )  # fmt: skip
  c.data.dialogs, c.data.text_rows = 8, 2
  c.optimizer.learning_rate, c.optimizer.warmup_steps = 3e-3, 8
  c.loss.chunks = 1
  c.checkpoint.every = 50
  c.held_out.every, c.held_out.rows = 50, 16
  c.model.model_type = 'mistral'
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 64, 2, 192
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 4, 2, 16
  c.model.rope_theta, c.model.norm_eps = 10_000.0, 1e-5
  c.model.dtype = 'float32'
  return c
