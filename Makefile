# make install | sweep | reproduce | docs | pages | notebooks | test | test-all | lint
# make bench | test-oldest | test-newest | dist | address          PYTHON=python3.11 chooses the interpreter
#
# make reproduce                                  the page of the records in results/, nothing run
# make reproduce SCALE=smoke WORKDIR=runs/smoke   everything anew, small
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := -m pip --disable-pip-version-check install --quiet

SCALE ?= cpu
WORKDIR ?= results
RUN ?= $(if $(filter results,$(WORKDIR)),--norun,--run)

.PHONY: install sweep reproduce docs pages notebooks test test-all lint test-oldest test-newest dist address bench
install: $(STAMP)

# neural-tangents declares TensorFlow, which nothing here uses: hence --no-deps.
$(STAMP): setup.cfg pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints.txt -e ".[dev]"
	$(BIN)/python $(PIP) -c constraints.txt --no-deps neural-tangents
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
	$(BIN)/python docs/site_pages.py
	$(BIN)/zensical build --strict

# Run the examples of the pages, and the notebooks, and store what they print and draw.
pages: install
	$(BIN)/python docs/run_pages.py

notebooks: install
	$(BIN)/python tutorials/run_notebooks.py

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy

# A chosen part of the tests, of a few minutes, with the oldest versions that setup.cfg allows and with
# the newest that there are, each in an environment of its own.
VERSION_TESTS := $(addprefix tests/, study/engine/test_export.py study/engine/test_records.py \
	study/analysis/test_statistics.py runtime/test_checkpoints.py study/sweep/test_report.py \
	kernels/test_nngp.py training/test_optimizers.py data/test_load.py models/test_flax_model.py \
	test_readme.py)
RUN_VERSION_TESTS = OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 bin/python -m pytest -q $(VERSION_TESTS)

test-oldest:
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python $(PIP) uv
	VIRTUAL_ENV=.venv-oldest .venv-oldest/bin/uv pip install --quiet --resolution lowest-direct -e .
	VIRTUAL_ENV=.venv-oldest .venv-oldest/bin/uv pip install --quiet -e ".[test]"
	.venv-oldest/bin/python $(PIP) --no-deps neural-tangents==0.6.5
	$(RUN_VERSION_TESTS:bin/%=.venv-oldest/bin/%)

test-newest:
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python $(PIP) --upgrade --upgrade-strategy eager -e ".[test]"
	.venv-newest/bin/python $(PIP) --upgrade --no-deps neural-tangents
	$(RUN_VERSION_TESTS:bin/%=.venv-newest/bin/%)

# What a release uploads, in dist/: built, then checked.
dist: install
	$(BIN)/python $(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# make address REPOSITORY=owner/name: write where the repository is published wherever it stands.
address:
	$(PYTHON) launch/public_address.py $(REPOSITORY)

# All benchmarks, each short; docs/speed.md has the sizes that are long.
bench: install
	$(BIN)/python -m benchmarks
