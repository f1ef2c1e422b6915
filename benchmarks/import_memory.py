"""Peak host memory of importing a random Hugging Face folder of about 2 GB onto 8 CPU devices.

    PYTHONPATH=. python benchmarks/import_memory.py [--dtype=bfloat16]

Prints the resident memory before the import, its peak during it, and how far the peak is above the float32 arrays.
The folder is made on the spot, layer by layer.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from skillmix_jax.mesh import make_mesh
from skillmix_jax.models import decoder, hf, tensor_files
from skillmix_jax.models.config import Config

CONFIG = Config(
  model_type='llama', vocab_size=32_000, max_positions=4096, dim=2048, num_layers=8, num_heads=16, num_kv_heads=16,
  head_dim=128, ffn_dim=5632,
)  # fmt: skip


def resident() -> int:
  """Bytes of this process that are in memory."""
  pages = int(Path('/proc/self/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE')


class Peak(threading.Thread):
  """Watches `resident` until it is stopped."""

  def __init__(self):
    super().__init__(daemon=True)
    self.bytes, self._running = 0, True

  def run(self):
    while self._running:
      self.bytes = max(self.bytes, resident())
      time.sleep(0.002)

  def stop(self) -> int:
    self._running = False
    self.join()
    return self.bytes


def make_folder(folder: Path, cfg: Config, dtype: str):
  """Random weights as several safetensors files."""
  shapes = hf.shapes_of(cfg)
  rng = np.random.default_rng(0)
  tensors = (rng.standard_normal(shape, np.float32).astype(jnp.dtype(dtype)) for shape in shapes.values())
  tensor_files.write_folder(folder, shapes, tensors, np.dtype(jnp.dtype(dtype)), max_bytes=500_000_000)
  (folder / 'config.json').write_text(json.dumps(hf.config_dict(cfg, dtype, 1, 2)))


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'))
  dtype = parser.parse_args().dtype
  jax.config.update('jax_num_cpu_devices', 8)
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    make_folder(folder, CONFIG, dtype)
    size = sum(path.stat().st_size for path in folder.glob('*.safetensors'))
    mesh = make_mesh(2, 2, 2)
    with jax.set_mesh(mesh):
      like = decoder.abstract(hf.read_config(folder))
      before = resident()
      (peak := Peak()).start()
      start = time.perf_counter()
      params = jax.block_until_ready(hf.load(folder, like, mesh))
      seconds = time.perf_counter() - start
      top = peak.stop()
  # On (2, 2, 2) every weight is there twice, norms eight times.
  arrays = sum(shard.data.nbytes for x in jax.tree.leaves(params) for shard in x.addressable_shards)
  gb = 1e9
  print(
    f'folder {size / gb:.2f} GB of {dtype}; before {before / gb:.2f} GB; arrays {arrays / gb:.2f} GB in {seconds:.1f} s'
  )
  print(f'peak {top / gb:.2f} GB, {(top - before - arrays) / gb:.2f} GB above the arrays')


if __name__ == '__main__':
  main()
