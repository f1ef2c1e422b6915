"""Fine-tunes a decoder on dialogs (loss on the answers only) mixed with code and web text.

    python -m skillmix_jax.train --config=configs/tiny.py --config.data.path=DATA
    python -m skillmix_jax.train --config=configs/llama13b.py:D12 --config.mesh.fsdp=4

The same command again continues where the run stopped, with exactly the steps that it would have taken. SIGTERM
saves and exits with code 85, Ctrl-C saves and exits with code 130 (a second one ends at once): run the same command
again. Any key of the config can be set on the command line (--config.steps=20); configs/common.py lists them with
their meaning. A run starts from the first of these that exists: its own workdir, the weights that model.init_from
names, random weights. If a checkpoint is damaged, a line says so and the one before it is used. With
--config.model.lora.rank=16 adapters train beside those weights, which are frozen, and checkpoints hold them alone.

Writes into the workdir (default runs/<config>): config.json, run.json, tokenizer/, metrics.jsonl, TensorBoard
events, checkpoints/<step>/{params,opt}, compile_cache/ (on a CPU programs are kept in the user's cache); every
config.sample_every steps also samples/<step>.jsonl, greedy answers to the prompts in config.sample_prompts.
"""

import sys
from functools import partial
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from skillmix_jax import command
from skillmix_jax.stopping import CtrlC, before_training

if __name__ == '__main__':  # the libraries below take seconds to load: --help and a wrong flag do not wait for them
  before_training()
  config_flags.DEFINE_config_file('config', None, 'the experiment, for example configs/llama13b.py:D12')
  flags.DEFINE_string('workdir', None, 'folder of the run; default runs/<config>, with its argument')
  command.read_flags('config')

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from skillmix_jax import compile_cache, memory, workdir
from skillmix_jax.answering import TrainingSamples
from skillmix_jax.checkpoint import Checkpoints, steps_in
from skillmix_jax.data import mixture as mixtures
from skillmix_jax.data.records import Data
from skillmix_jax.devices import peak_flops
from skillmix_jax.errors import INTERRUPTED, PREEMPTED, SOME_FAILED, InputError
from skillmix_jax.experiment import (
  check_numbers,
  default_workdir,
  make_mixture,
  model_config,
  open_inputs,
  resolve,
  rows_of_step,
)  # fmt: skip
from skillmix_jax.held_out import HeldOut
from skillmix_jax.lock import hold_together
from skillmix_jax.loss import Loss
from skillmix_jax.mesh import explain_lost_process, initialize_distributed, make_mesh, place_batch
from skillmix_jax.metrics import Report, Throughput, Writer
from skillmix_jax.models import adapters, attention
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.pretrained import open_base, open_source
from skillmix_jax.step import State, train_step


def start_state(config: ConfigDict, cfg: Config, like: State, checkpoints: Checkpoints, mesh, make_opt, base):
  """Returns the state to start from and its step: own workdir, then model.init_from, then random weights.

  Where model.init_from is the frozen `base` of adapters, these are random.
  """
  if checkpoints.latest is not None:
    return checkpoints.restore_latest(like, mesh)
  if config.model.init_from and base is None:
    params: adapters.Trained = open_source(config.model.init_from).load(like.params, mesh)
  else:
    params = adapters.init(cfg, config.seed)
  return State(params, make_opt(params)), 0


