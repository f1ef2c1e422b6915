"""Qwen2.5-0.5B-Instruct by the paper's recipe.

The argument picks the dialogs, as in mistral7b.py: D1, D12, D123 (the default), D1234 or D123_8000.

    python -m skillmix_jax.train --config=configs/qwen25_0_5b.py:D12

State: 0.49 B weights, 16 bytes each with gradients: 7.9 GB over all devices. 328 M tokens: 0.7 GPU-hours on H100s at an
assumed 40 % MFU. Template qwen2.5: <|im_end|> ends an answer, <|endoftext|> a document.
"""

from configs import common


def get_config(data: str = 'D123'):
  """The shape of https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct/blob/main/config.json."""
  return common.student(data, 'qwen2.5-0.5b', 'Qwen/Qwen2.5-0.5B-Instruct', template='qwen2.5')
