"""The training step as a program: how long it takes to compile, and how much work is in it."""

import math
import time
from collections.abc import Iterator
from functools import partial

import jax
import lines
from jax.extend.core import jaxprs_in_params
from lines import Line

from skillmix_jax.loss import Loss
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State, train_step


def traced_step(cfg: Config, rows: int, length: int, loss: Loss):
  """The training step of a config, traced on abstract arrays."""
  tx = Optimizer().transform(10)
  params = decoder.abstract(cfg)
  state = State(params, jax.eval_shape(jax.jit(tx.init), params))
  ints = jax.ShapeDtypeStruct((rows, length), 'int32')
  batch = dict.fromkeys(('tokens', 'targets', 'positions', 'segments'), ints)
  batch |= {'weights': jax.ShapeDtypeStruct((rows, length), 'float32'), 'is_text': jax.ShapeDtypeStruct((rows,), bool)}
  step = partial(train_step, tx=tx, loss=loss, accumulation=1, packed=False)
  return jax.jit(step, donate_argnums=0).trace(state, batch)


def matmul_flops(jaxpr) -> int:
  """FLOPs of all matrix products of a traced program, those of loops times the length of the loop."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
      total += 2 * math.prod(out) * math.prod(left[i] for i in contracted)
    times = equation.params['length'] if equation.primitive.name == 'scan' else 1
    total += times * sum(matmul_flops(inner) for inner in jaxprs_in_params(equation.params))
  return total


def compile_seconds() -> float:
  """Tracing, lowering and compiling the step of 40 layers at toy width, without a cache."""
  cfg = Config('llama', 512, 128, 64, 40, 4, 2, 16, 192)
  start = time.perf_counter()
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced_step(cfg, 8, 128, Loss(chunks=8)).lower().compile()
  return time.perf_counter() - start


def measure() -> Iterator[Line]:
  """Work of a step against 8 N a token: 6 N, and 2 N for the recomputed forward pass; N without the lookup table.

  XLA's own count takes the body of a loop once, so it can only check ours where every loop has one turn.
  """
  yield Line('compiling the step of 40 layers at toy width', compile_seconds(), 's', aim='<= 10')
  small = Config('mistral', 4096, 1024, 512, 1, 4, 1, 128, 1792, dtype='float32')
  mistral = Config('mistral', 32_000, 1024, 4096, 32, 32, 8, 128, 14_336)
  with jax.set_mesh(make_mesh(1, 1, 1)):
    traced = traced_step(small, 2, 1024, Loss(chunks=1))
    check = matmul_flops(traced.jaxpr) / traced.lower().compile().cost_analysis()['flops']
    ours = matmul_flops(traced_step(mistral, 32, 1024, Loss(chunks=8)).jaxpr)
  eight_n = 8 * (mistral.num_params - mistral.vocab_size * mistral.dim) * 32 * 1024
  yield Line('matrix FLOPs of the Mistral-7B step / 8 N', ours / eight_n, '', aim='<= 1.4')
  yield Line('the same count / XLA, one layer, one chunk', check, '', aim='near 1')


if __name__ == '__main__':
  lines.main(measure)
