"""Peaks of devices: what MFU divides by."""

import pytest

from skillmix_jax.devices import peak_flops

FLOPS = 4096  # dense bf16 per clock of a Hopper multiprocessor


@pytest.mark.parametrize(
  ('kind', 'multiprocessors', 'ghz'),  # the clock at which the tensor cores are specified
  [
    ('NVIDIA H100 80GB HBM3', 132, 1.830), ('NVIDIA H100 PCIe', 114, 1.620), ('NVIDIA H100 NVL', 132, 1.545),
    ('NVIDIA H200', 132, 1.830), ('NVIDIA H200 NVL', 132, 1.545),
  ],
)  # fmt: skip
def test_a_hopper_card_has_its_own_peak(kind, multiprocessors, ghz):
  assert peak_flops(kind) == pytest.approx(multiprocessors * ghz * 1e9 * FLOPS, rel=2e-3)


def test_an_unknown_device_has_none():
  assert peak_flops('cpu') is None
