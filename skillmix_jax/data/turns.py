"""Templates that are the same few pieces around every text, as data: `Turns` gives the parts of tokens and the Jinja.

A piece is a control token or text, '{}' in it is the message's. Text between two control tokens is tokenised together,
as whoever parses the rendered dialog does it; only an answer is apart from what leads to it, since a prompt ends there.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from skillmix_jax.data.tokenizer import NO_TOKEN, Tokenizer
from skillmix_jax.errors import InputError

Message = dict[str, str]
Parts = Iterator[tuple[list[int], bool]]


class Control(str):
  """A control token, by its name in the vocabulary."""


Pieces = tuple[str, ...]


class Turns(NamedTuple):
  """The pieces of one template.

  Attributes:
    bos: whether a dialog begins with BOS.
    system: around the system text; None: it is put in front of the first user text, an empty line between them.
    user: around a user text, up to where the answer begins.
    end: the control token that ends an answer; None: the tokenizer's EOS.
    after: between an answer and the next user text; not after the last answer.
    strips: texts are stripped.
    strips_blanks: answers lose the blanks at their ends.
    default_system: the system text of a dialog that has none; None: it goes without.
  """

  bos: bool
  system: Pieces | None
  user: Pieces
  end: str | None
  after: Pieces = ()
  strips: bool = False
  strips_blanks: bool = False
  default_system: str | None = None

  def fits(self, tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has all control tokens."""
    names = [piece for piece in (*(self.system or ()), *self.user) if isinstance(piece, Control)]
    return all(tokenizer.control(name) is not None for name in [*names, *([self.end] if self.end else [])])

  def parts(self, tokenizer: Tokenizer, messages: Sequence[Message]) -> Parts:
    """See Template.parts.

    Raises:
      InputError: the tokenizer is not of a model with this template, or a system text has no place.
    """
    self._check(tokenizer)
    pieces: list[str] = []
    start = [tokenizer.bos_id] if self.bos else []
    system = None
    if self.system and self.default_system is not None and messages[0]['role'] != 'system':
      pieces += _fill(self.system, self.default_system)
    for message in messages:
      text = message['content'].strip() if self.strips else message['content']
      if message['role'] == 'system':
        if self.system is None:
          system = text
        else:
          pieces += _fill(self.system, text)
      elif message['role'] == 'user':
        if system:
          if len(messages) > 3:
            raise InputError(
              'message 1: a system text moves to the last user text of this template, so a prompt would not be the '
              'beginning of its dialog; leave it out, or put it into the first user text'
            )
          text = f'{system}\n\n{text}'
        yield start + _encode(tokenizer, pieces + _fill(self.user, text)), False
        pieces, start = list(self.after), []
      else:
        text = text.rstrip(' ') if self.strips_blanks else text
        yield [*tokenizer.encode(text), tokenizer.eos_id], True

  def _check(self, tokenizer: Tokenizer):
    if self.bos and tokenizer.bos_id == NO_TOKEN:
      raise InputError(f'{tokenizer.files[0]} has no BOS, which this --template begins a dialog with: give another')
    end = tokenizer.control(self.end) if self.end else tokenizer.eos_id
    if not self.fits(tokenizer) or end is None:
      raise InputError(f'{tokenizer.files[0]} lacks control tokens of this --template: give that of its model')
    if end != tokenizer.eos_id:
      raise InputError(
        f'{tokenizer.files[0]}: its eos_token is {tokenizer.piece(tokenizer.eos_id)!r}, but an answer ends with '
        f'{self.end!r} in this --template: name that as eos_token in the tokenizer_config.json beside it'
      )

  def jinja(self) -> str:
    """The same in Jinja, see tokenizer_export.py."""
    join = '' if isinstance(self.user[-1], Control) else '@CUT ~ '
    text = 'text | trim' if self.strips else 'text'
    answer = f"({text}).rstrip(' ')" if self.strips_blanks else text
    system = f'({_jinja(self.system, "system | trim" if self.strips else "system")})' if self.system else "''"
    end = json.dumps(str(self.end)) if self.end else 'eos_token'
    user = [f'({"bos_token" if self.bos else repr("")} if loop.first else {_jinja(self.after, repr("")) or repr("")})']
    user += [f"({system} if loop.first and system is not none else '')", _jinja(self.user, text)]
    default = 'none' if self.default_system is None else json.dumps(self.default_system)
    merged = ''
    if self.system is None:
      merged = (
        "{%- if loop.first and system %}{% if turns | length > 2 %}{{- raise_exception('a system text moves to the "
        "last user text: only one round may have it') }}{% endif %}\n"
        "{%- set text = system ~ '\\n\\n' ~ text %}{% endif %}\n"
      )
    return f"""\
@PLAIN
{{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else {default} %}}
{{%- set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}}
{{%- for message in turns %}}
{{%- set text = message['content'] %}}
{{%- if message['role'] != ['user', 'assistant'][loop.index0 % 2] %}}
{{{{- raise_exception('user and assistant must take turns') }}}}
{{%- endif %}}
{merged}{{%- if message['role'] == 'user' %}}
{{{{- {' ~ '.join(user)} }}}}
{{%- else %}}
{{{{- {join}plain({answer}) ~ {end} }}}}
{{%- endif %}}
{{%- endfor %}}"""


