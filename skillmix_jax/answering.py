"""Answers dialogs with a checkpoint: what `sample`, `train` and evals' student share."""

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from skillmix_jax import compile_cache, files, memory
from skillmix_jax.batches import Prompt, decode_mesh, fitting_batch_size, free_bytes
from skillmix_jax.data import chat, own_template, tokenizer
from skillmix_jax.data.records import Data
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.decode import Sampler, check_numbers, check_prompts
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import initialize_distributed, on_main_process
from skillmix_jax.models import attention, decoder
from skillmix_jax.models.config import DTYPES, Config
from skillmix_jax.pretrained import fingerprint, open_source
from skillmix_jax.prompts import encode_dialogs, read_dialogs
from skillmix_jax.refill import Answer
from skillmix_jax.workdir import write_json

TRAINING_TOKENS = 256  # of an answer that `train` writes, at most


def to_row(name: str, ids: list[int], reason: str, template: str, encoder: tokenizer.Tokenizer) -> dict[str, Any]:
  """Returns one line of an answers file; num_tokens counts the end token."""
  answer = chat.decode_answer(template, encoder, ids)
  return {'id': name, 'answer': answer, 'num_tokens': len(ids), 'finish_reason': reason}


@contextlib.contextmanager
def explain_exhausted() -> Iterator[None]:
  """Raises an InputError that says what to do where the memory of a device or of the host is too small to sample."""
  try:
    yield
  except (jax.errors.JaxRuntimeError, MemoryError) as error:
    said = memory.explain_exhausted(error, sampling=True)
    if said is None:
      raise
    raise InputError(said) from error


class Model:
  """A checkpoint that answers dialogs: how other programs reach the sampler.

  Attributes:
    config: the decoder, in the dtype that it is computed in.
    is_main_process: of several processes that answer together, the one that keeps the answers.
    fingerprint: of the weights, see pretrained.fingerprint.
    batch_size: prompts at a time, as asked for; None: see `choose_batch_size`.
    settings: what answers depend on besides prompt, id and numbers of sampling, for answers.Answers.
  """

  def __init__(
    self, checkpoint: str, *, dtype: str = 'bfloat16', template: str | None = None, batch_size: int | None = None
  ):
    """Looks at the checkpoint; weights are read, and programs compiled or taken from the cache, with the first answer.

    Args:
      checkpoint: `W`, `W@step` or a Hugging Face folder.
      dtype: of the computation.
      template: instead of the one that the checkpoint was trained with; 'auto': the tokenizer's own.
      batch_size: prompts at a time; None: see `choose_batch_size`.

    Raises:
      InputError: there is no such checkpoint, dtype or template.
    """
    if dtype not in DTYPES:
      raise InputError(f'dtype={dtype!r} is not one of {", ".join(DTYPES)}')
    if batch_size is not None and batch_size < 1:
      raise InputError(f'batch_size={batch_size} must be at least 1')
    memory.keep_freed()
    self._source = open_source(checkpoint)
    self.fingerprint = fingerprint(self._source)
    self._encoder = tokenizer.load(self._source.tokenizer)
    self._template = own_template.named(template, self._encoder) or self._source.data_identity['template']['name']
    if self._template not in TEMPLATES:
      raise InputError(f'template={self._template!r} is not one of {own_template.AUTO}, {", ".join(TEMPLATES)}')
    self.batch_size = batch_size
    self._sampler: Sampler | None = None
    initialize_distributed()
    compile_cache.use_default()
    self.is_main_process = jax.process_index() == 0
    fastest, _ = attention.choose('auto', jax.default_backend(), None, dtype)  # of prompts of any length
    self.config: Config = dataclasses.replace(self._source.config, dtype=dtype, attention=fastest)
    names = {'checkpoint': self._source.name, 'fingerprint': self.fingerprint}
    self.settings = {**names, 'template': self._template, 'dtype': dtype}

  def encode(self, dialogs: Sequence[dict], max_new_tokens: int) -> list[Prompt]:
    """Returns (id, token ids) of each; raises InputError naming the dialog that is wrong or too long."""
    prompts = encode_dialogs(dialogs, self._template, self._encoder)
    check_prompts(prompts, self.config, max_new_tokens)
    return prompts

  def choose_batch_size(self, longest: int, num: int, max_new_tokens: int, stored: int | None = None) -> int:
    """Returns how many prompts to answer at a time; the same number on every process.

    Args:
      longest: tokens of the longest prompt that will come.
      num: of prompts.
      max_new_tokens: of an answer.
      stored: that earlier answers were made with; it counts, so that later ones do not differ from them.
    """
    fitting = fitting_batch_size(self.config, self._mesh, self._free, longest, num, max_new_tokens)
    if stored and 2 * stored <= fitting and self.is_main_process:
      print(
        f'note: {stored} prompts at a time, as with the first answers; {fitting} would fit if all began anew elsewhere',
        file=sys.stderr, flush=True,
      )  # fmt: skip
    chosen = np.int64(stored or self.batch_size or fitting)
    return int(multihost_utils.broadcast_one_to_all(chosen))

  @functools.cached_property
  def _free(self) -> int | None:
    return free_bytes()  # first asked for before the weights are read

  @functools.cached_property
  def _mesh(self) -> jax.sharding.Mesh:
    return decode_mesh(self.config, self._free)

  @property
  def mesh(self) -> str:
    """The devices that it answers on, in words."""
    shape = ' x '.join(f'{name} {size}' for name, size in self._mesh.shape.items() if name != 'fsdp')
    return f'{self._mesh.size} x {self._mesh.devices.flat[0].device_kind} ({shape})'

  def sample_dialogs(
    self, dialogs: Sequence[dict], *, temperature: float, top_p: float = 1.0, max_new_tokens: int = 512, seed: int = 0,
    batch_size: int | None = None,
  ) -> Iterator[dict]:  # fmt: skip
    """Returns answers {'id', 'answer', 'num_tokens', 'finish_reason'} to dialogs {'id', 'messages'}; see
    Sampler.sample.

    Raises:
      InputError: a number or a dialog is wrong; raised by the call, before anything is compiled.
    """
    check_numbers(temperature, top_p, max_new_tokens)
    prompts = self.encode(dialogs, max_new_tokens)
    if batch_size is None:
      longest = max((len(ids) for _, ids in prompts), default=1)
      batch_size = self.choose_batch_size(longest, max(1, len(prompts)), max_new_tokens)
    answers = self.load().sample(
      prompts, batch_size=batch_size, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed,
    )  # fmt: skip
    return self._rows(answers)

  def _rows(self, answers: Iterable[Answer]) -> Iterator[dict]:
    with explain_exhausted():
      yield from (to_row(*answer, self._template, self._encoder) for answer in answers)

  def load(self) -> Sampler:
    """Reads the weights, once; raises InputError where they are damaged."""
    if self._sampler is None:
      cfg, mesh = self.config, self._mesh
      document_end = TEMPLATES[self._template].document_end_id(self._encoder)
      with explain_exhausted():
        with jax.set_mesh(mesh):
          params = self._source.load(decoder.abstract_copy(cfg), mesh)
        self._sampler = Sampler(params, cfg, mesh, self._encoder.eos_id, True, document_end)
    return self._sampler


