"""The catalog and the tokenizer of minimix; a seed splits skills and topics into train and held out."""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from evals.minimix import language

NUM_TRAIN_SKILLS, NUM_TRAIN_TOPICS = 12, 13
PROMPTS = Path(__file__).parent / 'prompts'
# A word with the blank in front of it (Metaspace writes '▁'), a mark, or one of the template's brackets.
_PIECES = r'▁?\[/?INST\]|▁?[A-Za-z]+|▁?[^A-Za-z▁]|▁'
_UNKNOWN, _BOS, _EOS = '<unk>', '<s>', '</s>'


def split_skills(seed: int) -> tuple[list[str], list[str]]:
  """Train and held-out skills, half of each slot in either, in the language's order."""
  rng = random.Random(f'minimix/{seed}/skills')
  train: list[str] = []
  odd = NUM_TRAIN_SKILLS - sum(len(_in_slot(slot)) // 2 for slot in language.SLOTS)
  uneven = [slot for slot in language.SLOTS if len(_in_slot(slot)) % 2]
  larger = rng.sample(uneven, odd)
  for slot in language.SLOTS:
    names = _in_slot(slot)
    train += rng.sample(names, len(names) // 2 + (slot in larger))
  return [name for name in language.SKILLS if name in train], [name for name in language.SKILLS if name not in train]


def _in_slot(slot: str) -> list[str]:
  return [name for name in language.SKILLS if language.SLOT[name] == slot]


def write_catalog(folder: Path, seed: int, one_sentence: bool):
  """skills.json, topics.json and prompts/; `one_sentence`: the improved text has one, whatever k."""
  rng = random.Random(f'minimix/{seed}/catalog')
  train, _ = split_skills(seed)
  order = rng.sample(sorted(language.TOPICS), len(language.TOPICS))
  topics = {'train': sorted(order[:NUM_TRAIN_TOPICS]), 'held_out': sorted(order[NUM_TRAIN_TOPICS:])}
  skills = [
    {
      'name': name,
      'category': language.SLOT[name],
      'table': 'train' if name in train else 'held_out',
      'definition': f'{language.PHRASES[name][1]}.',
      'example': str(language.Author(rng, rng.choice(topics['train'])).sentence(name)),
    }
    for name in language.SKILLS
  ]
  (folder / 'prompts').mkdir(parents=True, exist_ok=True)
  limit = {'revised_sentences': 1} if one_sentence else {}
  _write_json(folder / 'skills.json', {'language': 'minimix', **limit, 'skills': skills})
  _write_json(folder / 'topics.json', topics)
  for file in sorted(PROMPTS.glob('*.txt')):
    (folder / 'prompts' / file.name).write_bytes(file.read_bytes())


def _write_json(path: Path, content: dict):
  path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def write_tokenizer(folder: Path):
  """tokenizer.json: one token for each word and mark of this world, the same for every seed."""
  tokenizer = tokenizers.Tokenizer(models.WordLevel({_UNKNOWN: 0, _BOS: 1, _EOS: 2}, unk_token=_UNKNOWN))
  tokenizer.normalizer = normalizers.Sequence([])
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Metaspace(prepend_scheme='always', split=False),
    pre_tokenizers.Split(tokenizers.Regex(_PIECES), 'isolated'),
  ])  # fmt: skip
  split = tokenizer.pre_tokenizer.pre_tokenize_str
  pieces = {piece for text in _texts() for piece, _ in split(text)}
  vocabulary = {token: i for i, token in enumerate((_UNKNOWN, _BOS, _EOS, *sorted(pieces)))}
  tokenizer.model = models.WordLevel(vocabulary, unk_token=_UNKNOWN)
  tokenizer.decoder = decoders.Metaspace(prepend_scheme='always', split=False)
  tokenizer.add_special_tokens([_UNKNOWN, _BOS, _EOS])
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(str(folder / 'tokenizer.json'))


def _texts() -> list[str]:
  """Texts that together have every piece."""
  words = ' '.join(sorted(language.vocabulary() - set(',.?()"')))
  phrases = [
    language.join(['so', *phrase.split()]) for _, _, phrases in language.PHRASES.values() for phrase in phrases
  ]
  marks = ['so: so, so. so?']
  prompts = [file.read_text(encoding='utf-8') for file in sorted(PROMPTS.glob('student_*.txt'))]
  plain = ['[INST] repeat write in [/INST]', 'one two three four five six seven sentence sentences', 'for example']
  definitions = [definition for _, definition, _ in language.PHRASES.values()]
  names = [' '.join(language.SKILLS), ' '.join(language.TOPICS)]
  return [words, *phrases, *marks, *prompts, *plain, *definitions, *names]