def _fill(pieces: Pieces, text: str) -> list[str]:
  return [piece if isinstance(piece, Control) else piece.replace('{}', text) for piece in pieces]


def _encode(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[int]:
  ids: list[int] = []
  for is_control, group in itertools.groupby(pieces, lambda piece: isinstance(piece, Control)):
    names = list(group)
    ids += [tokenizer.control(name) for name in names] if is_control else tokenizer.encode(''.join(names))  # type: ignore[misc]
  return ids


def _jinja(pieces: Pieces, text: str) -> str:
  """A Jinja expression of the pieces around an expression of a text."""
  terms: list[str] = []
  for piece in pieces:
    before, found, after = (str(piece), '', '') if isinstance(piece, Control) else piece.partition('{}')
    terms += [json.dumps(before)] * bool(before) + [f'plain({text})'] * bool(found) + [json.dumps(after)] * bool(after)
  return ' ~ '.join(terms)


def header(role: str) -> Pieces:
  """Llama 3's line that names who speaks."""
  return (Control('<|start_header_id|>'), role, Control('<|end_header_id|>'))


# As `ChatFormat` of github.com/meta-llama/llama3.
LLAMA3 = Turns(
  bos=True,
  system=(*header('system'), '\n\n{}', Control('<|eot_id|>')),
  user=(*header('user'), '\n\n{}', Control('<|eot_id|>'), *header('assistant'), '\n\n'),
  end='<|eot_id|>', strips=True,
)  # fmt: skip
# As the tokenizer_config.json of Llama 3.1 to 3.3, with the date that these write where they are not told the day.
LLAMA31_DATES = 'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n'
LLAMA31 = LLAMA3._replace(
  system=(*header('system'), f'\n\n{LLAMA31_DATES}{{}}', Control('<|eot_id|>')), default_system=''
)
# As the tokenizer_config.json of Qwen3-*-Instruct-2507, and of Qwen2.5-*-Instruct where a dialog has a system text.
CHATML = Turns(
  bos=False,
  system=(Control('<|im_start|>'), 'system\n{}', Control('<|im_end|>'), '\n'),
  user=(Control('<|im_start|>'), 'user\n{}', Control('<|im_end|>'), '\n', Control('<|im_start|>'), 'assistant\n'),
  end='<|im_end|>', after=('\n',),
)  # fmt: skip
QWEN25 = CHATML._replace(default_system='You are Qwen, created by Alibaba Cloud. You are a helpful assistant.')
# As Qwen 3 that can think and is told not to; its own template takes the empty block out of earlier answers again.
NO_THOUGHT = (Control('<think>'), '\n\n', Control('</think>'), '\n\n')
QWEN3 = CHATML._replace(user=(*CHATML.user, *NO_THOUGHT))
# As the tokenizer_config.json of OLMo-2-*-Instruct: the names of roles are ordinary text.
OLMO = Turns(bos=True, system=('<|system|>\n{}\n',), user=('<|user|>\n{}\n<|assistant|>\n',), end=None, after=('\n',))
# As mistral-common's InstructTokenizerV3, with its sentencepiece and its tekken tokenizers.
MISTRAL_V3 = Turns(
  bos=True, system=None, user=(Control('[INST]'), '{}', Control('[/INST]')), end=None, strips_blanks=True
)
