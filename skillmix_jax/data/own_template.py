"""The chat template that a tokenizer brings along, compared with ours on a few dialogs.

It is a file of others and is not trusted: transformers renders it, in its sandbox, and only the text that comes out is
used. What depends on the day is rendered for one fixed day. A model that thinks unless told not to is told not to.
"""

import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skillmix_jax.data import chat
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.data.tokenizer import NO_TOKEN, OWN_TEMPLATE_FILES, Tokenizer
from skillmix_jax.errors import InputError
from skillmix_jax.hidden_characters import visible

AUTO = 'auto'
DAY = '26 Jul 2024'  # what Llama 3.2 writes where it cannot know the day
LONGEST = 100_000  # characters of a rendered example, which has some hundred

SYSTEM = 'Answer in plain words.'
ROUNDS = (
  ('What is the moon made of?', 'Of stone.'),
  ('Improve it', 'The moon is made of silver stone.'),
  ('Shorter', 'Stone, and dust.'),
)
BLANKS = (('\nWhy?  ', 'Nobody knows \n'), ('\n\nSure?\n', 'Yes  '))  # at the ends of texts

Message = dict[str, str]
Example = tuple[list[Message], list[int]]  # a prompt or a dialog, and the ids that the tokenizer's own template gives


class Difference(NamedTuple):
  """The first token in which a template of ours differs from the tokenizer's own."""

  same: int  # tokens in front of it
  ours: str
  theirs: str

  def __str__(self) -> str:
    return f'token {self.same} is {self.ours!r} here and {self.theirs!r} there'


class OwnTemplate:
  """The chat template beside a tokenizer.

  Attributes:
    file: where it is.
    thinks: whether the model thinks before it answers, unless it is told not to.
  """

  def __init__(self, encoder: Tokenizer, file: Path, jinja: str):
    self._encoder, self.file, self._jinja = encoder, file, jinja
    asked = _dialog(ROUNDS[:1])[:1]
    self.thinks = self.render(asked) != self.render(asked, enable_thinking=True)

  def render(self, messages: Sequence[Message], enable_thinking: bool = False) -> str:
    """The dialog as one string; with the beginning of an answer, if it ends with a user.

    Raises:
      InputError: the template does not take the dialog, or is broken.
    """
    from transformers.utils.chat_template_utils import render_jinja_template  # takes a second to import

    encoder = self._encoder
    named: dict[str, Any] = {'eos_token': encoder.piece(encoder.eos_id)}
    if encoder.bos_id != NO_TOKEN:
      named['bos_token'] = encoder.piece(encoder.bos_id)
    try:
      rendered: Any = render_jinja_template(
        [list(messages)], chat_template=self._jinja, add_generation_prompt=messages[-1]['role'] == 'user',
        date_string=DAY, enable_thinking=enable_thinking, **named,
      )  # fmt: skip
      text = str(rendered[0][0])
      if len(text) > LONGEST:
        raise ValueError(f'{len(text):,} characters come out for a short dialog')
      text.encode()  # half of a surrogate pair is no text
    except Exception as error:  # it is a program of others, and may raise anything
      reason = visible(' '.join(str(error).split()) or type(error).__name__)[:200]
      raise InputError(f'the chat template of {self.file} cannot be rendered ({reason}): name a --template') from error
    return text

  def encode(self, messages: Sequence[Message]) -> list[int]:
    """The ids of the rendered dialog: control tokens, and what is between two of them tokenised together."""
    encoder = self._encoder
    controls = encoder.control_tokens | {encoder.piece(encoder.eos_id): encoder.eos_id}
    names = sorted(controls, key=len, reverse=True)
    ids: list[int] = []
    for number, piece in enumerate(re.split(f'({"|".join(map(re.escape, names))})', self.render(messages))):
      if number % 2:
        ids.append(controls[piece])
      else:  # a blank in front is the one that the tokenizer puts there
        ids += encoder.encode(piece.removeprefix(' ') if encoder.adds_blank else piece)
    return ids


