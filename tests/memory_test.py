"""The share of a GPU that JAX takes, and whose memory ran out."""

import os
import platform
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skillmix_jax import memory
from skillmix_jax.errors import InputError
from skillmix_jax.mesh import initialize_distributed

NEW, OLD = 'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'


@pytest.mark.parametrize(
  ('given', 'expected'),
  [({}, {NEW: '0.95'}), ({NEW: ''}, {NEW: '0.95'}), ({NEW: '.5'}, {NEW: '.5'}), ({OLD: '.5'}, {OLD: '.5'})],
)
def test_the_commands_take_more_of_a_gpu_than_jax_would_unless_told(monkeypatch, given, expected):
  monkeypatch.delenv(NEW, raising=False)
  for name, value in given.items():
    monkeypatch.setenv(name, value)
  initialize_distributed()
  assert {name: os.environ[name] for name in (NEW, OLD) if os.environ.get(name)} == expected


def test_jaxlib_reads_what_the_commands_set_and_refuses_both(monkeypatch):
  from jaxlib import xla_client

  monkeypatch.delenv(NEW, raising=False)
  memory.claim()
  assert xla_client.generate_pjrt_gpu_plugin_options()['memory_fraction'] == memory.MEMORY_FRACTION
  monkeypatch.setenv(OLD, '.8')
  with pytest.raises(ValueError, match='specified together'):
    xla_client.generate_pjrt_gpu_plugin_options()
  with pytest.raises(InputError, match=f'unset {OLD}'):
    initialize_distributed()


def test_what_a_cpu_says_when_memory_runs_out_is_understood():
  with pytest.raises(jax.errors.JaxRuntimeError) as device:
    jnp.zeros(2**50, jnp.int8).block_until_ready()
  assert memory.explain_exhausted(device.value).startswith(f'out of device memory; on GPUs {NEW}=0.95')
  with pytest.raises(MemoryError) as host:
    np.empty(2**60, np.int8)
  assert memory.explain_exhausted(host.value).startswith('out of host memory')


@pytest.mark.parametrize(
  ('text', 'whose'),
  [
    ('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 bytes.', 'device'),
    ('RESOURCE_EXHAUSTED: Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0', 'device'),
    ('RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom (32.94G) exceeds available HBM (15.75G)', 'device'),
    (
      'RESOURCE_EXHAUSTED: Out of host memory while trying to allocate 15200000000 bytes with allocator '
      'xla_gpu_host_bfc on device 0.\n Please set the environment variable XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB to '
      'allocate larger host memory than the default 64 GB.', 'host',
    ),
    ('INTERNAL: Failed to allocate 1.50GiB (1610612736 bytes) of pinned host memory: CUDA_ERROR_OUT_OF_MEMORY', 'host'),
    ('INVALID_ARGUMENT: Array has been deleted', None),
  ],
)  # fmt: skip
def test_host_and_device_are_told_apart(text, whose):
  said = memory.explain_exhausted(jax.errors.JaxRuntimeError(text))
  assert said is None if whose is None else said.startswith(f'out of {whose} memory; ')


FAULTS = """
import resource, sys, threading
from skillmix_jax import memory

SIZE = 40 * 2**20
def faults():
  for _ in range(2):
    b'x' * SIZE
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  for _ in range(10):
    b'x' * SIZE
  counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

counted = []
if sys.argv[1] == 'kept':
  memory.keep_freed()
thread = threading.Thread(target=faults)
thread.start()
thread.join()
print(*counted)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has mallopt')
def test_a_thread_gets_the_pages_back_that_it_freed():
  pages = 10 * 40 * 2**20 // resource.getpagesize()
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, '-c', FAULTS]
  run = lambda how: subprocess.run([*command, how], env=environment, capture_output=True, check=True).stdout
  given_back, kept = (int(run(how)) for how in ('given back', 'kept'))
  assert given_back > pages / 2
  assert kept < pages / 100


@pytest.mark.parametrize(('platforms', 'expected'), [('cpu', True), ('cuda', False), ('cuda,cpu', False)])
def test_memory_is_kept_where_the_cpu_was_asked_for(platforms, expected):
  assert memory.cpu_only({'JAX_PLATFORMS': platforms}) is expected
