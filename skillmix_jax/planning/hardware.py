"""The accelerators that `plan` knows, and their compilers, which need no accelerator.

A target is written as it is sold: 4xH100 is so many GPUs (beyond 8 in machines of 8), v5p-16 a TPU slice, where v4 and
v5p count cores, two a chip, and v5e and v6e count chips.
"""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Sequence

import jax

from skillmix_jax.devices import GPUS, peak_flops
from skillmix_jax.errors import InputError
from skillmix_jax.memory import MEMORY_FRACTION

GIB = 2**30
GPUS_PER_HOST = 8


@dataclasses.dataclass(frozen=True)
class Target:
  """Devices of one kind.

  Attributes:
    name: as the user writes it.
    platform: 'cuda' or 'tpu'.
    kind: the name that JAX gives such a device, or how it begins.
    num_devices: how many; a TPU chip is one.
    memory: bytes of one device that programs can have.
    link, network: bytes per second that a device exchanges with others of its machine or slice, and beyond it.
    topology: as the platform's compiler wants it.
  """

  name: str
  platform: str
  kind: str
  num_devices: int
  memory: int
  link: float
  network: float
  topology: str

  @property
  def budget(self) -> int:
    """The bytes of one device that a run may use."""
    return int(MEMORY_FRACTION * self.memory)

  @property
  def peak(self) -> float:
    """The peak of one device in dense bfloat16 FLOP/s."""
    peak = peak_flops(self.kind)
    assert peak is not None
    return peak

  def link_among(self, num_devices: int) -> float:
    """Bytes per second that each of so many neighbours exchanges with the others."""
    return self.network if self.platform == 'cuda' and num_devices > GPUS_PER_HOST else self.link


# About 80 % of one direction, by compute capability: NVLink; Ada has none and goes over PCIe 4.0 x16.
_GPU_LINKS = {(9, 0): 360e9, (8, 0): 230e9, (8, 9): 25e9}
_GPU_NETWORK = 40e9  # one 400 Gbit/s adapter a GPU

# HBM in GiB that the TPU compiler leaves to a program, links (both directions of one axis of the torus), and shapes.
_FLAT = {4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8', 128: '8x16', 256: '16x16'}
_CUBES = {8: '2x2x1', 16: '2x2x2', 32: '2x2x4', 64: '2x4x4', 128: '4x4x4', 256: '4x4x8', 512: '4x8x8'}
_TPUS = {
  'v4': ('TPU v4', 30.75, 90e9, _CUBES),
  'v5p': ('TPU v5p', 95.74, 180e9, _CUBES),
  'v5e': ('TPU v5 lite', 15.75, 90e9, _FLAT),
  'v6e': ('TPU v6 lite', 31.25, 180e9, _FLAT),
}


def parse_target(name: str) -> Target:
  """Reads 4xH100 or v5p-16.

  Raises:
    InputError: it is not known; the message lists what is.
  """
  gpu = re.fullmatch(r'([1-9]\d*)x([\w-]+)', name)
  if gpu and gpu[2] in GPUS:
    device, count = GPUS[gpu[2]], int(gpu[1])
    if count <= GPUS_PER_HOST or count % GPUS_PER_HOST == 0:
      hosts = max(1, count // GPUS_PER_HOST)
      link = _GPU_LINKS[device.chip.capability]
      return Target(name, 'cuda', device.kind, count, device.memory, link, _GPU_NETWORK, f'1x{hosts}x{count // hosts}')
  tpu = re.fullmatch(r'(v\w+)-(\d+)', name)
  if tpu and tpu[1] in _TPUS and int(tpu[2]) in _TPUS[tpu[1]][3]:
    kind, memory, link, shapes = _TPUS[tpu[1]]
    chips = int(tpu[2]) // (2 if shapes is _CUBES else 1)
    return Target(name, 'tpu', kind, chips, int(memory * GIB), link, link, f'{tpu[1]}:{shapes[int(tpu[2])]}')
  raise InputError(f'--target={name} is not known; known are {", ".join(known_targets())}')


def known_targets() -> list[str]:
  """Lists what --target takes."""
  gpus = [f'Nx{name}' for name in GPUS]
  slices = [f'{name}-{"|".join(map(str, shapes))}' for name, (_, _, _, shapes) in _TPUS.items()]
  return [', '.join(gpus) + f' (N up to {GPUS_PER_HOST}, or a multiple of it)', *slices]


def larger(target: Target) -> list[Target]:
  """Targets of the same kind with more devices, the smallest first."""
  if target.platform == 'cuda':
    names = [f'{count}x{target.name.split("x", 1)[1]}' for count in (2, 4, 8, 16, 32, 64)]
  else:
    names = [f'{target.name.split("-")[0]}-{count}' for count in _TPUS[target.name.split('-')[0]][3]]
  return [other for other in map(parse_target, names) if other.num_devices > target.num_devices]


def has_compiler(target: Target) -> bool:
  """Says whether the compiler for this target is installed here."""
  return _installed('jax_plugins.xla_cuda12' if target.platform == 'cuda' else 'libtpu')


def has_cudnn() -> bool:
  """Says whether cuDNN's attention can be compiled here."""
  return _installed('nvidia.cudnn')


def _installed(module: str) -> bool:
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:
    return False


def absent_devices(target: Target) -> Sequence[jax.Device]:
  """Devices that programs can be compiled for, not run on; only where `has_compiler`."""
  from jax.experimental import topologies

  if target.platform == 'tpu':
    os.environ['ALLOW_MULTIPLE_LIBTPU_LOAD'] = '1'  # two plans at a time: nothing runs, so there is nothing to lock
    os.environ.update(TPU_WORKER_HOSTNAMES='localhost', TPU_ACCELERATOR_TYPE=target.name)  # else libtpu complains
    chips = {'chip_config_name': 'megacore'} if target.name.startswith('v4') else {}  # one device a chip
    return topologies.get_topology_desc(platform='tpu', topology_name=target.topology, **chips).devices

  # JAX refuses the platform 'cuda' where it found no GPU (jax issues 23971 and 28376).
  from jax._src import xla_bridge

  original = xla_bridge.canonicalize_platform
  xla_bridge.canonicalize_platform = lambda platform: 'cuda' if platform in ('gpu', 'cuda') else original(platform)
  return topologies.get_topology_desc(
    platform='cuda', target_config=_gpu_config(target), topology=target.topology
  ).devices


def _gpu_config(target: Target) -> str:
  """Writes XLA's GpuTargetConfigProto as text.

  Its memory is what makes the compiler's limit that of a run: for a GPU that is there XLA takes the memory that JAX
  was given, for an absent one 80 % of the device's.
  """
  gpu = next(gpu for gpu in GPUS.values() if gpu.kind == target.kind)
  chip, (major, minor) = gpu.chip, gpu.chip.capability
  return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {chip.shared_memory * 1024}
  shared_memory_per_block_optin: {(chip.shared_memory - 1) * 1024}
  threads_per_core_limit: {chip.threads}
  core_count: {chip.num_multiprocessors}
  fpus_per_core: {chip.fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {gpu.gbps}000000000
  l2_cache_size: {chip.l2 * 2**20}
  clock_rate_ghz: {chip.clock}
  device_memory_size: {target.budget * 100 // 80}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
runtime_version {{ major: 12 minor: 9 }}
device_description_str: "{target.kind}"
"""
