"""OLMo-2-1124-7B-Instruct by the paper's recipe.

The argument picks the dialogs, as in mistral7b.py: D1, D12, D123 (the default), D1234 or D123_8000.

    python -m skillmix_jax.train --config=configs/olmo2_7b.py:D12

State: 7.30 B weights, 16 bytes each with gradients: 117 GB over all devices. 328 M tokens: 9.7 GPU-hours on H100s at an
assumed 40 % MFU. Template olmo: <|endoftext|> ends an answer and a document.
"""

from configs import common


def get_config(data: str = 'D123'):
  """The shape of https://huggingface.co/allenai/OLMo-2-1124-7B-Instruct/blob/main/config.json."""
  return common.student(data, 'olmo2-7b', 'allenai/OLMo-2-1124-7B-Instruct', template='olmo')
