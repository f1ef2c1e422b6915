"""The chat templates, each as parts of tokens (see chat.py) and in Jinja; no other file lists them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from skillmix_jax.data.tokenizer import NO_TOKEN, Tokenizer
from skillmix_jax.data.turns import (
  CHATML,
  LLAMA3,
  LLAMA31,
  LLAMA31_DATES,
  MISTRAL_V3,
  NO_THOUGHT,
  OLMO,
  QWEN3,
  QWEN25,
  Message,
  Parts,
  Turns,
)
from skillmix_jax.errors import InputError


class Template(NamedTuple):
  """One way to write dialogs as tokens.

  Attributes:
    parts: (tokenizer, messages) -> (ids, trained) of each message.
    jinja: the same for transformers.
    strips: texts are stripped before they are tokenised, and so is an answer that was sampled.
    trailing_blank: recorded in a manifest: what became of the blank between an answer and its end token.
    turns: what it is made of, where it is made of pieces.
    document_end: the control token that ends a document, where another ends an answer; the sampler stops there too.
    fixed: recorded in a manifest: text that nobody wrote into a dialog, where models differ or ask for the day.
  """

  parts: Callable[[Tokenizer, Sequence[Message]], Parts]
  jinja: str
  strips: bool
  trailing_blank: str
  turns: Turns | None = None
  document_end: str | None = None
  fixed: str = ''

  def fits(self, tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has all control tokens of this template."""
    return self.turns is None or self.turns.fits(tokenizer)

  def document_end_id(self, tokenizer: Tokenizer) -> int:
    """The token that ends a document."""
    end = tokenizer.control(self.document_end) if self.document_end else None
    return tokenizer.eos_id if end is None else end


def _of_turns(turns: Turns, trailing_blank: str, document_end: str | None = None, fixed: str = '') -> Template:
  return Template(turns.parts, turns.jinja(), turns.strips, trailing_blank, turns, document_end, fixed)


def _merge_system(messages: Sequence[Message], form: str, keep_empty: bool) -> Iterable[Message]:
  """Puts the system text into the first user message, as neither template has a turn of its own for it."""
  if messages[0]['role'] != 'system':
    return messages
  system, first, *rest = messages
  if not system['content'] and not keep_empty:
    return [first, *rest]
  merged = {'role': 'user', 'content': form.format(system=system['content'], user=first['content'])}
  return [merged, *rest]


def _check_bos(tokenizer: Tokenizer):
  if tokenizer.bos_id == NO_TOKEN:
    raise InputError(f'{tokenizer.files[0]} has no BOS, which this --template begins a dialog with: give another')


def mistral(tokenizer: Tokenizer, messages: Sequence[Message]) -> Parts:
  """Lays out `<s>[INST] user [/INST] answer</s>[INST] user [/INST] answer</s>`, as mistral-common does.

  One BOS for the whole dialog. Texts are kept as they are, blanks and newlines at their ends included. The
  blank in front of an answer is the one that sentencepiece puts in front of every text. There is no system
  role: a system text comes before the first user text, with an empty line between them.
  """
  _check_bos(tokenizer)
  start = [tokenizer.bos_id]
  for message in _merge_system(messages, '{system}\n\n{user}', keep_empty=False):
    if message['role'] == 'user':
      yield start + tokenizer.encode(f'[INST] {message["content"]} [/INST]'), False
      start = []
    else:
      yield [*tokenizer.encode(message['content']), tokenizer.eos_id], True


def llama2(tokenizer: Tokenizer, messages: Sequence[Message]) -> Parts:
  """`<s>[INST] user [/INST] answer </s><s>[INST] user [/INST] answer </s>`, as Meta's `chat_completion`.

  The reference is llama/generation.py of github.com/meta-llama/llama at commit c769dfd. It tokenises each round
  as one string; no piece of the vocabulary spans the blank after `[/INST]`, so its two parts give the same ids.
  Each round has a BOS of its own. Texts are stripped. The blank after the answer is one more token before
  EOS, and it is trained: the model has to write it to get to EOS. The system text goes between its tags
  inside the first user text.
  """
  _check_bos(tokenizer)
  blank = '' if tokenizer.adds_blank else ' '
  for message in _merge_system(messages, '<<SYS>>\n{system}\n<</SYS>>\n\n{user}', keep_empty=True):
    text = message['content'].strip()
    if message['role'] == 'user':
      yield [tokenizer.bos_id, *tokenizer.encode(f'[INST] {text} [/INST]')], False
    else:
      yield [*tokenizer.encode(f'{blank}{text} '), tokenizer.eos_id], True


# The same in Jinja, for transformers; tokenizer_export.py puts in what is written @LIKE_THIS, and compares the ids.
# Both raise where roles do not take turns; a system text goes into the first user text, as above.
_START = """\
@PLAIN
{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else @NO_SYSTEM %}
{%- set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}
{%- for message in turns %}
{%- set text = message['content'] %}
{%- if message['role'] != ['user', 'assistant'][loop.index0 % 2] %}
{{- raise_exception('user and assistant must take turns') }}
{%- endif %}
{%- if loop.first and @HAS_SYSTEM %}{% set text = @MERGED %}{% endif %}
"""
_MISTRAL = (
  _START.replace('@NO_SYSTEM', "''").replace('@HAS_SYSTEM', 'system').replace('@MERGED', "system ~ '\\n\\n' ~ text")
  + """\
{%- if message['role'] == 'user' %}
{{- (bos_token if loop.first else '') ~ plain('[INST] ' ~ text ~ ' [/INST]') }}
{%- else %}
{{- @JOIN ~ plain(text) ~ eos_token }}
{%- endif %}
{%- endfor %}"""
)
_LLAMA2 = (
  _START.replace('@NO_SYSTEM', 'none')
  .replace('@HAS_SYSTEM', 'system is not none')
  .replace('@MERGED', "'<<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ text")
  + """\
{%- if message['role'] == 'user' %}
{{- bos_token ~ plain('[INST] ' ~ text | trim ~ ' [/INST]') }}
{%- else %}
{{- @JOIN ~ plain(@BLANK ~ text | trim ~ ' ') ~ eos_token }}
{%- endif %}
{%- endfor %}"""
)

_KEPT = 'none is added; blanks at the end of an answer are kept and trained'
_STRIPPED = 'none is added; answers are stripped'
_REMOVED = 'none is added; blanks at the end of an answer are removed'
TEMPLATES = {
  'mistral': Template(
    mistral, _MISTRAL, strips=False,
    trailing_blank=_KEPT,
  ),
  'llama2': Template(
    llama2, _LLAMA2, strips=True,
    trailing_blank='answers are stripped, then one blank is added in front of EOS and trained',
  ),
  'llama3': _of_turns(LLAMA3, _STRIPPED, document_end='<|end_of_text|>'),
  'llama3.1': _of_turns(LLAMA31, _STRIPPED, document_end='<|end_of_text|>', fixed=LLAMA31_DATES),
  'chatml': _of_turns(CHATML, _KEPT, document_end='<|endoftext|>'),
  'qwen2.5': _of_turns(QWEN25, _KEPT, document_end='<|endoftext|>', fixed=QWEN25.default_system or ''),
  'qwen3': _of_turns(QWEN3, _KEPT, document_end='<|endoftext|>', fixed=''.join(NO_THOUGHT)),
  'olmo': _of_turns(OLMO, _KEPT),
  'mistral-v3': _of_turns(MISTRAL_V3, _REMOVED),
  'tekken': _of_turns(MISTRAL_V3, _REMOVED),
}  # fmt: skip
