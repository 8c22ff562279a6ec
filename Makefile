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

.PHONY: demo test test-slow check verdicts wheel clean

demo: $(READY)
	$(VENV)/bin/viaduct miniature $(DATA)
	$(VENV)/bin/viaduct run demo --data $(DATA) --store $(STORE) --processes $(PROCESSES)

test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(PYTEST) -m slow -o faulthandler_timeout=14400

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Whether verdicts of reports are right as often as they say, in a few simulated runs.
verdicts: $(READY)
	$(VENV)/bin/python benchmarks/verdicts.py --quick

# A wheel, installed where there is no checkout, makes a world and runs the smallest recipe to its report.
wheel: $(READY)
	rm -rf build/wheel && mkdir -p build/wheel
	$(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/wheel/installed build/wheel/*.whl
	cd build/wheel/installed && export PYTHONPATH=. RUN="$(abspath $(VENV))/bin/python -m viaduct" \
	  && $(abspath $(VENV))/bin/python -c 'import viaduct; assert viaduct.__file__.startswith("$(CURDIR)/build/wheel")' \
	  && $$RUN recipes > /dev/null && $$RUN miniature world --scale 0.05 \
	  && $$RUN run demo --data world --store store --set encoder.training.max_steps=2 --set measure=null \
	    --set 'intermediates=[{name: none}]' --set 'targets=[{task: tatoeba, languages: available}]' \
	  && grep -q 'Generated world' store/runs/demo/report.html

# The marker is written last, so an interrupted installation is done again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Viaduct needs Python 3.11 or newer: make PYTHON=python3.12 demo"; exit 1; }
	@echo "installing into $(VENV) (a minute or two)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
