"""What saving costs: memory of the host, and bytes on the disk."""

import jax
import numpy as np
import pytest
from orbax.checkpoint._src.serialization import replica_slices

from skillmix_jax.checkpoint import Checkpoints, load_params, save_params
from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder
from skillmix_jax.models.config import Config
from skillmix_jax.optimizer import Optimizer
from skillmix_jax.step import State

CFG = Config('mistral', 320, 64, 64, 2, 4, 2, 16, 128, dtype='float32')


@pytest.fixture
def mesh():
  mesh = make_mesh(1, -1, 1)
  with jax.set_mesh(mesh):
    yield mesh


@pytest.fixture
def transfers(monkeypatch) -> list[tuple[int, bool]]:
  """(bytes, whether to pinned memory) of every call that copies arrays from the devices to the host."""
  calls = []
  original = replica_slices.transfer_arrays_to_host

  def counted(arrays, *args, **options):
    moved = original(arrays, *args, **options)
    calls.append((sum(array.nbytes for array in moved), options['enable_pinned_host_transfer']))
    return moved

  monkeypatch.setattr(replica_slices, 'transfer_arrays_to_host', counted)
  return calls


def like() -> State:
  params = decoder.abstract(CFG)
  return State(params, jax.eval_shape(Optimizer().transform(10).init, params))


def num_bytes(tree) -> int:
  return sum(x.nbytes for x in jax.tree.leaves(tree))


def test_weights_alone_go_to_the_host_an_array_at_a_time(tmp_path, mesh, transfers):
  params = decoder.init(CFG, 0)
  save_params(tmp_path, 0, params)
  sizes = [size for size, _ in transfers]
  assert sum(sizes) == num_bytes(params)
  assert max(sizes) <= max(x.nbytes for x in jax.tree.leaves(params)) < sum(sizes) / 2
  restored = load_params(tmp_path, 0, decoder.abstract(CFG), mesh)
  assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(restored)))


def test_a_state_may_be_overwritten_once_saving_has_begun(tmp_path, mesh, transfers):
  params = decoder.init(CFG, 0)
  state = State(params, jax.jit(Optimizer().transform(10).init)(params))
  expected = jax.tree.map(np.asarray, state)
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state)
    assert sum(size for size, _ in transfers) == num_bytes(state), 'all of it has left the devices'
    assert {pinned for _, pinned in transfers} == {False}, 'None is for orbax to decide, which says: pinned on a GPU'
    jax.tree.map(lambda x: x.delete(), state)
    checkpoints.wait()
    on_disk = sum(path.stat().st_size for path in (tmp_path / 'checkpoints').rglob('*') if path.is_file())
    assert on_disk >= num_bytes(expected), 'moments are all zero: compressed they would take no room'
    restored = checkpoints.restore(1, like(), mesh)
  assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored)))
