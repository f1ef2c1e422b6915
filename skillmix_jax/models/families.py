"""The families of decoders, by the `model_type` of their config.json on Hugging Face; no other file lists them.

What a family computes differently is data: here what its config.json does not say, in `Config` what differs from model
to model. `Config.weights` and the block follow from both, and nothing asks for a name.
"""

from typing import NamedTuple


class Family(NamedTuple):
  """What belongs to a model type.

  Attributes:
    classes: what the names of its classes in transformers start with: LlamaConfig, LlamaForCausalLM.
    templates: chat templates of its instruct models, of data/templates.py. Of those whose control tokens a tokenizer
      has, the model's is the one that is the tokenizer's own, else the first.
    has_window: whether its config.json has a sliding window.
    norms: where attention and MLP have a norm: 'before' each, or 'after', before the sum with the residual stream.
    qk_norm: what of queries and keys is normed before the rotary embedding: each 'head', or the 'whole' width.
    qkv_bias: whether the products that make queries, keys and values have a bias.
  """

  classes: str
  templates: tuple[str, ...]
  has_window: bool
  norms: str = 'before'
  qk_norm: str | None = None
  qkv_bias: bool = False


FAMILIES = {
  'llama': Family('Llama', ('llama3', 'llama3.1', 'llama2'), has_window=False),
  'mistral': Family('Mistral', ('mistral-v3', 'mistral'), has_window=True),
  'olmo2': Family('Olmo2', ('olmo',), has_window=False, norms='after', qk_norm='whole'),
  'qwen2': Family('Qwen2', ('chatml', 'qwen2.5'), has_window=True, qkv_bias=True),
  'qwen3': Family('Qwen3', ('chatml', 'qwen3'), has_window=True, qk_norm='head'),
}
