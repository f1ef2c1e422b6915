"""Hugging Face weights to a checkpoint of ours, and back.

    python -m skillmix_jax.convert --from_hf=mistralai/Mistral-7B-Instruct-v0.2 --checkpoint=checkpoints/mistral
    python -m skillmix_jax.convert --checkpoint=runs/mine@2000 --to_hf=export/mine --dtype=bfloat16

--from_hf takes a folder or the name of a repository on the Hub (a model of models/families.py, as safetensors). The
checkpoint is a workdir W with float32 weights in W/checkpoints/0/params; train takes it as --config.model.init_from=W.
W/tokenizer is what prepare wants as --tokenizer.

--to_hf writes a folder that AutoModelForCausalLM and AutoTokenizer open: weights, config, tokenizer with a chat
template that gives the ids of training, and a README.md that says how the model was made. Adapters (model.lora) are
merged into the weights; with --adapter they alone are written, in float32, as the package peft opens them:

    python -m skillmix_jax.convert --checkpoint=runs/lora --to_hf=export/lora --adapter

Either is written beside its place and renamed at the end: what has the name is complete.
"""

import contextlib
import dataclasses
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from skillmix_jax import command
from skillmix_jax.data import own_template
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.models.config import DTYPES

if __name__ == '__main__':  # the libraries below take seconds to load: --help and a wrong flag do not wait for them
  flags.DEFINE_string('from_hf', None, 'Hub repository ORG/NAME, or a folder, to read')
  flags.DEFINE_string('to_hf', None, 'folder to write for Hugging Face')
  flags.DEFINE_string('checkpoint', None, 'workdir: written with --from_hf, read (W or W@step) with --to_hf')
  flags.DEFINE_enum('dtype', 'bfloat16', DTYPES, 'type of the weights that --to_hf writes')
  flags.DEFINE_bool('adapter', False, 'write the adapters alone, for the package peft')
  flags.DEFINE_enum(
    'template', None, [own_template.AUTO, *sorted(TEMPLATES)],
    "chat template, if not that of the model or the run; auto: the tokenizer's own",
  )  # fmt: skip
  command.read_flags()

import jax
import jax.numpy as jnp

from skillmix_jax import memory, model_card, workdir
from skillmix_jax.checkpoint import FOLDER, load_params, parse_reference, save_params
from skillmix_jax.data import tokenizer, tokenizer_export
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import adapters, decoder, hf, peft
from skillmix_jax.models.config import Config
from skillmix_jax.pretrained import base_name, fetch, open_folder, open_workdir

FLAGS = flags.FLAGS


def check_place(flag: str, out: Path, size: int):
  """Raises InputError where `out` is taken, or its disk cannot hold `size` bytes."""
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise InputError(f'--{flag}={out} exists: give another folder, or remove it')
  parent = next(folder for folder in out.absolute().parents if folder.exists())
  if not parent.is_dir():
    raise InputError(f'--{flag}={out}: {parent} is not a folder')
  free = shutil.disk_usage(parent).free
  if free < size:
    raise InputError(
      f'--{flag}={out} needs {size / 2**30:.2f} GiB, but {parent} has {free / 2**30:.2f} GiB free: free the space, '
      'or give a folder on another disk'
    )


@contextlib.contextmanager
def written_beside(flag: str, out: Path) -> Iterator[Path]:
  """Makes a folder beside `out` that gets its name when the block ends well, and is removed when it does not."""
  part = out.absolute().with_name(f'.{out.absolute().name}.part')
  try:
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir(parents=True)
    yield part
    part.rename(out)
  except OSError as error:
    raise InputError(f'cannot write --{flag}={out}: {error.strerror or error}') from error
  finally:
    shutil.rmtree(part, ignore_errors=True)


def widest_mesh(cfg: Config) -> jax.sharding.Mesh:
  """Makes a mesh of all devices, or of as many as divide the model dim, so that no device holds the whole model."""
  return make_mesh(1, max(n for n in range(1, jax.device_count() + 1) if cfg.dim % n == 0), 1)


def from_hf(reference: str, out: Path, template: str | None):
  """Writes the workdir `out` with the weights of a Hugging Face folder or repository.

  Raises:
    InputError: the source is not usable, or `out` cannot be written; nothing is left then.
  """
  folder = fetch(reference)
  source = open_folder(folder, template)
  cfg = source.config
  check_place('checkpoint', out, 4 * cfg.num_params)
  mesh = widest_mesh(cfg)
  with jax.set_mesh(mesh):
    like = decoder.abstract(cfg)
    hf.check_tensors(folder, like)
    with written_beside('checkpoint', out) as part:
      tokenizer.load(folder).save(part / 'tokenizer')
      config = {'model': {'init_from': reference} | dataclasses.asdict(cfg), 'data_identity': source.data_identity}
      workdir.record_start(part, config, part / 'tokenizer', list(mesh.devices.flat))
      save_params(part, 0, source.load(like, mesh))
  print(f'{cfg.num_params:,} weights in {out}; template {source.data_identity["template"]["name"]}')


