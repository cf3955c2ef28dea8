# make install | sweep | test | lint        PYTHON=python3.11 chooses the interpreter
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install sweep test lint
install: $(STAMP)

# neural-tangents declares TensorFlow, which nothing here uses: hence --no-deps.
$(STAMP): setup.cfg pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps neural-tangents
	touch $@

sweep: install
	$(BIN)/python -m experiments.attack_sweep --config=configs/mnist_fcn.py:small

test: install lint
	$(BIN)/python -m pytest -q

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports
