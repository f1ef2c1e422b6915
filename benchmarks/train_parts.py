"""Where a training step goes, beside torch: forward, backward, head, optimizer, and the bare products of its shapes.

Float32, the same shapes and threads, each part in turns with torch's. The shapes of the parts are those of train_speed.
"""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import lines
import numpy as np
import optax
import torch
import train_speed
from lines import Line
from shapes import LLAMA, SHAPES, their_model
from turns import in_turns

from skillmix_jax.loss import token_losses
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer

M = train_speed.B * train_speed.T
NAMES = 'LLaMA', 'Mistral'
Run = Callable[[], object]


def waiting(compiled: Callable, *args):
  """Runs a compiled function to its end."""
  return jax.block_until_ready(compiled(*args))


def our_parts(cfg: Config, batch) -> dict[str, Run]:
  """Functions that run a part of a step of ours and wait for it."""
  mesh = make_mesh(1, 1, 1)
  rng = np.random.default_rng(0)
  with jax.set_mesh(mesh):
    params = decoder.init(cfg, 0)
    tx = Optimizer().transform(1000)
    state = params, jax.jit(tx.init)(params)
    grads = jax.tree.map(jnp.ones_like, params)
    placed = place_batch(mesh, batch)
    hidden_MD = place_batch(mesh, {'hidden': rng.standard_normal((M, cfg.dim)).astype(np.float32)})['hidden']

  def head(params, hidden_MD):
    losses_BT = token_losses(hidden_MD, params.head, placed['targets'], 1)
    return (losses_BT * placed['weights']).sum() / placed['weights'].sum()

  def whole(params):
    return head(params, params(placed['tokens'], placed['positions']))

  def update(state, grads):
    params, opt = state
    updates, opt = tx.update(grads, opt, params)
    return optax.apply_updates(params, updates), opt

  def run(function, *args) -> Run:
    return partial(on_mesh, partial(waiting, jax.jit(function), *args))

  def on_mesh(function):
    with jax.set_mesh(mesh):
      function()

  donating = jax.jit(update, donate_argnums=0)

  def optimizer():
    nonlocal state
    with jax.set_mesh(mesh):
      state = jax.block_until_ready(donating(state, grads))

  params = jax.tree.map(jnp.copy, params)  # the first are donated
  return {
    'forward': run(whole, params),
    'forward and backward': run(jax.grad(whole), params),
    'head and cross entropy, forward and backward': run(jax.grad(head, argnums=(0, 1)), params, hidden_MD),
    'optimizer': optimizer,
  }


def their_parts(cfg: Config, batch) -> dict[str, Run]:
  """The same in torch."""
  model = their_model(cfg).train()
  adam = torch.optim.Adam(model.parameters(), lr=2e-5, fused=True)
  tokens = torch.from_numpy(batch['tokens']).long()
  labels = torch.where(torch.from_numpy(batch['weights']) > 0, torch.from_numpy(batch['targets']).long(), -100)
  hidden = torch.randn(train_speed.B, train_speed.T, cfg.dim, requires_grad=True)
  loss_of = lambda logits: torch.nn.functional.cross_entropy(logits.view(-1, cfg.vocab_size), labels.view(-1))

  def forward():
    return loss_of(model(tokens, use_cache=False).logits)

  def backward():
    adam.zero_grad(set_to_none=True)
    forward().backward()

  def head():
    hidden.grad = model.lm_head.weight.grad = None
    loss_of(model.lm_head(hidden)).backward()

  def optimizer():
    if any(weight.grad is None for weight in model.parameters()):
      backward()  # in a warm-up
    adam.step()

  return dict(zip(('forward', 'forward and backward', 'head and cross entropy, forward and backward', 'optimizer'),
                  (forward, backward, head, optimizer)))  # fmt: skip


def parts(name: str, cfg: Config) -> Iterator[Line]:
  """A line for each part."""
  batch = train_speed.make_batch(cfg)
  ours, theirs = our_parts(cfg, batch), their_parts(cfg, batch)
  for part in ours:
    seconds, others, ratio = in_turns(ours[part], theirs[part])
    yield Line(f'part of a step, {name}: {part}', 1000 * seconds, 'ms', 'torch', 1000 * others, ratio)


def products(cfg: Config) -> Iterator[Line]:
  """A line for each matrix of the step: its product and both gradients, alone."""
  rng = np.random.default_rng(0)
  new = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  for num_in, num_out in (
    (cfg.dim, cfg.dim),
    (cfg.dim, cfg.ffn_dim),
    (cfg.ffn_dim, cfg.dim),
    (cfg.dim, cfg.vocab_size),
  ):
    x, y, matrix = new(M, num_in), new(M, num_out), new(num_in, num_out)
    # torch stores [out, in]; a gradient has the layout of what it is of.
    pairs = {
      'x W': ((x, matrix), lambda x, w: x @ w, (x, matrix.T.copy()), lambda x, w: x @ w.T),
      'dy W^T': ((y, matrix), lambda y, w: y @ w.T, (y, matrix.T.copy()), lambda y, w: y @ w),
      'x^T dy': ((x, y), lambda x, y: x.T @ y, (x, y), lambda x, y: y.T @ x),
    }
    gigaflops = 2 * M * num_in * num_out / 1e9
    for what, (our_args, our_product, their_args, their_product) in pairs.items():
      ours = partial(waiting, jax.jit(our_product), *(jnp.asarray(x) for x in our_args))
      theirs = partial(their_product, *(torch.from_numpy(x) for x in their_args))
      seconds, others, ratio = in_turns(ours, theirs)
      line = f'product {what}, {M:,} x {num_in:,} x {num_out:,}'
      yield Line(line, gigaflops / seconds, 'GFLOP/s', 'torch', gigaflops / others, ratio)


def measure() -> Iterator[Line]:
  for name in NAMES:
    yield from parts(name, SHAPES[name])
  yield from products(LLAMA)


if __name__ == '__main__':
  lines.main(measure)
