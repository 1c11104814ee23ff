# Two commands matter: `make demo` and `make test`. Each sets itself up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait for servers half of their time: one process more than there are cores.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)

# What they start hundreds of times from the same source is compiled once.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint lock bench soak bounds fuzz clean setup system gold
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

demo: $(VENV)/.run
	@$(BIN)/python examples/generate_logs.py demo-out/logs
	@$(BIN)/afterguard onboard examples/assistant examples/fraud --logs demo-out/logs --business examples/business.yaml --out demo-out/report --store demo-out/store.db --no-fail

# Servers and the browser that tests start themselves. Without root or apt those tests skip and say so.
system:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  need=""; command -v chromium >/dev/null || need="$$need chromium"; ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need="$$need postgresql"; \
	  command -v redis-server >/dev/null || command -v valkey-server >/dev/null || need="$$need redis-server"; \
	  command -v promtool >/dev/null || need="$$need prometheus"; \
	  test -x /usr/lib/squid/security_file_certgen || need="$$need squid-openssl"; \
	  command -v nginx >/dev/null || need="$$need nginx-light"; \
	  ls /usr/lib/*/rsyslog/lmnsd_ossl.so >/dev/null 2>&1 || need="$$need rsyslog rsyslog-openssl"; \
	  if [ -n "$$need" ]; then echo "installing$$need"; (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$need) >/dev/null 2>&1 || echo "could not install$$need; the tests that need it will skip"; fi; \
	fi

lint: setup
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/mypy --no-error-summary

test: setup system lint
	@$(BIN)/pytest -q -n $(JOBS)

gold: setup
	@$(BIN)/pytest -q tests/report --update-gold

bench: setup
	@for one in bench/discover.py bench/lookback.py bench/risk.py bench/judge.py bench/judge_robustness.py bench/orders.py bench/turns.py bench/gateway.py bench/doors.py bench/insertion.py bench/sinks.py bench/attack.py; do echo "== $$one"; $(BIN)/python $$one || exit 1; done

# Long runs: an hour of hostile traffic through the guard, and memory that stays flat over ten gigabytes of logs.
soak: setup system
	@$(BIN)/python bench/soak.py --seconds 3600
	@$(BIN)/python bench/lookback.py --gigabytes 10
	@$(BIN)/python bench/sinks.py --faults 200

# What the watches hold when 100 million identities and 10 million callers pass by: an hour or two.
bounds: setup
	@$(BIN)/python bench/watch_bounds.py
	@$(BIN)/python bench/watch_predictive_bounds.py

# An hour of coverage-guided fuzzing of the judge, and one of mutated conversations with the guard's HTTP/2.
fuzz: setup
	@$(BIN)/python bench/fuzz_http2.py --seconds 3600
	@$(BIN)/python -m pip install -q --disable-pip-version-check atheris
	@$(BIN)/python bench/fuzz_judge.py --seconds 3600

clean:
	rm -rf $(VENV) build dist demo-out .pytest_cache .mypy_cache .ruff_cache