def to_hf(reference: str, out: Path, dtype: str, template: str | None):
  """Writes a checkpoint of a workdir (`W` or `W@step`) as the Hugging Face folder `out`.

  Raises:
    InputError: the checkpoint is not usable, or `out` cannot be written; nothing is left then.
  """
  folder, step = parse_reference(reference)
  source = open_workdir(folder, step)
  cfg, encoder = source.config, tokenizer.load(source.tokenizer)
  template = own_template.named(template, encoder) or source.data_identity['template']['name']
  check_place('to_hf', out, jnp.dtype(dtype).itemsize * cfg.num_params)
  mesh = widest_mesh(cfg)
  with jax.set_mesh(mesh), written_beside('to_hf', out) as part:
    bos_id = None if encoder.bos_id == tokenizer.NO_TOKEN else encoder.bos_id
    ends = list(dict.fromkeys([encoder.eos_id, TEMPLATES[template].document_end_id(encoder)]))
    config = hf.config_dict(cfg, dtype, bos_id, encoder.eos_id)
    (part / 'config.json').write_text(json.dumps(config, indent=1) + '\n')
    hf.save_generation_config(part, bos_id, ends if ends[1:] else ends[0])
    tokenizer_export.export(encoder, template, part, cfg.max_positions)
    (part / 'README.md').write_text(model_card.render(folder, step, dtype, template), encoding='utf-8')
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding), decoder.abstract(cfg))
    hf.save(part, source.load(like, mesh), dtype)
  print(f'step {step} of {folder} in {out} ({dtype}); template {template}')


def to_peft(reference: str, out: Path, template: str | None):
  """Writes the adapters of a workdir (`W` or `W@step`) as the folder `out` of the package peft.

  Raises:
    InputError: there are no adapters, the checkpoint is not usable, or `out` cannot be written; nothing is left then.
  """
  folder, step = parse_reference(reference)
  saved = workdir.read_config(folder)
  cfg = workdir.saved_model(folder, saved)
  if cfg.lora is None:
    raise InputError(f'--adapter: {folder} has no adapters, all its weights were trained: leave --adapter out')
  base = published_name(base_name(folder, saved.get('base')))
  encoder = workdir.open_tokenizer(folder, saved)
  template = own_template.named(template, encoder) or saved['data_identity']['template']['name']
  check_place('to_hf', out, 4 * cfg.num_trained)
  mesh = widest_mesh(cfg)
  with jax.set_mesh(mesh), written_beside('to_hf', out) as part:
    tokenizer_export.export(encoder, template, part, cfg.max_positions)
    (part / 'README.md').write_text(model_card.render(folder, step, 'float32', template, 'peft'), encoding='utf-8')
    trained: Any = adapters.abstract(cfg)[0]
    peft.save(part, load_params(folder, step, trained, mesh), cfg, base)
  print(f'adapters of step {step} of {folder} in {out}; template {template}')
  if (Path(base.rpartition('@')[0] or base) / FOLDER).is_dir():
    print(
      f'note: {base} is a workdir, which peft cannot open: export it with --to_hf, and write that folder into '
      f'base_model_name_or_path of {out / "adapter_config.json"}',
      file=sys.stderr,
    )  # fmt: skip


def published_name(base: str) -> str:
  """The Hugging Face model that a base was converted from, where it was; else the base itself."""
  folder = Path(base.removesuffix('@0'))
  converted = base.endswith('@0') and (folder / FOLDER).is_dir()  # no run saves step 0
  return workdir.read_config(folder)['model']['init_from'] if converted else base


def main():
  signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the half-made folder goes
  if not FLAGS.checkpoint or bool(FLAGS.from_hf) == bool(FLAGS.to_hf):
    raise InputError('give --checkpoint=W and one of --from_hf=ORG/NAME-or-DIR and --to_hf=DIR; see --help')
  memory.claim()
  if FLAGS.from_hf:
    if FLAGS['dtype'].present:
      raise InputError('--dtype belongs to --to_hf: a checkpoint always has float32 weights')
    if FLAGS.adapter:
      raise InputError('--adapter belongs to --to_hf: --from_hf reads whole weights')
    from_hf(FLAGS.from_hf, Path(FLAGS.checkpoint), FLAGS.template)
  elif FLAGS.adapter:
    if FLAGS['dtype'].present:
      raise InputError('--dtype belongs to whole weights: --adapter writes float32, as the adapters were trained')
    to_peft(FLAGS.checkpoint, Path(FLAGS.to_hf), FLAGS.template)
  else:
    to_hf(FLAGS.checkpoint, Path(FLAGS.to_hf), FLAGS.dtype, FLAGS.template)


if __name__ == '__main__':
  command.run(main)
