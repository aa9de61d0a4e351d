# `make help` explains every target. Only a POSIX system with Python 3.11+ is needed to start; each target says what else.
SHELL = /bin/sh
PYTHON ?= python3
PENSTOCK_CACHE ?= $(HOME)/.cache/penstock
UV_CACHE_DIR ?= $(PENSTOCK_CACHE)/uv

export PYTHON PENSTOCK_CACHE UV_CACHE_DIR SCALING
# CLUSTER=local, kind or existing says who makes the cluster; by default kind if Docker may run privileged containers.
ifdef CLUSTER
export PENSTOCK_CLUSTER = $(CLUSTER)
endif

RUN = .venv/bin/python
PYTEST = $(RUN) -m pytest
# Most tests wait: two at a time need little more of two cores than one. An existing cluster's are not ours to multiply.
SIDE_BY_SIDE = --numprocesses=$(if $(filter existing,$(CLUSTER)),0,2)
HARNESS = $(RUN) -m tests.harness

.PHONY: help
help: ## This list.
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# A stamp for each environment: uv itself decides what is missing, this only saves asking it each time.
# In a log as on a terminal, uv says what it downloads.
.venv/synced: pyproject.toml uv.lock scripts/uv
	@echo "Python environment into .venv (about 6 GB with torch; a few minutes the first time)"
	scripts/uv sync --frozen --all-extras --all-groups --python $(PYTHON)
	@touch $@ .venv/demo

# --inexact: one that has everything is not cut down.
.venv/demo: pyproject.toml uv.lock scripts/uv
	scripts/uv sync --frozen --inexact --group demo --python $(PYTHON)
	@touch $@

# Before anything that needs a real node, also before the download above.
.PHONY: preflight
preflight:
	@scripts/preflight

.PHONY: test check unit golden generated serving chart control-plane e2e
test: preflight unit golden generated serving chart control-plane e2e ## Every test tier in order; sets up what is missing.

check: lint generated chart ## What CI runs first: lint, types, import contracts, generated files, chart, samples against a real API server.

.PHONY: lint
lint: .venv/synced ## ruff, mypy --strict and the import contracts (no cluster).
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: .venv/synced ## Pure tests of the operator and the server (seconds).
	$(PYTEST) -q --numprocesses=2 tests/unit

golden: .venv/synced ## Rendered objects compared with the reviewed ones in tests/golden.
	$(PYTEST) -q tests/golden

generated: .venv/synced ## CRD, API page and manifests are what the types and the chart generate.
	$(PYTEST) -q tests/generated

serving: .venv/synced ## The model server with tiny and small real models on the CPU.
	$(PYTEST) -q tests/serving

chart: .venv/synced ## The Helm chart, install.yaml and the samples against a real API server.
	$(PYTEST) -q tests/chart

control-plane: .venv/synced ## The operator against a real API server, scheduler and controllers (Linux; builds them from Go modules once).
	$(PYTEST) -q $(SIDE_BY_SIDE) --dist=loadfile tests/control_plane

e2e: preflight .venv/synced ## Real pods, images, models and traffic on a real node (Linux, root, about 25 GB of disk).
	$(PYTEST) -q tests/e2e

# What `make test` would build on the way, apart, so that CI can do it beside other things.
.PHONY: tools base-image image-builds
tools: ## Build the cluster's programs from their Go modules (needs Go or pip; about 10 minutes, once).
	@$(PYTHON) -m tests.harness.prepare tools

base-image:
	@$(PYTHON) -m tests.harness.prepare base-image

image-builds: .venv/demo base-image
	@$(RUN) -m tests.harness.prepare images

.PHONY: demo demo-programs demo-model images cluster-up cluster-down prune
# Downloads wait for the network and builds for the processor: they are done side by side.
demo: preflight ## A cluster, the operator, a chat model, an answered question, a second pod under load (SCALING=no: without that).
	@$(PYTHON) -m demo.outlook
	@$(MAKE) --no-print-directory --jobs=4 demo-programs image-builds demo-model
	@$(RUN) -m demo

demo-programs:
	@$(PYTHON) -m demo.outlook programs

demo-model: .venv/demo
	@TQDM_DISABLE=1 $(RUN) -m tests.harness.prepare model

images: preflight .venv/demo ## Both container images, built and pushed to the local cluster's registry.
	$(HARNESS).images

cluster-up: preflight .venv/demo ## The local cluster that demo and e2e use, without anything in it.
	$(HARNESS) up --profile node

cluster-down: .venv/demo ## Stop that cluster and remove all it made on this machine; caches stay.
	$(HARNESS) down --profile node
	$(HARNESS) down --profile control-plane

prune: cluster-down ## Empty the cache: built programs, images, models, logs.
	$(HARNESS) prune

.PHONY: generate bench soak
generate: .venv/synced ## Write the CRD, docs/reference/ and manifests/install.yaml from the code and the chart.
	$(RUN) -m penstock.api.crd > crds/serving.penstock.dev_inferenceservices.yaml.new
	mv crds/serving.penstock.dev_inferenceservices.yaml.new crds/serving.penstock.dev_inferenceservices.yaml
	$(RUN) -m penstock.api.reference > docs/reference/api.md.new
	mv docs/reference/api.md.new docs/reference/api.md
	$(RUN) -m tests.generated.pages
	$(RUN) -m tests.chart.rendering

bench: .venv/synced ## Figures of the operator beside the same objects without one (control plane only).
	$(RUN) -m bench.control_plane --json bench/results/control_plane.json

soak: preflight .venv/synced ## 20 switches and 5 rollbacks of a real model under constant load (about 15 minutes; Linux, root, about 25 GB of disk).
	$(RUN) -m bench.soak --json bench/results/soak.json
