"""One interface to tokenizer.model (sentencepiece) and tokenizer.json (tokenizers).

Text is only ever text here: a literal '</s>' or '[INST]' inside a dialog or a web page becomes ordinary
pieces, never a control token. BOS and EOS are placed by id, by those who know where a document starts.
"""

import abc
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import sentencepiece
import tokenizers

from skillmix_jax.errors import InputError

NO_TOKEN = -1  # the id of a control token that the tokenizer lacks
SENTENCEPIECE_FILE = 'tokenizer.model'
TOKENIZERS_FILE = 'tokenizer.json'
# What transformers keeps beside a tokenizer.json; the first that names a token wins.
SPECIAL_TOKEN_FILES = ('tokenizer_config.json', 'special_tokens_map.json')
# Beside either kind: the model's own chat template (own_template.py). Copied along, and no part of the identity.
OWN_TEMPLATE_FILES = ('chat_template.jinja', 'tokenizer_config.json')


class Tokenizer(abc.ABC):
  """What both kinds share.

  Attributes:
    kind: 'sentencepiece' or 'tokenizers'.
    vocab_size: the largest id + 1.
    bos_id: id of the control token that starts a document; NO_TOKEN if the tokenizer lacks it.
    eos_id: id of the control token that ends an answer.
    files: the files that define it, the tokenizer itself first; `save` copies them.
    sha256: hex digest over their contents and the names they are saved under.
    adds_blank: whether `encode` itself puts a blank in front of the text, as LLaMA's and Mistral's do.
  """

  kind: str
  file_name: str
  vocab_size: int
  bos_id: int
  eos_id: int

  def __init__(self, files: Sequence[pathlib.Path]):
    self.files = tuple(files)
    digest = hashlib.sha256()
    for name, file in zip(self._names(), self.files):
      content = file.read_bytes()
      digest.update(f'{name} {len(content)}\n'.encode() + content)
    self.sha256 = digest.hexdigest()

  def _names(self) -> list[str]:
    return [self.file_name, *(file.name for file in self.files[1:])]

  def save(self, folder: pathlib.Path):
    """Copies the files into `folder`, under the names by which `load` finds them there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in zip(self._names(), self.files):
      shutil.copyfile(file, folder / name)
    for file in map(self.files[0].with_name, OWN_TEMPLATE_FILES):
      if file.is_file() and file not in self.files:
        shutil.copyfile(file, folder / file.name)

  @property
  def identity(self) -> dict[str, str | int]:
    """What a manifest or a workdir records of a tokenizer; equal where ids mean the same."""
    names = ('kind', 'sha256', 'vocab_size', 'bos_id', 'eos_id')
    return {name: getattr(self, name) for name in names}

  @property
  def adds_blank(self) -> bool:
    ids = self.encode('a')
    return bool(ids) and self.piece(ids[0]).startswith('▁')

  @abc.abstractmethod
  def encode(self, text: str) -> list[int]:
    """Ids of `text`, without BOS and EOS; control tokens spelled out in it stay text."""

  def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """Encodes each text."""
    return [self.encode(text) for text in texts]

  @abc.abstractmethod
  def decode(self, ids: Sequence[int]) -> str:
    """Decodes `ids`; control tokens leave no trace."""

  @property
  @abc.abstractmethod
  def control_tokens(self) -> dict[str, int]:
    """The ids of all control tokens, by their names; what `decode` leaves out."""

  @abc.abstractmethod
  def control(self, name: str) -> int | None:
    """Returns the id of a control token; None if no token has that name."""

  @abc.abstractmethod
  def piece(self, token_id: int) -> str:
    """Returns the vocabulary entry of one id, for people."""


class SentencePiece(Tokenizer):
  """tokenizer.model: the exact tokenizer of LLaMA and Mistral."""

  kind = 'sentencepiece'
  file_name = SENTENCEPIECE_FILE

  def __init__(self, file: pathlib.Path):
    super().__init__([file])
    try:
      self._model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError) as error:
      raise InputError(f'{file} is not a sentencepiece model ({error}); copy the file again') from error
    self.vocab_size = self._model.vocab_size()
    self.bos_id, self.eos_id = self._model.bos_id(), self._model.eos_id()
    if self.eos_id < 0:
      raise InputError(f'{file} has no end token (EOS); use a tokenizer that was trained with one')

  def encode(self, text):
    return self._model.encode(text)

  def encode_batch(self, texts):
    return self._model.encode(list(texts), num_threads=os.cpu_count() or 1)

  def decode(self, ids):
    return self._model.decode([int(i) for i in ids])

  @functools.cached_property
  def control_tokens(self):
    return {self.piece(i): i for i in range(self.vocab_size) if self._model.is_control(i)}

  def control(self, name):
    token_id = self._model.piece_to_id(name)
    return token_id if self._model.is_control(token_id) else None

  def piece(self, token_id):
    return self._model.id_to_piece(int(token_id))


class HuggingFace(Tokenizer):
  """tokenizer.json, with BOS and EOS named by the files beside it (else '<s>', which may be missing, and '</s>')."""

  kind = 'tokenizers'
  file_name = TOKENIZERS_FILE

  def __init__(self, file: pathlib.Path):
    beside = [file.with_name(name) for name in SPECIAL_TOKEN_FILES if file.with_name(name).is_file()]
    super().__init__([file, *beside])
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')  # one text at a time: threads only warn about forks
    try:
      self._model = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
      raise InputError(f'{file} is not a tokenizer.json ({error}); copy the file again') from error
    self._model.no_truncation()
    self._model.no_padding()
    self._model.encode_special_tokens = True
    self.vocab_size = max(self._model.get_vocab(with_added_tokens=True).values()) + 1
    self.bos_id = self._control_token(file, beside, 'bos_token', '<s>')
    self.eos_id = self._control_token(file, beside, 'eos_token', '</s>')

  def _control_token(self, file, beside, key, default) -> int:
    named = next((found for path in beside if (found := _read_token(path, key)) is not None), None)
    token = named or default
    token_id = self._model.token_to_id(token)
    if token_id is None:
      if named is None and key == 'bos_token':
        return NO_TOKEN
      what = 'BOS' if key == 'bos_token' else 'end token (EOS)'
      raise InputError(f'{file} has no {what} {token!r}; name its {key} in tokenizer_config.json beside it')
    return token_id

  def encode(self, text):
    return self._model.encode(text, add_special_tokens=False).ids

  def decode(self, ids):
    return self._model.decode([int(i) for i in ids], skip_special_tokens=True)

  @functools.cached_property
  def control_tokens(self):
    return {token.content: i for i, token in self._model.get_added_tokens_decoder().items() if token.special}

  def control(self, name):
    return self._model.token_to_id(name)

  def piece(self, token_id):
    return self._model.id_to_token(int(token_id)) or f'<unused {int(token_id)}>'


def _read_token(path: pathlib.Path, key: str) -> str | None:
  try:
    token = json.loads(path.read_text(encoding='utf-8')).get(key)
  except (ValueError, AttributeError) as error:
    raise InputError(f'{path} is not a JSON object ({error}); copy the file again') from error
  return token.get('content') if isinstance(token, dict) else token


def load(path: str | os.PathLike) -> Tokenizer:
  """Opens the tokenizer in a folder, or a tokenizer file itself.

  In a folder tokenizer.model is preferred: it is what the model was trained with, a tokenizer.json is a translation.

  Raises:
    InputError: the tokenizer is missing, cannot be read, or has no EOS.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    for name, kind in ((SENTENCEPIECE_FILE, SentencePiece), (TOKENIZERS_FILE, HuggingFace)):
      if (path / name).is_file():
        return kind(path / name)
    raise InputError(f'{path} holds neither {SENTENCEPIECE_FILE} nor {TOKENIZERS_FILE}; copy one from the model there')
  if not path.is_file():
    raise InputError(f'no tokenizer at {path}; give a folder with {SENTENCEPIECE_FILE} or {TOKENIZERS_FILE}')
  return HuggingFace(path) if path.suffix == '.json' else SentencePiece(path)
