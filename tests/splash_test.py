"""The fused TPU kernel, interpreted on the CPU, computes what XLA's attention does, and is chosen where it can run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel

from skillmix_jax.errors import InputError
from skillmix_jax.mesh import make_mesh, on_mesh, spec
from skillmix_jax.models import attention, decoder, splash
from skillmix_jax.models.config import Config

B, T, H = 2, 256, 8


@pytest.fixture
def interpreted(monkeypatch):
  """The kernel runs on the CPU, in two blocks of queries and two of keys."""
  make = partial(kernel.make_splash_mha_single_device, interpret=True)
  monkeypatch.setattr(kernel, 'make_splash_mha_single_device', make)
  monkeypatch.setattr(splash, 'LARGEST_BLOCK', T // 2)


def compare_with_xla(num_heads, num_kv_heads, *, segmented, window, mesh_shape):
  """Outputs and gradients of queries, keys and values."""
  with jax.set_mesh(make_mesh(*mesh_shape)):
    keys = jax.random.split(jax.random.key(1), 4)
    dims = spec('batch', None, 'heads', None)
    heads = (num_heads, num_kv_heads, num_kv_heads, num_heads)
    arrays = [jax.random.normal(key, (B, T, n, H), out_sharding=dims) for key, n in zip(keys, heads)]
    ids = np.repeat([[1, 1, 1, 2], [1, 2, 2, 0]], T // 4, axis=1).astype(np.int32)
    segments = jax.device_put(ids, spec('batch', None)) if segmented else None

    def outcome(implementation):
      def total(arrays):
        q, k, v, direction = arrays
        out = attention.attend(q, k, v, segments, window=window, implementation=implementation)
        return (out * direction).sum(), out

      return jax.tree.leaves(jax.jit(jax.grad(total, has_aux=True))(arrays))

    for ours, expected in zip(outcome('splash'), outcome('xla')):
      assert np.abs(expected).max() > 0.5 or window == 1, 'only a single key gives queries no gradient'
      np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_splash_equals_xla_with_groups_segments_and_a_window_on_a_mesh(interpreted):
  compare_with_xla(4, 2, segmented=True, window=150, mesh_shape=(1, 2, 2))


@pytest.mark.parametrize(('remat', 'kernels'), [('full', 4), ('save_qkv', 4), ('save_qkv_context', 3)])
def test_the_forward_kernel_runs_again_only_where_its_output_is_not_kept(remat, kernels):
  cfg = Config('llama', 96, 128, 32, 2, 2, 2, 16, 64, remat=remat, attention='splash')
  mesh = make_mesh(1, 1, 1)
  with jax.set_mesh(mesh):
    tokens = jax.ShapeDtypeStruct((2, 128), jnp.int32, sharding=jax.NamedSharding(mesh, spec('batch', None)))
    gradient = jax.jit(jax.grad(lambda model, tokens: model(tokens, tokens).astype(jnp.float32).sum()))
    traced = gradient.trace(on_mesh(decoder.abstract(cfg), mesh), tokens)
  program = traced.lower(lowering_platforms=('tpu',)).as_text()  # needs no TPU compiler
  assert program.count('@tpu_custom_call') == kernels  # forward, for the gradients of queries, of keys and values


@pytest.mark.parametrize(
  ('asked', 'platform', 'length', 'chosen'),
  [
    ('auto', 'tpu', 1024, 'splash'), ('auto', 'tpu', 1000, 'xla'), ('auto', 'gpu', 1000, 'cudnn'),
    ('auto', 'cpu', 1024, 'xla'), ('xla', 'tpu', 1024, 'xla'), ('splash', 'tpu', 128, 'splash'),
  ],
)  # fmt: skip
def test_which_attention_is_chosen(asked, platform, length, chosen):
  implementation, note = attention.choose(asked, platform, length, 'bfloat16')
  assert implementation == chosen
  assert (note is not None) == ((asked, platform, length) == ('auto', 'tpu', 1000))
  assert note is None or '128 tokens, not 1000' in note


@pytest.mark.parametrize(
  ('asked', 'platform', 'length', 'said'),
  [
    ('splash', 'gpu', 1024, 'needs TPUs, this is gpu'),
    ('splash', 'tpu', 1000, 'multiple of 128 tokens, not 1000'),
    ('cudnn', 'tpu', 1024, 'needs NVIDIA GPUs, this is tpu'),
  ],
)
def test_what_cannot_run_is_refused_where_it_was_asked_for(asked, platform, length, said):
  with pytest.raises(InputError, match=said):
    attention.choose(asked, platform, length, 'bfloat16')
