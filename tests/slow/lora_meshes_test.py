"""Adapters on one device and on meshes, whole batches and pieces, Adam and Muon."""

import dataclasses

import jax
import numpy as np
from helpers.from_torch import torch_model
from lora_test import LORA, by_name, moved, steps
from step_test import make_batch

from skillmix_jax.mesh import make_mesh
from skillmix_jax.models.config import PRESETS
from skillmix_jax.optimizer import Optimizer


def test_the_update_does_not_depend_on_devices_pieces_packing_or_what_is_kept():
  theirs, batches = torch_model('llama'), [make_batch(0), make_batch(1)]
  before, whole, reference = steps(theirs, batches)
  pieces = {'accumulation': 2, 'packed': True, 'remat': 'save_all_matmuls'}
  for mesh_shape, options in (((2, 2, 2), {}), ((8, 1, 1), {'accumulation': 2}), ((1, 4, 1), pieces)):
    _, after, history = steps(theirs, batches, mesh_shape, **options)
    for ours, expected in zip(history, reference):
      np.testing.assert_allclose(list(ours.values()), list(expected.values()), rtol=1e-5)
    for name in whole:
      assert np.abs(whole[name] - before[name]).max() > 5e-3
      np.testing.assert_allclose(after[name], whole[name], atol=1e-4, err_msg=name)  # of steps of 1e-2


def test_muon_moves_adapters_by_orthogonal_steps_on_any_mesh():
  cfg = dataclasses.replace(PRESETS['llama2-7b'], dim=64, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=16,
                            ffn_dim=96, lora=LORA)  # fmt: skip
  tx, updates = Optimizer(name='muon', learning_rate=1.0, warmup_steps=0).transform(2), []
  for shape in ((1, 1, 1), (1, 4, 2)):
    with jax.set_mesh(make_mesh(*shape)):
      trained = moved(cfg)
      moves, _ = jax.jit(tx.update)(trained, jax.jit(tx.init)(trained), trained)
      updates.append(by_name(moves))
  for name, move in updates[0].items():
    singular = np.linalg.svd(move, compute_uv=False)
    assert singular.min() > singular.max() / 3, name
    np.testing.assert_allclose(updates[1][name], move, atol=1e-3, err_msg=name)
