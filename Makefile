# Two commands do everything on a fresh machine: `make demo` and `make test`.
VENV ?= .venv
PYTHON ?= python3
DATA ?= build/miniature
STORE ?= store
# Of the demonstration. Use 1 where other work keeps a core busy: threads that wait for each other then lose much.
THREADS ?= 2
READY := $(VENV)/.ready

.PHONY: demo test test-slow check clean

demo: $(READY)
	$(VENV)/bin/viaduct miniature $(DATA)
	$(VENV)/bin/viaduct run recipes/demo.py --data $(DATA) --store $(STORE) --threads $(THREADS)

test: $(READY)
	$(VENV)/bin/python -m pytest

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

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