def read(encoder: Tokenizer) -> OwnTemplate | None:
  """Returns the chat template beside a tokenizer; None if it has no template.

  Raises:
    InputError: the file that has it is damaged, or it cannot be rendered.
  """
  jinja_file, config_file = map(encoder.files[0].with_name, OWN_TEMPLATE_FILES)
  try:
    if jinja_file.is_file():
      return OwnTemplate(encoder, jinja_file, jinja_file.read_text(encoding='utf-8'))
    jinja = json.loads(config_file.read_text(encoding='utf-8')).get('chat_template') if config_file.is_file() else None
    if isinstance(jinja, list):  # several, by name
      jinja = {each['name']: each['template'] for each in jinja}.get('default')
  except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
    raise InputError(
      f'{config_file.parent}: its chat template cannot be read ({error}); copy the file again'
    ) from error
  if jinja is not None and not isinstance(jinja, str):
    raise InputError(f'{config_file}: chat_template must be a text or a list of named ones; copy the file again')
  return OwnTemplate(encoder, config_file, jinja) if jinja else None


def _dialog(rounds: Sequence[tuple[str, str]], system: str | None = None) -> list[Message]:
  messages = [{'role': 'system', 'content': system}] if system else []
  for texts in rounds:
    messages += [{'role': role, 'content': text} for role, text in zip(('user', 'assistant'), texts)]
  return messages


def _examples(own: OwnTemplate, rounds: Sequence[tuple[str, str]], systems: Sequence[str | None]) -> list[Example]:
  """Prompts, and finished dialogs where there is no system text; of one round where the model thinks.

  Raises:
    InputError: a dialog without a system text cannot be rendered.
  """
  examples: list[Example] = []
  for system, number in itertools.product(systems, range(1, 2 if own.thinks else len(rounds) + 1)):
    dialog = _dialog(rounds[:number], system)
    for messages in (dialog[:-1], dialog) if system is None else (dialog[:-1],):
      try:
        examples.append((messages, own.encode(messages)))
      except InputError:
        if system is None:
          raise  # there are models whose template has no place for a system text
  return examples


def compare(examples: Sequence[Example], name: str, encoder: Tokenizer) -> Difference | None:
  """Returns the first difference of a template of ours, None if the ids are the same; it may refuse a system text.

  Raises:
    InputError: the tokenizer does not have what the template of ours needs.
  """
  for messages, theirs in examples:
    try:
      ours = _ours(name, encoder, messages)
    except InputError:
      if messages[0]['role'] != 'system':
        raise
      continue
    rest = theirs[len(ours) :]
    if ours == theirs[: len(ours)] and messages[-1]['role'] == 'assistant' and not _spelled(encoder, rest):
      continue  # nothing is trained on blanks after the end of the last answer
    if ours != theirs:
      same = _shared(ours, theirs)
      here, there = (encoder.piece(ids[same]) if same < len(ids) else 'the end' for ids in (ours, theirs))
      return Difference(same, here, there)
  return None


def choose(encoder: Tokenizer) -> str:
  """Returns the template of ours that is the tokenizer's own.

  Raises:
    InputError: it has none, or none of ours is the same.
  """
  own = read(encoder)
  if own is None:
    raise InputError(
      f'--template=auto: there is no chat template beside {encoder.files[0]} ({" or ".join(OWN_TEMPLATE_FILES)}): '
      f'name one, {", ".join(TEMPLATES)}'
    )
  name = _match(own, encoder, tuple(TEMPLATES))
  print(f'--template=auto is {name}: that of {own.file}', file=sys.stderr)
  _remark(own, name, encoder)
  return name


def named(template: str | None, encoder: Tokenizer) -> str | None:
  """Returns what a --template stands for: `auto` for the tokenizer's own, see `choose`; all else for itself."""
  return choose(encoder) if template == AUTO else template


def among(encoder: Tokenizer, names: Sequence[str]) -> str | None:
  """Returns which of the templates `names` is the tokenizer's own; None if it has none that can be rendered."""
  try:
    own = read(encoder)
    return _match(own, encoder, names) if own else None
  except InputError:
    return None


