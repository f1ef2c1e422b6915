"""Says whether a run fits hardware that is not here, and about how long its steps would take.

    python -m skillmix_jax.plan --config=configs/llama13b.py --target=4xH100
    python -m skillmix_jax.plan --config=configs/mistral7b.py --target=v5e-16 --config.optimizer.mu_dtype=bfloat16

The real training step is compiled for the target by XLA's own compilers, which need no accelerator; `make plan-tools`
installs them, then this command is run with .venv-plan/bin/python. Without them, or for a first look, an estimate is
made by arithmetic, and the answer says so. When the run does not fit, the cheapest change that does is named.

Targets: 4xH100, 1xH200, 8xA100-80GB, 1xL40S, 1xRTX4090; v5p-16, v4-32 (cores), v5e-32, v6e-16 (chips). Exit code 0
also when it does not fit; --json=FILE writes the answer for programs.
"""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from skillmix_jax import command

if __name__ == '__main__':  # the libraries below take seconds to load: --help and a wrong flag do not wait for them
  config_flags.DEFINE_config_file('config', None, 'the experiment, for example configs/llama13b.py')
  flags.DEFINE_string('target', None, 'hardware to plan for, for example 4xH100, 1xH200, v5p-16, v5e-32')
  flags.DEFINE_string('json', None, 'file to write the answer to, for programs')
  command.read_flags('config')
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'  # what does not fit is this command's answer, and XLA calls it an error

import jax
from ml_collections import ConfigDict

from skillmix_jax.data.records import open_data
from skillmix_jax.errors import InputError
from skillmix_jax.experiment import check_numbers, check_packing, make_mixture, of_weights, rows_of_step
from skillmix_jax.loss import Loss, fitting_chunks
from skillmix_jax.memory import MEMORY_FRACTION
from skillmix_jax.mesh import AXES, mesh_sizes
from skillmix_jax.models import attention
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.planning import hardware
from skillmix_jax.planning.compiled import compile_step
from skillmix_jax.planning.estimate import MFU, Run, memory, step_seconds
from skillmix_jax.planning.hardware import GIB, Target
from skillmix_jax.planning.program import Reading, gradient_sums, read
from skillmix_jax.pretrained import open_source
from skillmix_jax.workdir import flatten

FLAGS = flags.FLAGS

GUESS_FRACTION = 0.90  # of it, where a change is named that was not compiled
VOCABULARY, LENGTH = 32_000, 1024  # where there is no data yet: of both models, and the paper's rows


@dataclasses.dataclass
class Plan:
  """One answer; its fields are those of --json."""

  target: str
  method: str
  attention: str
  num_devices: int
  mesh: dict[str, int]
  rows: int
  length: int
  peak_bytes_per_device: int
  budget_bytes_per_device: int
  memory_bytes_per_device: int
  fits: bool
  estimate_bytes_per_device: dict[str, int]
  compiled_bytes_per_device: dict[str, int] | None
  compile_seconds: float | None
  gradients_reduce_scattered: bool | None
  gradients_all_reduced: list[str]
  program: Reading | None  # of GPUs
  step_seconds: tuple[float, float]
  notes: list[str]
  change: dict | None = None


