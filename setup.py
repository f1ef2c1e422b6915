"""For tools that still want this file; everything is in pyproject.toml."""

from setuptools import setup

setup()