def _match(own: OwnTemplate, encoder: Tokenizer, names: Sequence[str]) -> str:
  differences: dict[str, Difference] = {}
  examples = _examples(own, ROUNDS, (None, SYSTEM))
  for name in names:
    template = TEMPLATES[name]
    try:
      difference = compare(examples, name, encoder)
    except InputError:
      if template.turns and template.turns.end and template.fits(encoder):
        raise  # the control tokens are all there, but its end token is another one
      continue
    if difference is None:
      return name
    differences[name] = difference
  nearest = max(differences, key=lambda name: differences[name].same, default=None)
  apart = f'; the nearest is {nearest}: {differences[nearest]}' if nearest else ''
  raise InputError(f'--template=auto: no template here is that of {own.file}{apart}. Name a --template if one is meant')


def _remark(own: OwnTemplate, name: str, encoder: Tokenizer):
  """Says what is known to differ from the tokenizer's own template, though the examples are equal."""
  if own.thinks:
    _note(f'--template={name} has an empty thought in front of every answer, {own.file} in front of the last one only')
  difference = compare(_examples(own, BLANKS, (None,)), name, encoder)
  if difference is not None:
    _note(f'--template={name} and {own.file} differ in blanks at the ends of texts: {difference}')


def check(name: str, encoder: Tokenizer):
  """Compares a template that was named with the tokenizer's own, if it has one; says so where a little differs.

  Raises:
    InputError: the tokenizer's own is another template.
  """
  try:
    own = read(encoder)
    examples = _examples(own, ROUNDS, (None,)) if own else []
  except InputError as error:
    _note(f'--template={name} was compared with nothing: {error}')
    return
  difference = compare(examples, name, encoder)
  if own is None or difference is None:
    return
  try:
    advice = f'--template={_match(own, encoder, tuple(TEMPLATES))} is the same'
  except InputError:
    advice = 'none here is the same'
  if all(_nearly(messages, theirs, name, encoder) for messages, theirs in examples):
    _note(f'--template={name} and {own.file} differ in blanks or in a system text: {difference}; {advice}')
    return
  thinks = ', whose model thinks unless told not to' if own.thinks else ''
  raise InputError(
    f'--template={name} is not that of {own.file}{thinks}: {difference}; {advice}. If {name} is meant, remove '
    'chat_template from a copy of the folder'
  )


def _nearly(messages: Sequence[Message], theirs: Sequence[int], name: str, encoder: Tokenizer) -> bool:
  """Whether ours has the same words and control tokens, but for something in front of the first user text."""
  first = ''.join(ROUNDS[0][0].split())
  ours_head, _, ours_tail = _spelled(encoder, _ours(name, encoder, messages)).partition(first)
  theirs_head, _, theirs_tail = _spelled(encoder, theirs).partition(first)
  before = _shared(ours_head, theirs_head)
  after = _shared(ours_head[::-1], theirs_head[::-1])
  return ours_tail == theirs_tail and before + after >= len(ours_head)


def _spelled(encoder: Tokenizer, ids: Sequence[int]) -> str:
  """The ids as text without blanks, control tokens by their names."""
  controls = set(encoder.control_tokens.values())
  spelled = ''
  for is_control, group in itertools.groupby(ids, controls.__contains__):
    run = list(group)
    spelled += ''.join(map(encoder.piece, run)) if is_control else encoder.decode(run)
  return ''.join(spelled.split())


def _shared(a: Sequence, b: Sequence) -> int:
  """How many items both begin with."""
  return next((number for number, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _ours(name: str, encoder: Tokenizer, messages: Sequence[Message]) -> list[int]:
  if messages[-1]['role'] == 'user':
    return chat.encode_prompt(name, encoder, list(messages)).tolist()
  return chat.encode_dialog(name, encoder, list(messages))[0].tolist()


def _note(text: str):
  print(f'note: {text}', file=sys.stderr)
