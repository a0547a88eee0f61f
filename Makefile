# Two commands: `make demo` and `make test`. Both build .venv on first use and need
# nothing but Python >= 3.11, git and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FLOOR ?= .venv-floor
# one thread per process: two processes share the cores
RUN := SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := -m pytest -n 2 --dist worksteal

.PHONY: demo check test test-all test-slow test-floor lint types doctest docs \
	docs-check release-check bench install clean

# TORCH_INDEX may name the package index that torch's installation page gives for its
# CPU build, which is a gigabyte where the default build on Linux is six
TORCH_FROM = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

$(STAMP): pyproject.toml constraints.txt
	@echo "1/3 creating a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "2/3 installing torch (the largest download; TORCH_INDEX=... for the CPU build)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt $(TORCH_FROM) torch
	@echo "3/3 installing skdiff with what its figures and tests need"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[plot,test]"
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	@echo "running examples/quickstart.py: three acts, less than a minute of one core"
	@$(BIN)/python examples/quickstart.py

# everything about one method: make check NAME=AnyLossClassifier
check: $(STAMP)
	$(RUN) $(BIN)/python -m tests._check $(NAME)

# the own tests of every method, the common tests on one configuration of every class
test: $(STAMP)
	$(RUN) $(BIN)/python $(PYTEST) --one-instance -m "not slow and not bench"

# the common tests on every configuration, and every benchmark on small data
test-all: $(VENV)/.bench
	$(RUN) $(BIN)/python $(PYTEST) -m "not slow"

test-slow: $(STAMP)
	$(RUN) $(BIN)/python $(PYTEST) -m slow

$(FLOOR)/.installed: pyproject.toml constraints-floor.txt
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python -m pip install --quiet -c constraints-floor.txt torch
	$(FLOOR)/bin/python -m pip install --quiet -c constraints-floor.txt -e ".[plot,test]"
	touch $@

# the oldest versions that pyproject.toml allows; their wheels are for Python 3.11 or 3.12
test-floor: $(FLOOR)/.installed
	$(RUN) $(FLOOR)/bin/python $(PYTEST) -m "not slow and not bench"

$(VENV)/.dev: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,docs]"
	touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(VENV)/.dev
	$(BIN)/mypy

doctest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --doctest-modules skdiff

docs: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# after `make docs`, with Chromium where there is one; not part of .ci/run
docs-check:
	$(PYTHON) tools/docs_check.py

# wheel and sdist, built and used outside the tree on each Python that is found
release-check: $(VENV)/.dev
	$(BIN)/python tools/release_check.py

$(VENV)/.bench: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(FLOOR) docs/_build docs/auto_examples docs/api docs/changelog.rst
