"""What a traced program holds."""

from collections.abc import Iterator

import jax
from jax.extend import core


def equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
  """All operations of a program, those of loops and called functions too, each as often as it is written."""
  for equation in jaxpr.eqns:
    yield equation
    for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: isinstance(x, core.ClosedJaxpr)):
      inner = inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner
      if isinstance(inner, core.Jaxpr):
        yield from equations(inner)
