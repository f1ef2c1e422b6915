"""Mistral-Nemo-Instruct-2407 by the paper's recipe.

The argument picks the dialogs, as in mistral7b.py: D1, D12, D123 (the default), D1234 or D123_8000.

    python -m skillmix_jax.train --config=configs/mistral_nemo.py:D12

State: 12.25 B weights, 16 bytes each with gradients: 196 GB over all devices. 328 M tokens: 16 GPU-hours on H100s at an
assumed 40 % MFU. Template mistral-v3: </s> ends an answer and a document.
"""

from configs import common


def get_config(data: str = 'D123'):
  """The shape of https://huggingface.co/mistralai/Mistral-Nemo-Instruct-2407/blob/main/config.json."""
  return common.student(data, 'mistral-nemo', 'mistralai/Mistral-Nemo-Instruct-2407', template='mistral-v3')
