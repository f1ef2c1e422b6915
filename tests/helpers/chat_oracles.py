"""Programs and texts that nobody here wrote, asked for the ids of a dialog; and dialogs that try everything."""

import json
import random
import subprocess
from pathlib import Path

import tokenizers
import transformers
from helpers.data_fixtures import EDGES, FRAGMENTS, WORDS
from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
from mistral_common.protocol.instruct.request import InstructRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from skillmix_jax.data.own_template import DAY

Message = dict[str, str]
BLANKS = '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff'
# How Llama 3, Qwen and OLMo 2 cut a text before they merge bytes.
WORD = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def fuzz_text(rng: random.Random, spelled: tuple[str, ...]) -> str:
  """Never blank; with fragments, words, all of Unicode, blanks of all kinds, and control tokens spelled out."""

  def character() -> str:
    kind = rng.random()
    if kind < 0.15:
      return rng.choice(BLANKS)
    while True:
      point = rng.randrange(0x20, 0x110000) if kind < 0.5 else rng.randrange(1, 0x3000)
      if not 0xD800 <= point < 0xE000:
        return chr(point)

  def piece() -> str:
    kind = rng.random()
    if kind < 0.3:
      return rng.choice(FRAGMENTS)
    if kind < 0.5:
      return rng.choice(spelled)
    if kind < 0.75:
      return ''.join(character() for _ in range(rng.randint(1, 8)))
    return ' '.join(rng.choices(WORDS, k=rng.randint(1, 5)))

  inner = rng.choice((' ', '\n', '', '  ')).join(piece() for _ in range(rng.randint(1, 5)))
  text = rng.choice(EDGES) + inner + rng.choice(EDGES)
  return text if text.strip() else f'{text}x'


def fuzz_dialog(
  rng: random.Random, number: int, spelled: tuple[str, ...], one_round: bool, joined: bool
) -> list[Message]:
  """Two or three rounds, every second with a system text (then `one_round`, if only that can have one).

  `joined`: the oracle tokenises an answer together with what leads to it, so no answer begins with blanks.
  """
  system = number % 2
  roles = ['system'] * system + ['user', 'assistant'] * (1 if system and one_round else 2 + number // 2 % 2)
  messages = [{'role': role, 'content': fuzz_text(rng, spelled)} for role in roles]
  for message in messages:
    if joined and message['role'] == 'assistant':
      message['content'] = message['content'].lstrip()
  return messages


def family_folder(folder: Path, specials: tuple[str, ...], config: dict, plain: tuple[str, ...] = ()) -> Path:
  """A byte-level BPE tokenizer of 2,000 pieces, trained on the spot, that cuts texts as the families of today do."""
  folder.mkdir(parents=True, exist_ok=True)
  pre = tokenizers.pre_tokenizers
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=True))
  cut = pre.Split(tokenizers.Regex(WORD), behavior='isolated')
  bpe.pre_tokenizer = pre.Sequence([cut, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
  bpe.decoder = tokenizers.decoders.ByteLevel()
  alphabet = pre.ByteLevel.alphabet()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=2000, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
  )
  rng = random.Random(0)
  bpe.train_from_iterator([fuzz_text(rng, ('system', 'user', 'assistant\n\n')) for _ in range(3000)], trainer)
  bpe.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in plain])
  bpe.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps(config))
  return folder


def tekken_folder(folder: Path, file: Path) -> Path:
  """tokenizer.json of a tekken file: the same pieces and ids, pairs merged in the order of what they make."""
  theirs = MistralTokenizer.from_file(str(file)).instruct_tokenizer.tokenizer
  ranks, offset = theirs._tekken_token2id_nospecial, theirs.num_special_tokens
  letter = dict(zip(*_letters()))
  name = lambda piece: ''.join(letter[byte] for byte in piece)
  merges = []
  for piece in sorted(ranks, key=ranks.__getitem__):
    pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
    pairs = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
    merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
  control = {token['token_str']: token['rank'] for token in theirs._all_special_tokens}
  vocab = control | {name(piece): rank + offset for piece, rank in ranks.items()}
  pre = tokenizers.pre_tokenizers
  bpe = tokenizers.Tokenizer(
    tokenizers.models.BPE(vocab, [tuple(map(name, pair)) for pair in merges], ignore_merges=True)
  )
  cut = pre.Split(tokenizers.Regex(json.loads(file.read_text())['config']['pattern']), behavior='isolated')
  bpe.pre_tokenizer = pre.Sequence([cut, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
  bpe.decoder = tokenizers.decoders.ByteLevel()
  bpe.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in control])
  folder.mkdir(parents=True, exist_ok=True)
  bpe.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps({'bos_token': '<s>', 'eos_token': '</s>'}))
  return folder