class TrainingSamples:
  """Greedy answers to fixed prompts, written while a model is trained."""

  def __init__(self, prompts: str, folder: Path, cfg: Config, data: Data):
    """Reads the prompts; raises InputError where they are wrong or fill all positions of the model."""
    if cfg.attention == 'splash':  # which does not take the lengths that prompts are padded to
      cfg = dataclasses.replace(cfg, attention='xla')
    self._folder, self._cfg, self._template = folder / 'samples', cfg, data.manifest['template']['name']
    self._encoder = tokenizer.load(data.path / 'tokenizer')
    self._prompts = encode_dialogs(read_dialogs(Path(prompts)), self._template, self._encoder)
    check_prompts(self._prompts, cfg, max_new_tokens=1)
    self._longest = max(len(ids) for _, ids in self._prompts)
    self._max_new_tokens = min(TRAINING_TOKENS, cfg.max_positions - self._longest)
    self._settings = self._folder / 'settings.json'
    self._batch_size: int | None = None
    if self._settings.is_file():
      self._batch_size = json.loads(self._settings.read_text())['batch_size']

  def has(self, step: int) -> bool:
    """Says whether samples/<step>.jsonl exists; every process gets the answer of process 0."""
    return on_main_process((self._folder / f'{step}.jsonl').exists())

  def write(self, step: int, params: decoder.Decoder):
    """Answers all prompts into samples/<step>.jsonl, which appears when complete; the batch size is the first one's."""
    free = free_bytes()
    mesh = decode_mesh(self._cfg, free)
    if self._batch_size is None:
      num = len(self._prompts)
      self._batch_size = fitting_batch_size(self._cfg, mesh, free, self._longest, num, self._max_new_tokens)
      if jax.process_index() == 0:
        self._folder.mkdir(exist_ok=True)
        write_json(self._settings, {'batch_size': self._batch_size})
    document_end = TEMPLATES[self._template].document_end_id(self._encoder)
    sampler = Sampler(params, self._cfg, mesh, self._encoder.eos_id, document_end=document_end)
    answers = list(
      sampler.sample(
        self._prompts, batch_size=self._batch_size, temperature=0, top_p=1, max_new_tokens=self._max_new_tokens, seed=0
      )
    )
    if jax.process_index() == 0:
      rows = (json.dumps(to_row(*answer, self._template, self._encoder), ensure_ascii=False) for answer in answers)
      files.write_text(self._folder / f'{step}.jsonl', ''.join(row + '\n' for row in rows))
