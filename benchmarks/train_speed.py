"""Training tokens/s against transformers + torch: the same shapes, float32, the same threads, taken in turns."""

import os
import statistics
import time
from functools import partial

import jax
import numpy as np
import torch
import transformers

from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh, place_batch
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State, train_step

B, T = 4, 512
SIZES = Config(
  'llama', vocab_size=32_000, max_positions=T, dim=512, num_layers=6, num_heads=8, num_kv_heads=8, head_dim=64,
  ffn_dim=1408, dtype='float32', remat='save_qkv_context',
)  # fmt: skip


def make_batch() -> dict[str, np.ndarray]:
  """Random tokens; 40 % of the targets are trained, as in a dialog."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, SIZES.vocab_size, (B, T)).astype(np.int32)
  return {
    'tokens': tokens,
    'targets': np.roll(tokens, -1, axis=1),
    'weights': (rng.random((B, T)) < 0.4).astype(np.float32),
    'positions': np.tile(np.arange(T, dtype=np.int32), (B, 1)),
    'segments': np.ones((B, T), np.int32),
    'is_text': np.zeros(B, bool),
  }


def jax_step(batch):
  """A function that makes one step of ours and waits for it; returns the loss."""
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    tx = Optimizer().transform(1000)
    params = decoder.init(SIZES, 0)
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


def torch_step(batch):
  """The same step in torch: fused attention and Adam, loss on the trained positions only."""
  torch.set_num_threads(os.cpu_count())
  config = transformers.LlamaConfig(
    vocab_size=SIZES.vocab_size, hidden_size=SIZES.dim, intermediate_size=SIZES.ffn_dim,
    num_hidden_layers=SIZES.num_layers, num_attention_heads=SIZES.num_heads, max_position_embeddings=T,
    attn_implementation='sdpa', use_cache=False,
  )  # fmt: skip
  model = transformers.LlamaForCausalLM(config).float().train()
  adam = torch.optim.Adam(model.parameters(), lr=2e-5, fused=True)
  tokens = torch.from_numpy(batch['tokens']).long()
  labels = torch.where(torch.from_numpy(batch['weights']) > 0, torch.from_numpy(batch['targets']).long(), -100)

  def run():
    adam.zero_grad(set_to_none=True)
    logits = model(tokens).logits
    loss = torch.nn.functional.cross_entropy(logits.view(-1, SIZES.vocab_size), labels.view(-1))
    loss.backward()
    adam.step()
    return loss.item()

  return run


def measure(rounds: int = 7) -> dict[str, float]:
  """Median tokens/s of both, taken in turns, and the median ratio of the pairs."""
  batch = make_batch()
  steps = {'ours': jax_step(batch), 'torch': torch_step(batch)}
  for run in steps.values():
    run(), run()  # compile, warm up
  seconds: dict[str, list[float]] = {name: [] for name in steps}
  for _ in range(rounds):
    for name, run in steps.items():
      start = time.perf_counter()
      run()
      seconds[name].append(time.perf_counter() - start)
  rates = {name: B * T / statistics.median(times) for name, times in seconds.items()}
  ratio = statistics.median(theirs / ours for ours, theirs in zip(seconds['ours'], seconds['torch']))
  return {**rates, 'ratio': ratio}


if __name__ == '__main__':
  print(measure())
