# Everything runs in $(VENV); `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
# Not in the lock: package indexes offer this version as several builds (CPU only, or with gigabytes of CUDA),
# each with its own hash. Any of them serves, since only the tests use it.
TORCH := torch==2.13.0
# What compiles for hardware that is not here: plugins of the lock's jax, the libtpu that this jax asks for. With CUDNN=1
# also cuDNN (2.2 GB), without which GPU programs are compiled with XLA's attention.
JAX := $(shell sed -n 's/^jax==\([0-9.]*\).*/\1/p' requirements.lock)
PLAN_TOOLS := jax-cuda12-plugin==$(JAX) jax-cuda12-pjrt==$(JAX) libtpu==0.0.42.1
ifdef CUDNN
PLAN_TOOLS += nvidia-cudnn-cu12==9.28.0.42 nvidia-cublas-cu12==12.9.3.13 nvidia-cuda-nvrtc-cu12==12.9.86 \
  nvidia-cuda-runtime-cu12==12.9.79
endif

python := $(VENV)/bin/python
pip := $(python) -m pip --disable-pip-version-check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed  ## .venv with what the commands need, every version pinned (other targets do this first)

# Python 3.11 gets locked hashes; any newer one the versions that were tested on 3.12.
$(VENV)/.installed: requirements.lock constraints-3.12.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: Python 3.11 or newer is needed; name one: make setup PYTHON=python3.11' >&2; exit 2; }
	@echo 'make setup: $(VENV) gets what the commands need, every version pinned. Once, a few minutes on a quick line.'
	@$(PYTHON) -m venv $(VENV)
	@echo '1 of 2: the packages'
	@$(call locked,requirements.lock,.[build])
	@echo '2 of 2: this folder, so that changes in it count at once'
	@$(this_folder)
	@touch $@

$(VENV)/.tools: $(VENV)/.installed requirements-test.lock
	@echo 'What the tests need: 1 of 2: the packages'
	@$(call locked,requirements-test.lock,$(with_test))
	@echo '2 of 2: $(TORCH)'
	@$(pip) install --quiet $(TORCH)
	@$(this_folder)
	@touch $@

# setuptools warns of every editable installation
this_folder = PYTHONWARNINGS='ignore:Editable installation' $(pip) install --quiet --no-deps --no-build-isolation -e .
# locked: LOCK, and what it stands for where the Python is another one (a comma would end it: so with_test has a name)
with_test = .[build,test]
locked = if $(python) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; \
  then $(pip) install --quiet --require-hashes -r $(1); else $(pip) install --quiet -c constraints-3.12.txt '$(2)'; fi

demo: setup  ## the question and an answer on a toy world: no GPU, no key, no download; 6 minutes on two idle cores
	PYTHON=$(python) examples/minimix.sh demo 0 'D123 D1' 50 1,2,3,4 "('train',)"
	$(python) -m evals.report --runs=demo/evals/D1,demo/evals/D123 --out=demo/report.html \
	  --train_data=demo/world/dialogs/d1.jsonl,demo/world/dialogs/d2.jsonl,demo/world/dialogs/d3.jsonl
	$(python) -m evals.minimix.findings --seeds=demo
	@echo 'Look at demo/report.html; then `make minimix` asks it with all arms, held-out skills and several seeds.'

SEEDS ?= 20 21 22 23 24 25 26 27
minimix: setup  ## the toy experiment: base and three fine-tunes, eight seeds (SEEDS="20 21 ..."), 7 minutes each on two idle cores
	for seed in $(SEEDS); do \
	  PYTHON=$(python) examples/minimix.sh runs/minimix/seed-$$seed $$seed 'D123 D1 D12 base' '(25,75,150,100,50)' \
	    1,2,3,4,5 "('train','held_out')" || exit; \
	done
	$(python) -m evals.minimix.findings --figure=runs/minimix/findings.svg \
	  --seeds="$$(echo $(SEEDS:%=runs/minimix/seed-%) | tr ' ' ',')"

SCIENCE_SEEDS ?= 20 21 22 23
minimix-science: setup  ## all skills in one sentence, and a base without held-out pairs; for seeds that are done
	for seed in $(SCIENCE_SEEDS); do \
	  PYTHON=$(python) examples/minimix_science.sh runs/minimix/seed-$$seed $$seed || exit; \
	done
	$(python) -m evals.minimix.findings --seeds="$$(echo $(SCIENCE_SEEDS:%=runs/minimix/seed-%) | tr ' ' ',')"

test: $(VENV)/.tools  ## the default tests: on the CPU, with pip packages only
	$(python) -m pytest -n auto --maxprocesses=4 --dist=loadfile

slow: $(VENV)/.tools  ## the tests that take minutes; some need apt packages (CONTRIBUTING.md) or plan-tools, else skip (CUDNN=1: fail)
	$(python) -m pytest -o addopts='' tests/slow

lint: $(VENV)/.tools  ## ruff and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

plan-tools: setup  ## .venv-plan: the TPU and CUDA compilers for `plan`, on top of .venv (CUDNN=1: and cuDNN)
	$(python) -m venv .venv-plan
	$(python) -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > "$$(.venv-plan/bin/python -c 'import site; print(site.getsitepackages()[0])')/setup.pth"
	.venv-plan/bin/python -m pip --disable-pip-version-check install --quiet --no-deps $(PLAN_TOOLS)

ROUNDS ?= 1
bench: $(VENV)/.tools  ## the speed tables; ROUNDS=2: medians and spread
	PYTHONPATH=. $(python) benchmarks/run.py --rounds=$(ROUNDS)

compile = build/lock/bin/pip-compile pyproject.toml --generate-hashes --allow-unsafe --strip-extras --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --quiet
lock:  ## pins the newest versions again: run it with Python 3.11 on Linux x86-64
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet 'pip-tools>=7.6.2'
	$(compile) --upgrade --extra=build --extra=test --extra=torch-needs --output-file=requirements-test.lock
	cp requirements-test.lock requirements.lock
	$(compile) --extra=build --output-file=requirements.lock
	sed -i '/^# The following/d; 1i # Every package that the commands need, for Python 3.11 on Linux x86-64; `make lock` renews it.' \
	  requirements.lock
	sed -i '/^# The following/d; 1i # requirements.lock and what the tests need, except torch (the Makefile says why); `make lock` renews it.' \
	  requirements-test.lock

.PHONY: help setup demo minimix minimix-science test slow lint plan-tools bench lock