def read_run(config: ConfigDict, target: Target) -> tuple[Run, list[str]]:
  """Returns the run that a config describes, and what had to be assumed about it.

  Raises:
    InputError: the config is wrong, or cannot run on so many devices.
  """
  check_numbers(config)
  loss, optimizer = Loss(**config.loss), Optimizer(**config.optimizer)
  model = config.model.to_dict()
  reference, notes = model.pop('init_from'), []
  rows_needed, row_length = config.data.dialogs + config.data.text_rows, LENGTH
  length, vocab_size = LENGTH, VOCABULARY
  if config.data.path and Path(config.data.path, 'manifest.json').exists():
    data = open_data(config.data.path)
    check_packing(config, data)
    length, vocab_size = data.length, data.vocab_size
    mixture = make_mixture(config, data)
    rows_needed, row_length = mixture.rows_needed, mixture.length
  else:
    vocab_size = model['vocab_size'] or vocab_size
    notes.append(f'{config.data.path or "data.path"} is not here: {vocab_size:,} tokens and rows of {length:,} assumed')
    if config.data.packing:
      notes.append(f'data.packing needs fewer than {rows_needed} rows, how many is in the data')
  platform = 'gpu' if target.platform == 'cuda' else target.platform
  model['attention'], note = attention.choose(model['attention'], platform, length, model['dtype'])
  notes += [note] if note else []
  if reference and Path(reference.split('@')[0]).is_dir():
    cfg = of_weights(model, open_source(reference).config, reference)
  else:
    model['vocab_size'] = model['vocab_size'] or vocab_size
    model['max_positions'] = model['max_positions'] or length
    cfg = Config(**model)
  loss.check_length(length)
  data_axis, fsdp, tensor = mesh_sizes(**config.mesh, num_devices=target.num_devices)
  cfg.check_mesh(fsdp, tensor)
  rows = rows_of_step(rows_needed, data_axis * fsdp, config.accumulation)
  moments = 6 if optimizer.mu_dtype == 'bfloat16' else 8
  on_device = rows // (data_axis * fsdp * config.accumulation)
  chunks = loss.chunks or fitting_chunks(on_device, row_length, cfg.vocab_size // tensor)
  return Run(cfg, rows, row_length, config.accumulation, chunks, moments, data_axis, fsdp, tensor), notes


def make_plan(config: ConfigDict, target: Target) -> Plan:
  """Compiles where the target's compiler is installed, else estimates; raises InputError where the config is wrong."""
  run, notes = read_run(config, target)
  can_compile = hardware.has_compiler(target)
  if run.config.attention == 'cudnn' and can_compile and not hardware.has_cudnn():
    notes.append('cuDNN is not installed: compiled with XLA attention; the run will use cudnn, which needs less')
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, attention='xla'))
  estimate = {name: int(size) for name, size in memory(run).items()}
  found, began = None, time.perf_counter()
  if can_compile:
    tx = Optimizer(**config.optimizer).transform(config.steps)
    found = compile_step(run, target, Loss(**config.loss), tx, config.data.packing)
  else:
    notes.append(
      f'no compiler for {target.name} is installed: this is arithmetic, within 14 % of the compilers where they were '
      'asked (docs/guides/scale.md); make plan-tools, then .venv-plan/bin/python -m skillmix_jax.plan'
    )
  program = found.text if found else None
  scattered, summed = gradient_sums(program, run) if program and run.fsdp > 1 else (None, [])
  used, budget = run.data * run.fsdp * run.tensor, target.budget
  if used < target.num_devices:
    notes.append(f'the mesh uses {used} of the {target.num_devices} devices')
  peak = found.sizes['peak'] if found else sum(estimate.values())
  return Plan(
    target.name, 'compiled' if found else 'analytic', run.config.attention, target.num_devices,
    dict(zip(AXES, (run.data, run.fsdp, run.tensor))), run.rows, run.length, peak, budget, target.memory,
    peak <= budget and not (found and found.refused), estimate, found.sizes if found else None,
    time.perf_counter() - began if found else None, scattered, summed,
    read(program) if program and target.platform == 'cuda' else None, step_seconds(run, target), notes,
  )  # fmt: skip


