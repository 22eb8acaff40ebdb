# Casebook's commands. `make help` explains each; every other way in (CI, README) calls these.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= ml-100k

# One stamp a set of extras, so that `make demo` never installs torch and nothing is installed twice.
SERVE_EXTRAS := gateway,inference,recommender,cli,embedded
TEST_EXTRAS := $(SERVE_EXTRAS),load,test,training

.PHONY: help
help: ## What can be done here
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-20s\033[0m %s\n", $$1, $$2}'

$(BIN)/uv: constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r <(sed -n '/^uv==/,/[^\\]$$/p' constraints.txt)
	@touch $@

define install
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[$(1)]'
	@touch $@
endef

$(VENV)/.serve: $(BIN)/uv pyproject.toml constraints.txt ; $(call install,$(SERVE_EXTRAS))
$(VENV)/.test: $(BIN)/uv pyproject.toml constraints.txt ; $(call install,$(TEST_EXTRAS))

##@ Run

.PHONY: demo demo-check
demo: $(VENV)/.serve ## Everything on embedded infrastructure, a walk through the cases, then stays up; Ctrl-C ends all
	@$(BIN)/casebook demo

demo-check: $(VENV)/.serve ## The same walk on free ports, then stops; the exit status says whether every step held
	@$(BIN)/casebook demo-check

##@ Check and test

.PHONY: check format test test-all
check: $(VENV)/.test ## Format, lint, types, protos and their drift, Prometheus rules, links in the pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd proto && $(abspath $(BIN))/buf lint && $(abspath $(BIN))/buf breaking --against baseline.binpb
	PYTHON=$(BIN)/python infra/generate-protos.sh build/generated && diff -r -x __pycache__ services/casebook build/generated/casebook
	infra/prometheus/check.sh
	$(BIN)/python infra/check_pages.py

format: $(VENV)/.test ## Formats the code and mends what the linter can mend
	$(BIN)/ruff check --fix -q . || true
	$(BIN)/ruff format .

test: $(VENV)/.test ## Unit, contract, integration, end to end, chaos once, a training smoke; at most 25 minutes on 2 cores
	$(BIN)/python -m pytest -m "not docker and not gpu and not slow" $(ARGS)

test-all: $(VENV)/.test ## The rest too: repeated chaos, Docker, GPU; skips with a reason where there is none
	$(BIN)/python -m pytest $(ARGS)

##@ Load

NAME ?=
.PHONY: load load-compare
load: $(VENV)/.test ## Three minutes of rising load on the system that runs, or on one of its own: SLOs, the knee, and why: NAME=…
	@$(BIN)/python -m loadtests run $(if $(NAME),--name $(NAME)) $(ARGS)

load-compare: $(VENV)/.test ## Two runs of `make load` side by side, with their noise: BEFORE=name AFTER=name
	@$(BIN)/python -m loadtests compare $(BEFORE) $(AFTER)

##@ Quality, speed, training

.PHONY: eval-recommender train-recommender bench-inference
eval-recommender: $(VENV)/.test ## Recall and ranking on a public data set beside their floors: DATA=ml-100k or a path
	$(BIN)/python -m recommender.training evaluate --data $(DATA)

train-recommender: $(VENV)/.test ## Trains, evaluates, exports and releases the recommender's models: DATA=ml-100k or a path
	$(BIN)/python -m recommender.training train --data $(DATA) --output build/models $(ARGS)

bench-inference: $(VENV)/.test ## The model server beside MLServer and Triton's Python backend, in one run
	$(BIN)/python -m infra.bench.inference $(ARGS)

##@ Maintain

.PHONY: protos lock clean
protos: $(VENV)/.test ## Generates services/casebook from proto/
	infra/generate-protos.sh

lock: $(BIN)/uv ## Resolves pyproject.toml into constraints.txt: names, versions, hashes
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 -o constraints.txt $(ARGS)

clean: ## Removes what was built and the embedded system's data; the virtual environment stays
	rm -rf build .casebook .pytest_cache .mypy_cache .ruff_cache
