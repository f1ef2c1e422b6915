"""The families of decoders, by the `model_type` of their config.json on Hugging Face; no other file lists them.

What a family computes differently is data in `Config`, never a question for its name; here is what only the name tells.
"""

from typing import NamedTuple


class Family(NamedTuple):
  """What belongs to a model type.

  Attributes:
    classes: what the names of its classes in transformers start with: LlamaConfig, LlamaForCausalLM.
    template: chat template of its instruct models, of data/templates.py.
    has_window: whether its config.json has a sliding window.
  """

  classes: str
  template: str
  has_window: bool


FAMILIES = {
  'llama': Family('Llama', 'llama2', has_window=False),
  'mistral': Family('Mistral', 'mistral', has_window=True),
}