def _letters() -> tuple[list[int], list[str]]:
  """The 256 bytes, and the letters that byte-level tokenizers write for them."""
  own = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in own]
  return own + others, [*map(chr, own), *(chr(256 + number) for number in range(len(others)))]


class Common:
  """mistral-common, with one of its own tokenizers."""

  joined = False

  def __init__(self, file: Path):
    self._instruct = MistralTokenizer.from_file(str(file)).instruct_tokenizer

  def ids(self, dialogs: list[list[Message]]) -> list[list[int]]:
    """Ids of each dialog, or of each prompt."""
    return [self._ids(messages) for messages in dialogs]

  def _ids(self, messages: list[Message]) -> list[int]:
    kinds = {'user': UserMessage, 'assistant': AssistantMessage}
    system = messages[0]['content'] if messages[0]['role'] == 'system' else None
    turns = [kinds[m['role']](content=m['content']) for m in messages if m['role'] != 'system']
    return self._instruct.encode_instruct(InstructRequest(messages=turns, system_prompt=system)).tokens


class Published:
  """A published chat template in transformers.

  Control tokens have other names in it and in its tokenizer, so that texts that spell them are texts.
  """

  joined = True

  def __init__(self, tokenizer_json: Path, jinja: str, bos: str | None, eos: str):
    described = json.loads(tokenizer_json.read_text())
    names = {token['content']: f'\ue5b0{token["id"]}\ue5b1' for token in described['added_tokens'] if token['special']}
    for token in described['added_tokens']:
      token['content'] = names.get(token['content'], token['content'])
    described['model']['vocab'] = {names.get(name, name): i for name, i in described['model']['vocab'].items()}
    described['model']['unk_token'] = names.get(described['model'].get('unk_token'))
    described['post_processor'] = None
    for name in sorted(names, key=len, reverse=True):
      jinja = jinja.replace(name, names[name])
    self._tokenizer = transformers.PreTrainedTokenizerFast(
      tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(described)), chat_template=jinja,
      **({'bos_token': names[bos]} if bos else {}), eos_token=names[eos],
    )  # fmt: skip

  def ids(self, dialogs: list[list[Message]]) -> list[list[int]]:
    """Ids of each dialog, or of each prompt."""
    return rendered(self._tokenizer, dialogs, date_string=DAY, enable_thinking=False)


def rendered(theirs, dialogs: list[list[Message]], **named) -> list[list[int]]:
  """What a tokenizer of transformers makes of dialogs, or of prompts."""
  asks = dialogs[0][-1]['role'] == 'user'
  return theirs.apply_chat_template(dialogs, add_generation_prompt=asks, return_dict=False, **named)


RENDER = """
import json, sys
from transformers import PreTrainedTokenizerFast
from renderers.configs import Llama3RendererConfig, Qwen3RendererConfig
from renderers.llama_3 import Llama3Renderer
from renderers.qwen3 import Qwen3Renderer
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[2], split_special_tokens=True)
renderer = {
  'llama3.1': lambda: Llama3Renderer(tokenizer, Llama3RendererConfig(date_string=sys.argv[3])),
  'qwen3': lambda: Qwen3Renderer(tokenizer, Qwen3RendererConfig(enable_thinking=False)),
}[sys.argv[1]]()
for line in sys.stdin:
  messages = json.loads(line)
  done = renderer.render(messages, add_generation_prompt=messages[-1]['role'] == 'user')
  print(json.dumps([list(done.token_ids), list(map(bool, done.sampled_mask))]), flush=True)
"""


class Renderers:
  """The package `renderers`, in an environment of its own."""

  joined = True

  def __init__(self, python: Path, name: str, tokenizer_json: Path):
    self._process = subprocess.Popen(
      [python, '-c', RENDER, name, tokenizer_json, DAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env={'PATH': '/usr/bin:/bin', 'HF_HUB_OFFLINE': '1'},
    )  # fmt: skip

  def render(self, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Ids of a dialog or a prompt, and which of them a model samples."""
    assert self._process.stdin and self._process.stdout
    self._process.stdin.write(json.dumps(messages) + '\n')
    self._process.stdin.flush()
    ids, sampled = json.loads(self._process.stdout.readline())
    return ids, sampled

  def ids(self, dialogs: list[list[Message]]) -> list[list[int]]:
    """Ids of each dialog, or of each prompt."""
    return [self.render(messages)[0] for messages in dialogs]

  def close(self):
    """Ends the process."""
    self._process.kill()
    self._process.wait()
