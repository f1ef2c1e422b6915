"""Fine-tunes language models on texts that combine skills, and samples from them."""

__version__ = '0.1.0'
