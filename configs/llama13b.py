"""LLaMA-2-13B-Chat: the fine-tuned rows of tables 1, 4, 5, 6 and 10.

The argument picks the data, data/llama2-ARGUMENT: D1, D12, D123 (the default), D123_8000 (table 4) or D1234 (table 6).

    python -m skillmix_jax.train --config=configs/llama13b.py:D12

State: 13.0 B weights, 16 bytes each with gradients: 208 GB over all devices; 4 x 80 GB are enough. 328 M tokens: 18
GPU-hours on H100s at an assumed 40 % MFU. python -m evals.paper --table=1 prints what comes before and after.
"""

from configs import common


def get_config(data: str = 'D123'):
  """LLaMA-2-13B (Touvron et al., arXiv:2307.09288)."""
  c = common.get_config()
  c.data.path = f'data/llama2-{data}'
  c.model.init_from = 'checkpoints/llama2-13b-chat'
  common.paper_way(c, data, repository='meta-llama/Llama-2-13b-chat-hf', template='llama2')
  c.loss.chunks = 8
  c.model.model_type = 'llama'
  c.model.dim, c.model.num_layers, c.model.ffn_dim = 5120, 40, 13824
  c.model.num_heads, c.model.num_kv_heads, c.model.head_dim = 40, 40, 128
  c.model.rope_theta, c.model.norm_eps = 10_000.0, 1e-5
  return c
