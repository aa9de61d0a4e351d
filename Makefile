# `make help` explains every target. Only a POSIX system with Python 3.11+ is needed to start; each target says what else.
SHELL = /bin/sh
PYTHON ?= python3
PENSTOCK_CACHE ?= $(HOME)/.cache/penstock
UV_CACHE_DIR ?= $(PENSTOCK_CACHE)/uv
export PYTHON PENSTOCK_CACHE UV_CACHE_DIR

# CLUSTER=local|kind|existing chooses the provider; the default is kind where it is usable, else local.
CLUSTER ?= auto

RUN = .venv/bin/python
PYTEST = $(RUN) -m pytest
HARNESS = $(RUN) -m tests.harness

.PHONY: help
help: ## This list.
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# One stamp for the environment: uv itself decides what is missing, this only saves asking it each time.
.venv/synced: pyproject.toml uv.lock scripts/uv
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Penstock needs Python 3.11 or newer")'
	@echo "Python environment into .venv (about 3 GB with torch; a few minutes the first time)"
	scripts/uv sync --quiet --frozen --all-extras --python $(PYTHON)
	@touch $@

.PHONY: test check unit golden generated serving chart control-plane e2e
test: unit golden generated serving chart control-plane e2e ## Every test tier in order; sets up what is missing.

check: lint generated chart ## What CI runs first: lint, types, import contracts, generated files, chart, samples against a real API server.

.PHONY: lint
lint: .venv/synced ## ruff, mypy --strict and the import contracts (no cluster).
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: .venv/synced ## Pure tests of the operator and the server (seconds).
	$(PYTEST) -q tests/unit

golden: .venv/synced ## Rendered objects compared with the reviewed ones in tests/golden.
	$(PYTEST) -q tests/golden

generated: .venv/synced ## CRD, API page and manifests are what the types and the chart generate.
	$(PYTEST) -q tests/generated

serving: .venv/synced ## The model server with tiny and small real models on the CPU.
	$(PYTEST) -q tests/serving

chart: .venv/synced ## The Helm chart, install.yaml and the samples against a real API server.
	$(PYTEST) -q tests/chart

control-plane: .venv/synced ## The operator against a real API server, scheduler and controllers (Linux; builds them from Go modules once).
	$(PYTEST) -q tests/control_plane

e2e: .venv/synced ## Real pods, images, models and traffic on a real node (Linux, root, about 25 GB of disk).
	$(PYTEST) -q tests/e2e
