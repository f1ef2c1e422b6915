"""Training tokens/s against transformers + torch: the same shapes, float32, the same threads, taken in turns."""

from collections.abc import Iterator
from functools import partial

import jax
import lines
import numpy as np
import torch
from lines import Line
from shapes import SHAPES, their_model
from turns import in_turns

from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State, train_step

B, T = 4, 512


def make_batch(cfg: Config) -> dict[str, np.ndarray]:
  """Random tokens; 40 % of the targets are trained, as in a dialog."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, cfg.vocab_size, (B, T)).astype(np.int32)
  return {
    'tokens': tokens,
    'targets': np.roll(tokens, -1, axis=1),
    'weights': (rng.random((B, T)) < 0.4).astype(np.float32),
    'positions': np.tile(np.arange(T, dtype=np.int32), (B, 1)),
    'segments': np.ones((B, T), np.int32),
    'is_text': np.zeros(B, bool),
  }


def jax_step(cfg: Config, batch):
  """A function that makes one step of ours and waits for it; returns the loss."""
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    tx = Optimizer().transform(1000)
    params = decoder.init(cfg, 0)
    state = State(params, jax.jit(tx.init)(params))
    step = partial(train_step, tx=tx, loss=Loss(chunks=1), accumulation=1, packed=False)
    step = jax.jit(step, donate_argnums=0)
    placed = place_batch(mesh, batch)

  def run():
    nonlocal state
    with jax.set_mesh(mesh):
      state, metrics = step(state, placed)
      return float(metrics['loss'])

  return run


def torch_step(cfg: Config, batch):
  """The same step in torch: fused attention and Adam, loss on the trained positions only."""
  model = their_model(cfg).train()
  adam = torch.optim.Adam(model.parameters(), lr=2e-5, fused=True)
  tokens = torch.from_numpy(batch['tokens']).long()
  labels = torch.where(torch.from_numpy(batch['weights']) > 0, torch.from_numpy(batch['targets']).long(), -100)

  def run():
    adam.zero_grad(set_to_none=True)
    logits = model(tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.view(-1, cfg.vocab_size), labels.view(-1))
    loss.backward()
    adam.step()
    return loss.item()

  return run


def measure() -> Iterator[Line]:
  for name, cfg in SHAPES.items():
    what = f'training, {name}, {cfg.num_params / 1e6:.0f} M weights, {B} x {T}, float32'
    batch = make_batch(cfg)
    ours, theirs, ratio = in_turns(jax_step(cfg, batch), torch_step(cfg, batch))
    aim = '>= 1.1 x' if cfg.num_kv_heads == cfg.num_heads else '>= 1.0 x'
    yield Line(what, B * T / ours, 'tokens/s', 'transformers + torch', B * T / theirs, ratio, aim)


if __name__ == '__main__':
  lines.main(measure)
