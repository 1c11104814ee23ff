# Two commands matter: `make demo` and `make test`. Each sets itself up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint lock bench soak clean setup system gold
setup: $(VENV)/.dev
$(VENV)/.run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Afterguard needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Afterguard needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

lock:
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --no-annotate --universal --no-header --python-version 3.11 --generate-hashes pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/uv pip compile -q --no-annotate --universal --no-header --python-version 3.11 --generate-hashes --all-extras --group dev pyproject.toml requirements/build.in -o requirements/dev.txt

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: setup system lint
	@$(BIN)/pytest -q -n auto

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
