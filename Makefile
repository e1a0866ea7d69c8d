# Every target sets up its own virtual environment from nothing, from the lock files with hashes in requirements/, and
# repeats that only when pyproject.toml or a lock file changes. `make lock` renews the lock files.
# VENV and PYTHON may be given: `make test VENV=/some/where PYTHON=python3.12`.

VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?=
OUT ?= omap-demo.html

BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_STAMP := $(VENV)/installed-demo
FULL_STAMP := $(VENV)/installed-full

# Whatever fails, the rest runs too, so that one run shows everything; pytest's summary comes last.
CHECK = status=0; $(BIN)/ruff check . || status=1; $(BIN)/ruff format --check . || status=1; $(BIN)/mypy || status=1

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format docs lock bench-model bench-host bench-durable bench-sim bench-engine clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_STAMP)  ## load 28,000 airports, query them, show what the host saw (writes omap-demo.html)
	$(BIN)/omap demo --out $(OUT)

test: $(FULL_STAMP)  ## lint, strict types, and all tests but the long ones
	@$(CHECK); $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not long" --durations=25 $(PYTEST_ARGS) || status=1; exit $$status

test-long: $(FULL_STAMP)  ## the same with the long tests
	@$(CHECK); $(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=0 --durations-min=1 $(PYTEST_ARGS) || status=1; exit $$status

lint: $(FULL_STAMP)  ## ruff, ruff format and mypy --strict
	@$(CHECK); exit $$status

format: $(FULL_STAMP)  ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-model: $(FULL_STAMP)  ## operations a second of the reference and of compiled code, loaded keys a second
	$(BIN)/python -m omap.benchmark

bench-host: $(FULL_STAMP)  ## operations a second through client and relay, and of the proxy beside redis-server
	$(BIN)/python -m host.benchmark

bench-durable: $(FULL_STAMP)  ## operations a second on disk beside redis-server, seconds of a snapshot and a restore
	$(BIN)/python -m host.measuring.durable

bench-sim: $(FULL_STAMP)  ## simulated cycles a second of the GCM pair under each simulator
	$(BIN)/python -m sim.measure.simulators

bench-engine: $(FULL_STAMP)  ## cycles an operation, latency and stages of the engine in simulation (takes half an hour)
	$(BIN)/python -m sim.measure.engine

docs: $(FULL_STAMP)  ## build the site of pages and docstrings, build/docs/index.html; a warning is an error
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --conf-dir docs/site . build/docs

clean:  ## remove .venv and everything built
	rm -rf .venv build sim_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

lock:  ## renew the lock files: the newest versions that pyproject.toml allows, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(LOCK) $(addprefix --extra ,$(DEMO_EXTRAS)) -o requirements/demo.txt
	$(LOCK) $(addprefix --extra ,$(FULL_EXTRAS)) -o requirements/full.txt

LOCK := build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock" pyproject.toml

# Only what its target needs: the demo, and what README shows after it, do without simulators and compilers.
DEMO_EXTRAS := build demo host
FULL_EXTRAS := $(DEMO_EXTRAS) bounds docs rtl sim test
$(DEMO_STAMP): requirements/demo.txt
$(FULL_STAMP): requirements/full.txt

$(DEMO_STAMP) $(FULL_STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not %d.%d: make PYTHON=python3.12 ..." \
	  % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment could be made: install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) ($(filter requirements/%,$^))"
	@$(PIP) --require-hashes --requirement $(filter requirements/%,$^)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
