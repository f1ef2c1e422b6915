"""Qwen3-4B-Instruct-2507 by the paper's recipe. It does not think before it answers.

The argument picks the dialogs, as in mistral7b.py: D1, D12, D123 (the default), D1234 or D123_8000.

    python -m skillmix_jax.train --config=configs/qwen3_4b.py:D12

State: 4.02 B weights, 16 bytes each with gradients: 64 GB over all devices. 328 M tokens: 5.8 GPU-hours on H100s at an
assumed 40 % MFU. Template chatml: <|im_end|> ends an answer, <|endoftext|> a document.
"""

from configs import common


def get_config(data: str = 'D123'):
  """The shape of https://huggingface.co/Qwen/Qwen3-4B-Instruct-2507/blob/main/config.json."""
  return common.student(data, 'qwen3-4b', 'Qwen/Qwen3-4B-Instruct-2507', template='chatml')
