"""The packages, what they need at run time, and the extras. Pinned versions stand in requirements.lock."""

import pathlib
import re

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r"^__version__ = '(.+)'$", (here / 'skillmix_jax/__init__.py').read_text(), re.MULTILINE).group(1)

run_time = [
  'absl-py>=2.3',
  'array_record>=0.8.1',
  'fastwarc>=2.0.1',
  'flax>=0.12.8',
  'grain>=0.2.18',
  'huggingface-hub>=2.4',
  'jax>=0.10.2',
  'jinja2>=3.1.6',
  'markupsafe>=3.0',
  'matplotlib>=3.11',
  'ml_collections>=1.1.0',
  'numpy>=2.1',
  'openai>=3.52',
  'optax>=0.2.8',
  'orbax-checkpoint>=0.12.8,<1.0',
  'rich>=15.0',
  'safetensors>=0.8',
  'scipy>=1.17',
  'sentencepiece>=0.2.3',
  'tensorboardX>=2.6.5',
  'tensorflow-datasets>=4.9.10',
  'tokenizers>=0.23',
  'transformers>=5.23',
]
test_tools = [
  'axe-playwright-python>=0.1.8',
  'hypothesis>=6.170',
  'mistral-common[sentencepiece]>=1.13',
  'mypy>=2.4',
  'playwright>=1.65',
  'pytest>=9.2',
  'pytest-xdist>=3.8',
  'ruff>=0.17.5',
  'warcio>=1.8',
]
# What torch itself needs, without the compiled wheels that a package index adds for CUDA.
torch_needs = ['filelock', 'fsspec', 'jinja2', 'mpmath', 'networkx', 'setuptools>=77.0.3', 'sympy', 'typing-extensions']

setup(
  name='skillmix_jax',
  version=version,
  description='Do language models learn to combine skills? Generates, fine-tunes and evaluates, in JAX',
  long_description=(here / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  author='The skillmix_jax authors',
  license='Apache-2.0',
  license_files=['LICENSE'],
  python_requires='>=3.11',
  packages=find_packages(include=['skillmix_jax', 'skillmix_jax.*', 'evals', 'evals.*']),
  package_data={'skillmix_jax': ['py.typed'], 'evals': ['catalogs/**/*', 'page/**/*']},
  install_requires=run_time,
  extras_require={
    'test': [*test_tools, 'torch==2.13.0'],
    'gpu': ['jax[cuda12]'],
    'tpu': ['jax[tpu]'],
    'lock': [*test_tools, *torch_needs, 'pip'],  # what `make lock` pins
  },
  classifiers=[
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
)
