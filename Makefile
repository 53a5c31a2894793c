# Everything here needs python3 (3.11 to 3.13), make and a package index, nothing else: .venv is made from the pinned,
# hash-checked requirements.txt. `make PYTHON=python3.12 ...` chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test soak check bench matrix diagrams fixtures requirements clean

demo: $(VENV)/.ready
	$(BIN)/gbhan demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not soak"

soak: $(VENV)/.ready
	$(BIN)/python -m pytest -m soak

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready
	$(BIN)/gbhan bench

matrix: $(VENV)/.ready
	@$(BIN)/python tests/scenarios/ezsp_matrix.py

diagrams: $(VENV)/.ready
	$(BIN)/python tests/ota/readme_diagrams.py

fixtures: $(VENV)/.ready
	$(BIN)/python fixtures/images.py

requirements: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --extra dev --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--allow-unsafe --strip-extras --no-header --output-file requirements.txt pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"gbhan needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: say make PYTHON=...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
