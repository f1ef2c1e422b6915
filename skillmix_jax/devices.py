"""What accelerators can do, from their vendors' data sheets. Needs no accelerator, and no JAX."""

from typing import NamedTuple

# Dense bf16 peak of one device in FLOP/s. NVIDIA's "H100 Tensor Core GPU" and "H200 Tensor Core GPU" list TFLOPS with
# sparsity, twice as many: 1,979 SXM, 1,513 PCIe, 1,671 NVL. "NVIDIA L40S" (datasheet) and "NVIDIA Ada GPU Architecture"
# (white paper, appendix A: GeForce RTX 4090, with sums in float32) give both numbers.
PEAK_FLOPS = {
  'NVIDIA A100': 312e12,
  'NVIDIA H100': 989e12,
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H100 NVL': 835e12,
  'NVIDIA H200': 989e12,
  'NVIDIA H200 NVL': 835e12,
  'NVIDIA L40S': 362.05e12,
  'NVIDIA GeForce RTX 4090': 165.2e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5p': 459e12,
  'TPU v5': 459e12,
  'TPU v6 lite': 918e12,
}


class Chip(NamedTuple):
  """What XLA's GPU compiler asks about a chip: its compute `capability`, `num_multiprocessors`, MiB of `l2`, GHz of
  `clock`; of a multiprocessor KiB of `shared_memory`, most `threads`, and float32 units, `fpus`."""

  capability: tuple[int, int]
  num_multiprocessors: int
  l2: int
  clock: float
  shared_memory: int
  threads: int = 2048
  fpus: int = 128


class Gpu(NamedTuple):
  """One GPU: the name that JAX gives it, GiB of memory as the driver reports it, GB/s of that memory."""

  kind: str
  gib: float
  gbps: int
  chip: Chip

  @property
  def memory(self) -> int:
    """The memory in bytes."""
    return int(self.gib * 2**30)

  @property
  def bandwidth(self) -> float:
    """The bandwidth in bytes a second."""
    return self.gbps * 1e9

  @property
  def peak(self) -> float:
    """The peak of dense bfloat16 products in FLOP/s."""
    peak = peak_flops(self.kind)
    assert peak is not None
    return peak


_HOPPER = Chip((9, 0), num_multiprocessors=132, l2=50, clock=1.98, shared_memory=228)
_AMPERE = Chip((8, 0), num_multiprocessors=108, l2=40, clock=1.41, shared_memory=164, fpus=64)
_ADA = Chip((8, 9), num_multiprocessors=142, l2=96, clock=2.52, shared_memory=100, threads=1536)
GPUS = {
  'H100': Gpu('NVIDIA H100 80GB HBM3', 79.10, 3352, _HOPPER),
  'H200': Gpu('NVIDIA H200', 139.80, 4800, _HOPPER),
  'A100-80GB': Gpu('NVIDIA A100-SXM4-80GB', 79.15, 2039, _AMPERE),
  'A100-40GB': Gpu('NVIDIA A100-SXM4-40GB', 39.39, 1555, _AMPERE),
  'L40S': Gpu('NVIDIA L40S', 44.39, 864, _ADA),
  'RTX4090': Gpu('NVIDIA GeForce RTX 4090', 23.64, 1008, _ADA._replace(num_multiprocessors=128, l2=72)),
}


def peak_flops(device_kind: str) -> float | None:
  """Returns the peak of a device by the name that JAX gives it; None for a device that the table does not know."""
  matches = [name for name in PEAK_FLOPS if device_kind.startswith(name)]
  return PEAK_FLOPS[max(matches, key=len)] if matches else None
