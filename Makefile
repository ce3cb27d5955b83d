# Crossdock needs Python 3.11 or newer and make. `make demo` shows it; `make help` lists the rest.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .peers
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo serve test lint format bench conformance crash peers lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv with the exact versions of requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on PATH; set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing into $(VENV) with $(PYTHON); the first time takes a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "error: no venv could be made; Debian and Ubuntu want: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## one task, a kill -9, and nothing lost: 20 seconds
	@$(BIN)/crossdock demo $(ARGS)

serve: install ## a hub at 127.0.0.1:8080, SQLite in this directory
	@$(BIN)/crossdock serve $(ARGS)

test: install ## every test this machine can run; CROSSDOCK_TEST_POSTGRES_URL adds PostgreSQL
	@test -d $(PEERS)/node_modules || echo "note: npm peers are not installed, their tests will be skipped (make peers)" >&2
	@$(BIN)/python -m pytest -ra --numprocesses logical --maxprocesses 4 --dist worksteal $(ARGS)

lint: install ## style, types and import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: install ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install ## rates and latencies, as ratios to the A2A reference server
	@$(BIN)/python -m tests.bench $(ARGS)

conformance: install peers ## official clients and suites against a real hub
	@$(BIN)/python -m pytest -ra tests/conformance $(ARGS)

crash: install ## 30 times kill -9 under load, then count what was lost
	@$(BIN)/python -m tests.crash $(ARGS)

peers: $(PEERS)/.installed ## the npm peers of the conformance tests (needs Node 18)

$(PEERS)/.installed: tests/conformance/js/package.json
	@command -v npm >/dev/null || { echo "error: make peers needs Node and npm" >&2; exit 1; }
	@mkdir -p $(PEERS)
	@cp tests/conformance/js/package.json $(PEERS)/package.json
	@npm install --prefix $(PEERS) --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	@touch $@

lock: ## write requirements.lock from what .venv holds now
	@{ echo '# Exact versions of everything that runs and tests Crossdock. Written by `make lock`.'; \
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude setuptools --exclude wheel --exclude py-spy; \
	} > requirements.lock

clean: ## remove what make made
	rm -rf $(VENV) $(PEERS) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
