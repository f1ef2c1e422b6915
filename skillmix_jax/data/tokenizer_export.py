"""A tokenizer folder for transformers whose ids, chat template included, are ours.

transformers splits a rendered conversation at every control token that is spelled out in it, wherever it comes from,
and tokenises the stretches between them. Two marks make these stretches equal to our parts:

- BREAK is put after the first character of a control token in a text, and the tokenizer's normaliser
  removes it: `</s>` in a text is no longer found, and becomes ordinary pieces.
- CUT ends a part where the tokenizer puts no blank in front of a text; a pre-tokenizer removes it.

Both are sequences of private-use characters. A text that contains one of them gets other ids.
"""

import json
import pathlib
import shutil
from typing import Any

import sentencepiece

from skillmix_jax.data import chat
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.data.tokenizer import NO_TOKEN, SENTENCEPIECE_FILE, TOKENIZERS_FILE, SentencePiece, Tokenizer
from skillmix_jax.errors import InputError

BREAK = '\ue5a3\ue5a4\ue5a5'
CUT = '\ue5a6\ue5a7\ue5a8'
# A loop, since some tokenizers have more control tokens than Jinja has room for in one expression.
PLAIN = (
  '{%- macro plain(text) %}{%- set now = namespace(text=text) %}{%- for token, broken in @BREAKS if token in text %}'
  '{%- set now.text = now.text | replace(token, broken) %}{%- endfor %}{{- now.text }}{%- endmacro %}'
)
CONFIG_FILE = 'tokenizer_config.json'

# Texts on which a translated tokenizer.json must agree with its tokenizer.model before it is written.
PROBES = (
  'What is 2+2?', 'the  a', ' x', '\n\n  x', 'a\r\n\tb  ', 'def f(x):\n    if x:\n\t\treturn  x\n',
  'é🙂日本語 ｆｕｌｌ e\u0301', '</s><s> [INST] <unk> <0x0A> <<SYS>>', '▁▁ ▁',
  '\u202e…\x00ﬁ', *(f'a{" " * n}b' for n in range(1, 70)),
)  # fmt: skip


def chat_template(template: str, control_tokens: list[str], adds_blank: bool) -> str:
  """Returns the Jinja form of a template.

  Args:
    template: its name.
    control_tokens: what would be parsed as one token if a text spelled it out.
    adds_blank: whether the tokenizer puts a blank in front of every text.
  """
  literal = lambda value: json.dumps(value)  # quotes and escapes of JSON are those of Jinja
  breaks = [[token, token[0] + BREAK + token[1:]] for token in control_tokens]
  plain = PLAIN.replace('@BREAKS', literal(breaks))
  return (
    TEMPLATES[template]
    .jinja.replace('@PLAIN', plain)
    .replace('@JOIN', "' '" if adds_blank else literal(CUT))
    .replace('@CUT', literal(CUT))
    .replace('@BLANK', "''" if adds_blank else "' '")
  )


def export(tokenizer: Tokenizer, template: str, folder: pathlib.Path, max_length: int):
  """Writes tokenizer.json, tokenizer_config.json and, if there is one, tokenizer.model into `folder`.

  `max_length`: the model's positions.

  Raises:
    InputError: tokenizer.model is of a kind that cannot be translated to tokenizer.json.
  """
  source = tokenizer.files[0]
  if isinstance(tokenizer, SentencePiece):
    translated = _from_sentencepiece(tokenizer)
    shutil.copyfile(source, folder / SENTENCEPIECE_FILE)
  else:
    translated = json.loads(source.read_text(encoding='utf-8'))
  control_tokens = _mark(translated)
  (folder / TOKENIZERS_FILE).write_text(json.dumps(translated, ensure_ascii=False) + '\n', encoding='utf-8')
  config = {
    'tokenizer_class': 'PreTrainedTokenizerFast',  # the model's own class would replace the normaliser
    'bos_token': None if tokenizer.bos_id == NO_TOKEN else tokenizer.piece(tokenizer.bos_id),
    'eos_token': tokenizer.piece(tokenizer.eos_id),
    'unk_token': translated['model'].get('unk_token'),
    'model_max_length': max_length,
    'clean_up_tokenization_spaces': False,
    'chat_template': chat_template(template, control_tokens, tokenizer.adds_blank),
  }
  (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + '\n', encoding='utf-8')
  _check(tokenizer, template, folder)


