"""Fine-tunes language models on texts that combine skills, and samples from them."""

import os

# jaxlib reads this once, when jax is imported: its errors are shown, the warnings around every stop and compilation not
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

__version__ = '0.1.0'
