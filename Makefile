# Two commands do everything on a fresh machine: `make demo` and `make test`.
VENV ?= .venv
PYTHON ?= python3
DATA ?= build/miniature
STORE ?= store
# Of the demonstration. Processes with a core each: threads of one process wait for each other where a core is busy.
PROCESSES ?= 2
# Of the tests: auto is one for each core, two at most (tests/conftest.py); 0 is pytest's own process alone.
WORKERS ?= auto
PYTEST = $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal
READY := $(VENV)/.ready

.PHONY: demo test test-slow check clean

demo: $(READY)
	$(VENV)/bin/viaduct miniature $(DATA)
	$(VENV)/bin/viaduct run demo --data $(DATA) --store $(STORE) --processes $(PROCESSES)

test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(PYTEST) -m slow

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The marker is written last, so an interrupted installation is done again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Viaduct needs Python 3.11 or newer: make PYTHON=python3.12 demo"; exit 1; }
	@echo "installing into $(VENV) (a minute or two)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