def _mark(translated: dict[str, Any]) -> list[str]:
  """Adds the handling of both marks to a tokenizer.json and returns its control tokens."""
  special = [token for token in translated['added_tokens'] if token['special']]
  for token in special:
    token['normalized'] = False  # looked for before BREAK is removed
  remove = {'type': 'Replace', 'pattern': {'String': BREAK}, 'content': ''}
  cut = {'type': 'Split', 'pattern': {'String': CUT}, 'behavior': 'Removed', 'invert': False}
  for key, steps, first in (('normalizer', 'normalizers', remove), ('pre_tokenizer', 'pretokenizers', cut)):
    then = [translated[key]] if translated.get(key) else []
    translated[key] = {'type': 'Sequence', steps: [first, *then]}
  return [token['content'] for token in special]


def _from_sentencepiece(tokenizer: SentencePiece) -> dict[str, Any]:
  """tokenizer.json of a byte-fallback BPE model with a dummy prefix, as LLaMA's and Mistral's are."""
  model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.files[0]))
  ids = range(model.vocab_size())
  pieces = [model.id_to_piece(i) for i in ids]
  control = [i for i in ids if model.is_control(i) or model.is_unknown(i)]
  others = {i for i in ids if model.is_byte(i) or model.is_unused(i)}.union(control)
  ordinary = {pieces[i]: i for i in ids if i not in others}
  # sentencepiece joins the pair with the best score, the leftmost of equals. The runs of blanks all have one score:
  # the longest first has the same effect, since it lets the leftmost run grow.
  by_priority = sorted(ordinary, key=lambda piece: (-model.get_score(ordinary[piece]), -len(piece), ordinary[piece]))
  merges = [
    [piece[:i], piece[i:]]
    for piece in by_priority
    for i in range(1, len(piece))
    if piece[:i] in ordinary and piece[i:] in ordinary
  ]
  bos, blank = tokenizer.piece(tokenizer.bos_id), {'String': ' '}
  flags = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
  begin = lambda kind: {'SpecialToken': {'id': bos, 'type_id': kind}}
  text = lambda name, kind: {'Sequence': {'id': name, 'type_id': kind}}
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [{'id': i, 'content': pieces[i], **flags, 'special': True} for i in control],
    'normalizer': {
      'type': 'Sequence',
      'normalizers': [{'type': 'Prepend', 'prepend': '▁'}, {'type': 'Replace', 'pattern': blank, 'content': '▁'}],
    },
    'pre_tokenizer': None,
    'post_processor': {
      'type': 'TemplateProcessing',
      'single': [begin(0), text('A', 0)],
      'pair': [begin(0), text('A', 0), begin(1), text('B', 1)],
      'special_tokens': {bos: {'id': bos, 'ids': [tokenizer.bos_id], 'tokens': [bos]}},
    },
    'decoder': {
      'type': 'Sequence',
      'decoders': [
        {'type': 'Replace', 'pattern': {'String': '▁'}, 'content': ' '},
        {'type': 'ByteFallback'},
        {'type': 'Fuse'},
        {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0},
      ],
    },
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': model.id_to_piece(model.unk_id()),
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': True,
      'byte_fallback': True,
      'ignore_merges': False,
      'vocab': {piece: i for i, piece in enumerate(pieces)},
      'merges': merges,
    },
  }


def _check(tokenizer: Tokenizer, template: str, folder: pathlib.Path):
  """Raises InputError where what was written gives other ids than ours."""
  import transformers

  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  for probe in PROBES:
    messages = [{'role': 'system', 'content': probe}] * (len(probe) % 2)
    turns = TEMPLATES[template].turns
    rounds = 1 if messages and turns is not None and turns.system is None else 2
    messages += [{'role': role, 'content': probe} for role in ('user', 'assistant') * rounds]
    ours, _ = chat.encode_dialog(template, tokenizer, messages)
    if theirs.apply_chat_template(messages, return_dict=False) != ours.tolist():
      raise InputError(
        f'{tokenizer.files[0]} cannot be exported: transformers would give other ids for {probe!r}; '
        'its kind is not that of LLaMA and Mistral'
      )
