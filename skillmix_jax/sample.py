"""Answers prompts with a checkpoint, in batches on all devices.

    python -m skillmix_jax.sample --checkpoint=runs/mine --prompts=prompts.jsonl --answers=answers.jsonl
    python -m skillmix_jax.sample --checkpoint=runs/mine@2000 --prompts=P.jsonl --answers=A.jsonl --temperature=0

A prompt is a line {"id", "messages": [..., {"role": "user", "content": TEXT}]}, an answer a line {"id", "answer",
"num_tokens", "finish_reason"}: "stop", or "length" where --max_new_tokens cut it. Answers are appended batch by batch.
The same command again samples only what the file does not answer yet, and ends with the same answers: the noise of an
answer depends on --seed and its id alone. --temperature=0 takes the likeliest token.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skillmix_jax import command
from skillmix_jax.data import chat, sources, tokenizer
from skillmix_jax.data.records import Data
from skillmix_jax.decode import Prompt, Sampler, check_numbers, check_prompts, decode_mesh
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import explain_lost_process, initialize_distributed
from skillmix_jax.models import attention, decoder
from skillmix_jax.models.config import DTYPES, Config
from skillmix_jax.pretrained import fingerprint, open_source

FLAGS = flags.FLAGS
TRAINING_TOKENS = 256  # of an answer that `train` writes, at most


def read_dialogs(path: Path) -> list[dict]:
  """The prompts of a JSONL file.

  Raises:
    InputError: the file or a line is wrong; the message starts with FILE:LINE.
  """
  found: dict[str, str] = {}
  dialogs = []
  for origin, dialog in sources.dialogs([str(path)]):
    name = dialog.get('id')
    if not isinstance(name, str) or not name:
      raise InputError(f"{origin}: 'id' must be a text that is not empty, not {name!r}")
    if name in found:
      raise InputError(f'{origin}: id {name!r} stands at {found[name]} already')
    try:
      chat.check_messages(dialog.get('messages'), last='user')
    except InputError as error:
      raise InputError(f'{origin}: {error}') from None
    found[name] = origin
    dialogs.append(dialog)
  return dialogs


def encode_dialogs(dialogs: Sequence[dict], template: str, encoder: tokenizer.Tokenizer) -> list[Prompt]:
  """(id, token ids) of each; raises InputError naming the dialog whose roles are out of order."""
  prompts = []
  for dialog in dialogs:
    try:
      prompts.append((dialog['id'], chat.encode_prompt(template, encoder, dialog['messages']).tolist()))
    except InputError as error:
      raise InputError(f'prompt {dialog["id"]!r}: {error}') from None
  return prompts


def to_row(name: str, ids: list[int], reason: str, template: str, encoder: tokenizer.Tokenizer) -> dict[str, Any]:
  """One line of an answers file; num_tokens counts the end token."""
  answer = chat.decode_answer(template, encoder, ids)
  return {'id': name, 'answer': answer, 'num_tokens': len(ids), 'finish_reason': reason}


class Model:
  """A checkpoint that answers dialogs: how other programs reach the sampler.

  Attributes:
    config: the decoder, in the dtype that it is computed in.
    is_main_process: of several processes that answer together, the one that keeps the answers.
    fingerprint: of the weights, see pretrained.fingerprint.
  """

  def __init__(
    self, checkpoint: str, *, dtype: str = 'bfloat16', template: str | None = None, batch_size: int | None = None
  ):
    """Looks at the checkpoint; weights are read when the first answer is asked for.

    Args:
      checkpoint: `W`, `W@step` or a Hugging Face folder.
      dtype: of the computation.
      template: instead of the one that the checkpoint was trained with.
      batch_size: prompts at a time; None: as the memory allows.

    Raises:
      InputError: there is no such checkpoint, dtype or template.
    """
    if dtype not in DTYPES:
      raise InputError(f'dtype={dtype!r} is not one of {", ".join(DTYPES)}')
    if batch_size is not None and batch_size < 1:
      raise InputError(f'batch_size={batch_size} must be at least 1')
    self._source = open_source(checkpoint)
    self.fingerprint = fingerprint(self._source)
    self._template = template or self._source.data_identity['template']['name']
    if self._template not in chat.TEMPLATES:
      raise InputError(f'template={self._template!r} is not one of {", ".join(chat.TEMPLATES)}')
    self._encoder = tokenizer.load(self._source.tokenizer)
    self._batch_size = batch_size
    self._sampler: Sampler | None = None
    initialize_distributed()
    self.is_main_process = jax.process_index() == 0
    fastest, _ = attention.choose('auto', jax.default_backend(), None, dtype)  # of prompts of any length
    self.config: Config = dataclasses.replace(self._source.config, dtype=dtype, attention=fastest)

  def encode(self, dialogs: Sequence[dict], max_new_tokens: int) -> list[Prompt]:
    """(id, token ids) of each; raises InputError naming the dialog that is wrong or too long."""
    prompts = encode_dialogs(dialogs, self._template, self._encoder)
    check_prompts(prompts, self.config, max_new_tokens)
    return prompts

  def sample_dialogs(
    self, dialogs: Sequence[dict], *, temperature: float, top_p: float = 1.0, max_new_tokens: int = 512, seed: int = 0,
    on_batch: Callable[[int, int, float], Any] | None = None,
  ) -> Iterator[dict]:  # fmt: skip
    """Answers {'id', 'answer', 'num_tokens', 'finish_reason'} of dialogs {'id', 'messages'}; see Sampler.sample.

    Raises:
      InputError: a number or a dialog is wrong; raised by the call, before anything is compiled.
    """
    check_numbers(temperature, top_p, max_new_tokens)
    prompts = self.encode(dialogs, max_new_tokens)
    sampler = self._load()
    answers = sampler.sample(
      prompts, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed, on_batch=on_batch
    )
    return (to_row(*answer, self._template, self._encoder) for answer in answers)

  def _load(self) -> Sampler:
    if self._sampler is None:
      cfg, mesh = self.config, decode_mesh(self.config)
      with jax.set_mesh(mesh):
        matrices = lambda x: jax.ShapeDtypeStruct(x.shape, cfg.dtype if x.ndim > 2 else x.dtype, sharding=x.sharding)
        like = jax.tree.map(matrices, decoder.abstract(cfg))
        params = self._source.load(like, mesh)
      self._sampler = Sampler(params, cfg, mesh, self._encoder.eos_id, self._batch_size, consume=True)
    return self._sampler


class Answers:
  """An answers file that grows; a last line that a kill cut short is dropped.

  Attributes:
    ids: what the file answers already.
  """

  def __init__(self, path: Path):
    """Reads what is there; raises InputError where a line is no answer."""
    self._path = path
    self._complete = 0  # bytes
    self.ids: set[str] = set()
    content = path.read_bytes() if path.is_file() else b''
    for number, line in enumerate(content.splitlines(keepends=True), 1):
      if not line.endswith(b'\n'):
        break
      try:
        self.ids.add(json.loads(line)['id'])
      except (ValueError, KeyError, TypeError):
        raise InputError(f'{path}:{number}: not an answer of this command; give another --answers') from None
      self._complete += len(line)

  def open(self):
    """The file, to append to."""
    self._path.parent.mkdir(parents=True, exist_ok=True)
    file = self._path.open('ab')
    file.truncate(self._complete)
    return file


class Bar:
  """How far the answers are: a bar on a terminal, plain lines in a log."""

  def __init__(self, total: int):
    self._total, self._done, self._tokens, self._began = total, 0, 0, time.perf_counter()
    columns = (TextColumn('answers'), MofNCompleteColumn(), BarColumn(), TextColumn('{task.description}'))
    self._bar = Progress(*columns, TimeRemainingColumn()) if sys.stderr.isatty() else None
    if self._bar is not None:
      self._task = self._bar.add_task('', total=total)
      self._bar.start()

  def advance(self, num_answers: int, num_tokens: int, seconds: float):
    """Counts a batch."""
    self._done += num_answers
    self._tokens += num_tokens
    rate = f'{num_tokens / seconds:,.0f} tokens/s'
    if self._bar is not None:
      self._bar.update(self._task, completed=self._done, description=rate)
    else:
      print(f'{self._done} of {self._total} answers  {rate}', file=sys.stderr, flush=True)

  def close(self):
    """Ends the bar; the last line counts everything, compiling included."""
    if self._bar is not None:
      self._bar.stop()
    seconds = time.perf_counter() - self._began
    rate = f'{self._tokens / seconds:,.0f} tokens/s over {seconds:.1f} s'
    print(f'{self._done} answers, {self._tokens} tokens, {rate}', file=sys.stderr, flush=True)


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
    longest = max(len(ids) for _, ids in self._prompts)
    self._max_new_tokens = min(TRAINING_TOKENS, cfg.max_positions - longest)

  def write(self, step: int, params: decoder.Decoder):
    """Answers all prompts into samples/<step>.jsonl."""
    sampler = Sampler(params, self._cfg, decode_mesh(self._cfg), self._encoder.eos_id)
    answers = list(sampler.sample(self._prompts, temperature=0, top_p=1, max_new_tokens=self._max_new_tokens, seed=0))
    if jax.process_index() == 0:
      self._folder.mkdir(exist_ok=True)
      rows = (json.dumps(to_row(*answer, self._template, self._encoder), ensure_ascii=False) for answer in answers)
      (self._folder / f'{step}.jsonl').write_text(''.join(row + '\n' for row in rows), encoding='utf-8')


def sample(
  model: Model, prompts: Path, answers: Path, *, temperature: float, top_p: float, max_new_tokens: int, seed: int
):
  """Answers the prompts of a file into another; raises InputError before anything is compiled."""
  check_numbers(temperature, top_p, max_new_tokens)
  dialogs = read_dialogs(prompts)
  model.encode(dialogs, max_new_tokens)
  done = Answers(answers)
  todo = [dialog for dialog in dialogs if dialog['id'] not in done.ids]
  if len(todo) < len(dialogs):
    print(f'{len(dialogs) - len(todo)} of {len(dialogs)} are answered in {answers}', file=sys.stderr, flush=True)
  if not todo:
    return
  main_process = jax.process_index() == 0  # the others answer along and write nothing
  bar = Bar(len(todo)) if main_process else None
  with explain_lost_process(), done.open() if main_process else open(os.devnull, 'wb') as file:

    def finish_batch(*numbers):
      file.flush()
      if bar is not None:
        bar.advance(*numbers)

    try:
      for row in model.sample_dialogs(
        todo, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed, on_batch=finish_batch
      ):
        file.write((json.dumps(row, ensure_ascii=False) + '\n').encode())
    finally:
      if bar is not None:
        bar.close()


def _define_flags():
  """Only where this is the command: others import this module and have flags of these names."""
  flags.DEFINE_string('checkpoint', None, 'W, W@step or a Hugging Face folder')
  flags.DEFINE_string('prompts', None, 'JSONL file of dialogs that end with a user message')
  flags.DEFINE_string('answers', None, 'JSONL file to append the answers to')
  flags.DEFINE_float('temperature', 0.7, '0 takes the likeliest token')
  flags.DEFINE_float('top_p', 1.0, 'draw from the likeliest tokens that have this probability together')
  flags.DEFINE_integer('max_new_tokens', 512, 'longest answer')
  flags.DEFINE_integer('seed', 0, 'of the noise')
  flags.DEFINE_string('template', None, 'instead of the template that the checkpoint was trained with')
  flags.DEFINE_enum('dtype', 'bfloat16', DTYPES, 'of the computation')
  flags.DEFINE_integer('batch_size', None, 'prompts at a time; default: as the memory allows')


def main():
  for name in ('checkpoint', 'prompts', 'answers'):
    if not FLAGS[name].value:
      raise InputError(f'--{name} is missing, see --help')
  model = Model(FLAGS.checkpoint, dtype=FLAGS.dtype, template=FLAGS.template, batch_size=FLAGS.batch_size)
  sample(
    model, Path(FLAGS.prompts), Path(FLAGS.answers), temperature=FLAGS.temperature, top_p=FLAGS.top_p,
    max_new_tokens=FLAGS.max_new_tokens, seed=FLAGS.seed,
  )  # fmt: skip


if __name__ == '__main__':
  _define_flags()
  command.run(main)
