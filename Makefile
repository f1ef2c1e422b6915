# Everything runs in $(VENV); `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
# Not in the lock: package indexes offer this version as several builds (CPU only, or with gigabytes of CUDA),
# each with its own hash. Any of them serves, since only the tests use it.
TORCH := torch==2.13.0

python := $(VENV)/bin/python
pip := $(python) -m pip --disable-pip-version-check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed  ## .venv with what the tests need, every version pinned (other targets do this first)

$(VENV)/.installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: Python 3.11 or newer is needed; name one: make setup PYTHON=python3.11' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(pip) install --quiet --require-hashes -r requirements.lock
	$(pip) install --quiet $(TORCH)
	$(pip) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## prepare, view and train a tiny model on data made on the spot: no GPU, no key, no download
	rm -rf demo/raw demo/data demo/run
	$(python) examples/make_data.py --out=demo/raw
	$(python) -m skillmix_jax.prepare --dialogs=demo/raw/dialogs.jsonl \
	  --code="$$($(python) -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/*.py" \
	  --wet='demo/raw/*.warc.wet.gz' --tokenizer=demo/raw/tokenizer --template=mistral \
	  --length=512 --rows=200 --held_out=0.1 --out=demo/data
	$(python) -m skillmix_jax.view --data=demo/data --rows=2 --html=demo/view.html
	$(python) -m skillmix_jax.train --config=configs/tiny.py --config.data.path=demo/data --workdir=demo/run \
	  --config.steps=60
	@echo 'Look at demo/view.html (what was trained) and demo/run/metrics.jsonl (how the losses fell).'

test: setup  ## the default tests: on the CPU, with pip packages only
	$(python) -m pytest -n auto --maxprocesses=4 --dist=loadfile

slow: setup  ## the tests that take minutes
	$(python) -m pytest -o addopts='' tests/slow

lint: setup  ## ruff and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: setup  ## the speed tables
	PYTHONPATH=. $(python) benchmarks/run.py

lock:  ## pins the newest versions again: run it with Python 3.11 on Linux x86-64
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet 'pip-tools>=7.6.2'
	build/lock/bin/pip-compile setup.py --extra=lock --upgrade --generate-hashes --allow-unsafe --strip-extras \
	  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --quiet --output-file=build/requirements.lock
	{ sed '/^[^#]/,$$d' requirements.lock; grep -v '^# The following' build/requirements.lock; } > build/with_head
	mv build/with_head requirements.lock

.PHONY: help setup demo test slow lint bench lock