def train(config: ConfigDict, folder: Path) -> int:
  """Runs or continues one experiment in `folder`; returns the exit code.

  Raises:
    InputError: the config, the data or the folder is wrong; raised before anything is compiled.
  """
  memory.keep_freed()
  # What the user gave, checked before anything costs time.
  check_numbers(config)
  loss, optimizer = Loss(**config.loss), Optimizer(**config.optimizer)
  data = open_inputs(config, folder)
  loss.check_length(data.length)
  initialize_distributed()
  mesh = make_mesh(**config.mesh)
  cfg = model_config(config, data, folder)
  cfg.check_mesh(mesh.shape['fsdp'], mesh.shape['tensor'])
  mixture = make_mixture(config, data)
  devices = mesh.shape['data'] * mesh.shape['fsdp']
  mixture = mixture.with_rows(rows_of_step(mixture.rows_needed, devices, config.accumulation))
  attention.check_window(cfg.attention, cfg.window, mixture.length, config.data.packing)
  resolved = resolve(config, cfg, data, folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f'--workdir={folder} cannot be made: {error.strerror}') from None
  compile_cache.use_for_run(folder)
  main_process = jax.process_index() == 0
  latest_step = lambda: max(steps_in(folder), default=None)
  with (
    explain_lost_process(), hold_together(folder), CtrlC(latest_step) as ctrl_c, jax.set_mesh(mesh),
    Checkpoints(folder, config.checkpoint.keep) as checkpoints,
  ):  # fmt: skip
    if checkpoints.latest is not None:  # a run that saved nothing has nothing to lose
      workdir.check_continues(folder, resolved)
    base = open_base(folder, resolved.get('base')) if cfg.lora else None
    samples = None
    if config.sample_every:
      samples = TrainingSamples(config.sample_prompts, folder, cfg, data)
    if (checkpoints.latest or 0) >= config.steps:
      print(f'{folder} already holds step {checkpoints.latest} of {config.steps}: nothing to do', file=sys.stderr)
      return 0
    tx = optimizer.transform(config.steps)
    make_opt = jax.jit(tx.init)
    like_params, like_frozen = adapters.abstract(cfg)
    like = State(like_params, jax.eval_shape(make_opt, like_params))
    checkpoints.check_disk(like)
    if main_process:
      workdir.record_start(folder, resolved, Path(config.data.path) / 'tokenizer', list(mesh.devices.flat))
    writer = not_finite = None
    try:
      state, start = start_state(config, cfg, like, checkpoints, mesh, make_opt, base)
      frozen = base.load(like_frozen, mesh) if base is not None else None

      # The step, and what is said about it.
      options = {'xla_gpu_deterministic_ops': True} if config.deterministic and jax.default_backend() == 'gpu' else None
      step_fn = jax.jit(
        partial(train_step, tx=tx, loss=loss, accumulation=config.accumulation, packed=config.data.packing),
        donate_argnums=0, compiler_options=options,
      )  # fmt: skip
      held_out = HeldOut(data, config.held_out.rows, resolved['held_out']['chosen'], mixture.num_rows, loss, mesh)
      measure = lambda: held_out(adapters.join(state.params, frozen))
      peak = peak_flops(mesh.devices.flat[0].device_kind)
      # What a token sees is its own segment, of at most data.length tokens, however long the row is.
      flops = cfg.train_flops_per_token(data.length)
      clock = Throughput(mixture.num_rows * mixture.length, flops, mesh.size, peak)
      writer = Writer(folder, start, config.steps) if main_process else None
      rates = np.asarray(optimizer.learning_rates(config.steps)(np.arange(config.steps)))
      report = Report(writer, clock, rates, config.log_every)
      say_start(cfg, mesh, mixture, data, start, config.steps)

      if samples is not None and start and start % config.sample_every == 0 and not samples.has(start):
        samples.write(start, adapters.merge(state.params, frozen))  # it was stopped between the checkpoint and these
      if start == 0 and (losses := measure()):
        report.write({'step': 0, **losses})
      pending = None  # the step that the devices are working on; it is read when the next one is queued
      for g, batch in mixtures.iterate(mixture, start, config.steps):
        step = g + 1
        state, metrics = step_fn(state, place_batch(mesh, batch), frozen)
        ctrl_c.saves = True
        if pending is not None:
          report.finish(*pending)
        pending = (step, metrics)
        preempted = multihost_utils.reached_preemption_sync_point(step)
        last = step == config.steps
        measuring = last or step % config.held_out.every == 0
        saving = last or preempted or step % config.checkpoint.every == 0
        sampling = config.sample_every and step % config.sample_every == 0
        if not (measuring or saving or sampling):
          continue
        # The row goes to disk before the checkpoint does: whoever resumes from it finds them all.
        report.finish(*pending, measure=measure if measuring else None)
        pending = None
        clock.pause()
        if samples is not None and sampling and not preempted:
          samples.write(step, adapters.merge(state.params, frozen))  # before the checkpoint, as the row
        if saving:
          checkpoints.save(step, state)
        if preempted and not last:
          name, code = ('Ctrl-C', INTERRUPTED) if ctrl_c.pressed else ('SIGTERM', PREEMPTED)
          print(f'{name}: step {step} is being saved; run the same command again', file=sys.stderr, flush=True)
          if ctrl_c.pressed:
            checkpoints.wait()
            print(f'Ctrl-C: step {step} is saved, and the run continues after it', file=sys.stderr, flush=True)
          return code
        if samples is not None and sampling and preempted:
          samples.write(step, adapters.merge(state.params, frozen))
    except FloatingPointError as error:
      not_finite = str(error)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
      said = memory.explain_exhausted(error)
      if said is None:
        raise
      print(f'error: {said}\n{error}', file=sys.stderr, flush=True)
      return SOME_FAILED
    finally:
      if writer is not None:
        writer.close()
    if not_finite is not None:
      state = None  # room to read checkpoints back
      good = checkpoints.last_good(like, mesh)
      where = f'the last good checkpoint is step {good}' if good is not None else 'there is no good checkpoint'
      print(f'error: {not_finite}: not finite, stopped; {where} in {folder}', file=sys.stderr, flush=True)
      return SOME_FAILED
  print(f'done: step {config.steps} in {folder}', file=sys.stderr, flush=True)
  return 0


def say_start(cfg: Config, mesh, mixture, data: Data, start: int, steps: int):
  """Prints a paragraph: what runs, on what, from where."""
  if jax.process_index():
    return
  where = f'continues after step {start}' if start else 'starts'
  shape = ' x '.join(f'{name} {size}' for name, size in mesh.shape.items())
  weights = f'{f"{cfg.num_trained:,} weights of adapters beside " if cfg.lora else ""}{cfg.num_params:,} weights'
  print(
    f'{where}, to step {steps}: {weights} ({cfg.dtype} compute, {cfg.attention} attention) on '
    f'{mesh.size} x {mesh.devices.flat[0].device_kind} ({shape}); a step is {mixture.num_rows} rows x {mixture.length} '
    f'tokens; held out: {", ".join(data.sources("held_out")) or "nothing"}',
    file=sys.stderr, flush=True,
  )  # fmt: skip


def main() -> int:
  folder = flags.FLAGS.workdir or default_workdir(config_flags.get_config_filename(flags.FLAGS['config']))
  return train(flags.FLAGS.config, Path(folder))


if __name__ == '__main__':
  command.run(main)
