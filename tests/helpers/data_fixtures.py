"""Inputs for the tests of the data half: the real Mistral tokenizer, a made-up one, dialogs that try everything."""

import functools
import importlib.resources
import io
import json
import pathlib
import random
import shutil

import tokenizers

# Pieces of text that have broken chat templates: blanks and newlines at the ends, control tokens spelled out,
# template tags inside the text, whitespace runs, bytes outside of the vocabulary, characters of many code points.
FRAGMENTS = (
  'What is 2+2?', 'the  a', 'Answer: the moon sings', '</s>', '<s>', '[INST]', '[/INST]', '<<SYS>>', '<0x0A>',
  '▁', 'def f(x):\n    if x:\n\t\treturn  x\n', 'é🙂日本語', '👩‍👩‍👧', 'e\u0301 ｆｕｌｌ', '\u202eabc', '😀' * 3,
  '1,000.5', "don't", '…', 'x' * 40, 'a\r\nb', '\x00', '  - item\n  - item', '{"k": 2}', 'ﬁ', 'Ünïcödé',
)  # fmt: skip
WORDS = ('sun', 'moon', 'river', 'stone', 'laughs', 'sings', 'falls', 'silver', 'bright', 'storm', 'again', 'home')
EDGES = ('', '', ' ', '\n', '  ', '\n\n', '\t', ' \n ')


def fuzz_text(rng: random.Random) -> str:
  """Never blank."""
  inner = rng.choice((' ', '\n', '', '  ')).join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 5)))
  return rng.choice(EDGES) + inner + rng.choice(EDGES)


def fuzz_messages(rng: random.Random, rounds: int = 2, system: bool = False) -> list[dict[str, str]]:
  """A dialog of `rounds` rounds."""
  roles = ['system'] * system + ['user', 'assistant'] * rounds
  return [{'role': role, 'content': fuzz_text(rng)} for role in roles]


@functools.cache
def mistral_model() -> pathlib.Path:
  """mistral-common ships the sentencepiece model of Mistral 7B v0.1."""
  return pathlib.Path(str(importlib.resources.files('mistral_common') / 'data' / 'tokenizer.model.v1'))


def mistral_folder(folder: pathlib.Path) -> pathlib.Path:
  """The Mistral tokenizer as a model folder has it."""
  folder.mkdir(parents=True, exist_ok=True)
  shutil.copyfile(mistral_model(), folder / 'tokenizer.model')
  return folder


def bpe_folder(
  folder: pathlib.Path, specials=('<s>', '</s>'), config: dict | None = None, plain: tuple[str, ...] = ()
) -> pathlib.Path:
  """A tiny byte-level BPE tokenizer.json, trained on the spot; `plain`: added tokens that are no control tokens."""
  folder.mkdir(parents=True, exist_ok=True)
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
  bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  bpe.decoder = tokenizers.decoders.ByteLevel()
  alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=400, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
  )
  bpe.train_from_iterator([' '.join(FRAGMENTS)] * 3, trainer)
  bpe.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in plain])
  bpe.save(str(folder / 'tokenizer.json'))
  if config is not None:
    (folder / 'tokenizer_config.json').write_text(json.dumps(config))
  return folder


def two_rounds(rng: random.Random, number: int, k: int = 2, words: int = 12) -> dict:
  """One line of a dialogs file, in plain words."""
  text = lambda: ' '.join(rng.choices(WORDS, k=rng.randint(words // 2, words)))
  roles = ['user', 'assistant'] * 2
  return {
    'id': f'dialog-{number}',
    'messages': [{'role': role, 'content': text()} for role in roles],
    'meta': {'k': k},
  }


def write_jsonl(path: pathlib.Path, lines: list[dict]) -> pathlib.Path:
  """One record a line."""
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines), encoding='utf-8')
  return path


def write_wet(path: pathlib.Path, pages: list[tuple[str, str | None]]) -> pathlib.Path:
  """A Common Crawl WET file; pages are (text, languages), None for no header."""
  from warcio.warcwriter import WARCWriter

  with open(path, 'wb') as stream:
    writer = WARCWriter(stream, gzip=True, warc_version='1.0')
    writer.write_record(writer.create_warcinfo_record(path.name, {'Software-Info': 'test'}))
    for number, (text, languages) in enumerate(pages):
      headers = {} if languages is None else {'WARC-Identified-Content-Language': languages}
      record = writer.create_warc_record(
        f'http://example.org/{number}',
        'conversion',
        payload=io.BytesIO(text.encode()),
        warc_content_type='text/plain',
        warc_headers_dict=headers,
      )
      writer.write_record(record)
  return path