def changes(config: ConfigDict) -> Iterator[dict[str, object]]:
  """Changes of a config that save memory, the cheapest first; those from data.dialogs on change what is trained."""
  free = [{'optimizer.mu_dtype': 'bfloat16'}, {'model.remat': 'full'}]
  saving = [{}, *free, free[0] | free[1]]
  if config.mesh.data != 1 or config.mesh.fsdp not in (1, -1):
    yield {'mesh.data': 1, 'mesh.fsdp': -1}
  pieces = [{}, *({'accumulation': config.accumulation * n} for n in (2, 4, 8))]
  rows = [{'data.dialogs': config.data.dialogs // n, 'data.text_rows': config.data.text_rows // n} for n in (2, 4, 8)]
  for fewer in (*pieces, *rows):
    for change in saving:
      yield change | fewer


def find_change(config: ConfigDict, target: Target, plan: Plan) -> dict | None:
  """Returns the first of `changes` that fits, compiled for GPUs, where that is quick; else the smallest target that
  does.

  The estimate, corrected by how far off it was for the config as it is, picks what to look at.
  """
  confirms = plan.method == 'compiled' and target.platform == 'cuda'
  off = plan.peak_bytes_per_device / sum(plan.estimate_bytes_per_device.values())

  def guess(changed: ConfigDict, other: Target) -> int | None:
    try:
      run, _ = read_run(changed, other)
    except InputError:  # fewer rows than devices, say
      return None
    as_planned = dataclasses.replace(run, config=dataclasses.replace(run.config, attention=plan.attention))
    peak = int(off * sum(memory(as_planned).values()))
    return peak if peak <= (MEMORY_FRACTION if confirms else GUESS_FRACTION) * other.memory else None

  current = flatten(config.to_dict())
  for change in changes(config):
    change = {name: value for name, value in change.items() if current[name] != value}
    if not change:
      continue
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(change)
    peak = guess(changed, target)
    if peak is not None and confirms:
      found = make_plan(changed, target)
      off *= found.peak_bytes_per_device / peak
      peak = found.peak_bytes_per_device if found.fits else None
    if peak is not None:
      return {'set': change, 'method': 'compiled' if confirms else 'analytic', 'peak_bytes_per_device': peak}
  for other in hardware.larger(target):
    peak = guess(config, other)
    if peak is not None:
      return {'target': other.name, 'method': 'analytic', 'peak_bytes_per_device': peak}
  return None


def show(plan: Plan, config_name: str, target: Target) -> str:
  """Prints the answer for people."""
  gib = lambda size: f'{size / GIB:10.2f}'
  estimate, compiled = plan.estimate_bytes_per_device, plan.compiled_bytes_per_device or {}
  total = {'peak': sum(estimate.values())}
  rows = [(name, size, compiled.get(name)) for name, size in (estimate | total).items()]
  mesh = ' x '.join(f'{name} {size}' for name, size in plan.mesh.items())
  lines = [
    f'{config_name} on {plan.target}: {plan.num_devices} x {target.kind} ({mesh})',
    f'a step is {plan.rows} rows x {plan.length:,} tokens, {plan.attention} attention',
    '',
    f'GiB per device              estimate{"  compiled" if compiled else ""}',
    *(f'  {name:26}{gib(guess)}{gib(found) if found else ""}' for name, guess, found in rows),
    f'  {"budget":26}{gib(plan.budget_bytes_per_device)}  ({MEMORY_FRACTION} of {target.memory / GIB:.2f})',
    '',
    f'{"FITS" if plan.fits else "DOES NOT FIT"} ({plan.method})',
  ]
  if plan.gradients_reduce_scattered is not None:
    whole = ', '.join(plan.gradients_all_reduced) or 'none'
    how = 'reduce-scattered' if plan.gradients_reduce_scattered else 'not reduce-scattered'
    lines.append(f'gradients: {how}; summed whole on every device: {whole}')
  if plan.program is not None:
    lines += show_program(plan.program, fused=plan.attention == 'cudnn')
  low, high = plan.step_seconds
  lines.append(
    f'step: {low:.1f} - {high:.1f} s, not measured: {MFU[0]:.0%} of the peak {target.peak / 1e12:.0f} TFLOP/s with all '
    f'sending hidden, to {MFU[1]:.0%} with none hidden, at {target.link_among(target.num_devices) / 1e9:.0f} GB/s'
  )
  lines += [f'note: {note}' for note in plan.notes]
  if plan.change is not None:
    size = f'{plan.change["peak_bytes_per_device"] / GIB:.2f} GiB, {plan.change["method"]}'
    if 'target' in plan.change:
      lines.append(f'the smallest that is large enough: --target={plan.change["target"]} ({size})')
    else:
      keys = ' '.join(f'--config.{name}={value}' for name, value in plan.change['set'].items())
      lines.append(f'the cheapest change that fits: {keys} ({size})')
  elif not plan.fits:
    lines.append('no change of moments, remat, accumulation, rows or number of devices fits: take a smaller model')
  return '\n'.join(lines)


def show_program(program: Reading, fused: bool) -> list[str]:
  """Prints what the compiler made of the step, for people."""
  lines = [f'products computed again for want of memory: {program.rematerialised_products}']
  if fused:
    lines[0] += f'; fused attention forward in the backward pass of a block: {program.fused_forwards_in_backward}'
  sent = {where: size for where, size in program.sent_bytes.items() if size}
  if sent:
    shares = (
      f'{program.hidden_bytes[where] / size:.0%} of {size / GIB:.1f} GiB ({where})' for where, size in sent.items()
    )
    lines.append(f'sent while products run, in a step: {", ".join(shares)}')
  return lines


def main():
  if not FLAGS.target:
    raise InputError(f'--target is missing; known are {", ".join(hardware.known_targets())}')
  target, config = hardware.parse_target(FLAGS.target), FLAGS.config
  if FLAGS.json and not Path(FLAGS.json).absolute().parent.is_dir():
    raise InputError(f'--json={FLAGS.json}: there is no such folder')
  jax.config.update('jax_platforms', 'cpu')  # whatever is here: it is not what is planned for
  jax.config.update('jax_enable_compilation_cache', False)  # programs for absent devices cannot be read back
  plan = make_plan(config, target)
  if not plan.fits:
    plan.change = find_change(config, target, plan)
  print(show(plan, config_flags.get_config_filename(flags.FLAGS['config']), target))
  if FLAGS.json:
    Path(FLAGS.json).write_text(json.dumps(dataclasses.asdict(plan), indent=1) + '\n')


if __name__ == '__main__':
  command.run(main)
