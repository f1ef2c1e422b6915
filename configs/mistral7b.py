"""Mistral-7B-Instruct-v0.2: the fine-tuned rows of tables 3, 6 and 11.

The argument picks the data, data/mistral-ARGUMENT: D1, D12, D123 (the default), D1234 (table 6) or
D123_8000.

    python -m skillmix_jax.train --config=configs/mistral7b.py:D12

State: 7.24 B weights, 16 bytes each with gradients: 116 GB over all devices. 328 M tokens: 10 GPU-hours on H100s at an
assumed 40 % MFU. python -m evals.paper --table=3 prints what comes before and after.
"""

from configs import common


def get_config(data: str = 'D123'):
  """Mistral-7B v0.2 (Jiang et al., arXiv:2310.06825): no sliding window, rope_theta 1e6."""
  c = common.get_config()
  c.data.path = f'data/mistral-{data}'
  c.model.init_from = 'checkpoints/mistral-7b-instruct-v0.2'
  common.paper_way(c, data, repository='mistralai/Mistral-7B-Instruct-v0.2', template='mistral')
  c.loss.chunks = 8
  c.model.model_type = 'mistral'
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 4096, 32, 14336
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 32, 8, 128
  c.model.rope_theta, c.model.norm_eps = 1_000_000.0, 1e-5
  return c
