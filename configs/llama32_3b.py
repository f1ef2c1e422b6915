"""Llama-3.2-3B-Instruct by the paper's recipe.

The argument picks the dialogs, as in mistral7b.py: D1, D12, D123 (the default), D1234 or D123_8000.

    python -m skillmix_jax.train --config=configs/llama32_3b.py:D12

State: 3.21 B weights, 16 bytes each with gradients: 51 GB over all devices. 328 M tokens: 4.6 GPU-hours on H100s at an
assumed 40 % MFU. Template llama3.1: <|eot_id|> ends an answer, <|end_of_text|> a document.
"""

from configs import common


def get_config(data: str = 'D123'):
  """The shape of https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct/blob/main/config.json."""
  return common.student(data, 'llama3.2-3b', 'meta-llama/Llama-3.2-3B-Instruct', template='llama3.1')
