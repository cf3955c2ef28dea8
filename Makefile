# make install | sweep | reproduce | docs | test | test-all | lint        PYTHON=python3.11 chooses the interpreter
#
# make reproduce                                  the page of the records in results/, nothing run
# make reproduce SCALE=smoke WORKDIR=runs/smoke   everything anew, small
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SCALE ?= cpu
WORKDIR ?= results
RUN ?= $(if $(filter results,$(WORKDIR)),--norun,--run)

.PHONY: install sweep reproduce docs test test-all lint
install: $(STAMP)

# neural-tangents declares TensorFlow, which nothing here uses: hence --no-deps.
$(STAMP): setup.cfg pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps neural-tangents
	touch $@

sweep: install
	$(BIN)/python -m experiments.attack_sweep --config=configs/mnist_fcn.py:small

reproduce: install
	$(BIN)/python -m experiments.reproduce --scale=$(SCALE) --workdir=$(WORKDIR) $(RUN)

# A file of tests goes to one process, and each process keeps to one thread of linear algebra.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

test: install lint docs
	$(PYTEST)

# With the tutorials, the cells of the pages in docs/, and the committed records: what CI runs.
test-all: install lint docs
	$(PYTEST) -m "not slow"

# The site in site/, with the API reference; a warning is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy
