# Everything a person or CI runs. `make help` lists the commands.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
ARGS ?=

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# A fresh machine has only Python and make: uv comes from the package index when it is missing.
.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: requirements.lock pyproject.toml packages/openharness/pyproject.toml packages/openharness-letta/pyproject.toml | $(filter .tools/bin/uv,$(UV))
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e . -e packages/openharness -e packages/openharness-letta
	touch $@

setup: $(VENV)/.ready  ## Create .venv from the lock file

run: setup  ## Start the server on http://localhost:8283 (ARGS="--port 9000")
	$(BIN)/letta server $(ARGS)

test: setup  ## Run the tests (ARGS="tests/api -k blocks")
	$(BIN)/pytest -n auto --dist loadfile $(ARGS)

check: setup  ## Formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup  ## Measure the server against a floor, on Linux, about three minutes (ARGS="steps nouns")
	$(BIN)/python -m benchmarks $(ARGS)

size:  ## Files, lines, largest functions, import cycles, the path of one message (ARGS=--json)
	@$(PYTHON) -m scripts.size $(ARGS)

lock: $(VENV)/.ready  ## Resolve the dependencies again into requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev --all-extras \
	  pyproject.toml packages/openharness/pyproject.toml -o requirements.lock

.PHONY: help setup run test check bench size lock
