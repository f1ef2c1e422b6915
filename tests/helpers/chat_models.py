"""Tokenizers with the control tokens of a family, and what its published chat template says.

No package has the real tokenizers of Llama, Qwen and OLMo: a small one is trained on the spot. Mistral's come with
mistral-common.
"""

import importlib.resources
import shutil
from pathlib import Path

from helpers.data_fixtures import bpe_folder, mistral_folder

LLAMA3 = (
  '<|begin_of_text|>',
  '<|end_of_text|>',
  '<|start_header_id|>',
  '<|end_header_id|>',
  '<|eot_id|>',
  '<|eom_id|>',
)
CHATML = ('<|endoftext|>', '<|im_start|>', '<|im_end|>')
THOUGHT = ('<think>', '</think>')  # tokens of their own, but no control tokens
OF_LLAMA3 = (LLAMA3, {'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>'})
OF_QWEN = (CHATML, {'bos_token': None, 'eos_token': '<|im_end|>'}, THOUGHT)
MODELS = {
  'llama3': OF_LLAMA3, 'llama3.1': OF_LLAMA3,
  'chatml': OF_QWEN, 'qwen2.5': OF_QWEN, 'qwen3': OF_QWEN,
  'olmo': (('<|endoftext|>',), {'bos_token': '<|endoftext|>', 'eos_token': '<|endoftext|>'}),
}  # fmt: skip
MISTRAL = importlib.resources.files('mistral_common') / 'data'
V2, V3 = (Path(str(MISTRAL / f'mistral_instruct_tokenizer_{name}')) for name in ('240216.model.v2', '240323.model.v3'))

# What the published chat templates say of dialogs without tools, written down anew: tokenizer_config.json of
# Qwen/Qwen2.5-7B-Instruct, Qwen/Qwen3-8B, Qwen/Qwen3-4B-Instruct-2507 and allenai/OLMo-2-1124-7B-Instruct (Apache 2.0),
# of meta-llama/Llama-3.2-1B-Instruct, and `ChatFormat` of github.com/meta-llama/llama3. The texts themselves are
# compared in tests/slow/templates_test.py, from packages that have them.
_CHATML = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor
%}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
_LLAMA3 = """{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' +
m.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{
'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
_MISTRAL = """{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}{% set messages =
messages[1:] %}{% else %}{% set system = '' %}{% endif %}"""
PUBLISHED = {
  'llama3': '{{ bos_token }}' + _LLAMA3,
  'llama3.1': """{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{%
endif %}{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}{% set messages =
messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' +
'Cutting Knowledge Date: December 2023\nToday Date: ' + date_string + '\n\n' + system + '<|eot_id|>' }}"""
  + _LLAMA3,
  'chatml': _CHATML,
  'qwen2.5': """{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. ' +
'You are a helpful assistant.<|im_end|>\n' }}{% endif %}""" + _CHATML,
  'qwen3': """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}{{
'<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{
'<|im_start|>assistant\n' }}{% if enable_thinking is defined and enable_thinking is false %}{{
'<think>\n\n</think>\n\n' }}{% endif %}{% endif %}""",
  'olmo': """{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% if m.role == 'assistant'
%}{{ eos_token }}{% endif %}{% if m.role != 'assistant' or not loop.last %}{{ '\n' }}{% endif %}{% endfor %}{%
if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}""",
  'mistral': _MISTRAL + """{{ bos_token }}{% for m in messages %}{{ ' [INST] ' + (system if loop.first else '') +
m.content + ' [/INST]' if m.role == 'user' else ' ' + m.content + eos_token }}{% endfor %}""",
  'llama2': """{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n'
%}{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}{{ bos_token +
'[INST] ' + ((system if loop.first else '') + m.content) | trim + ' [/INST]' if m.role == 'user' else
' ' + m.content | trim + ' ' + eos_token }}{% endfor %}""",
  'mistral-v3': _MISTRAL + """{{ bos_token }}{% for m in messages %}{{ '[INST] ' + (system if loop.last else '') +
m.content + '[/INST]' if m.role == 'user' else ' ' + m.content | trim + eos_token }}{% endfor %}""",
}  # fmt: skip


def model_folder(folder: Path, name: str) -> Path:
  """A tokenizer for the template `name`, with nothing about templates beside it."""
  if name in MODELS:
    return bpe_folder(folder, *MODELS[name])
  mistral_folder(folder)
  if name == 'mistral-v3':
    shutil.copyfile(V3, folder / 'tokenizer.model')
  return folder
