# Casebook's commands. `make help` explains each; every other way in (CI, README) calls these.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= ml-100k

# One stamp a set of extras, so that `make demo` never installs torch and nothing is installed twice.
SERVE_EXTRAS := gateway,inference,recommender,support,encoders,cli,embedded
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

##@ Docker Compose

PROFILES ?=
COMPOSE := COMPOSE_PROFILES=$(PROFILES) \
  $(if $(findstring observability,$(PROFILES)),CASEBOOK_OTLP_ENDPOINT=http://otel-collector:4317) \
  $(if $(findstring load,$(PROFILES)),CASEBOOK_RATE_LIMIT_PER_SECOND=1000000 CASEBOOK_RATE_LIMIT_BURST=1000000) docker compose

.PHONY: up up-check up-load up-memory down images
up: ## Builds the images, starts everything in containers, waits until all is ready: PROFILES=observability,load
	@$(COMPOSE) build -q
	@$(COMPOSE) up -d --wait
	@echo
	@echo "The API's page    http://$$(docker compose port gateway 8080)/docs"
	@echo "The API key       docker compose run --rm casebook keys show"
	@echo "The walk          make up-check"
	@for page in grafana:3000 prometheus:9090 jaeger:16686 load:8089; do \
	  address=$$($(COMPOSE) port $${page/:/ } 2>/dev/null) && printf '%-17s http://%s\n' "$${page%:*}" "$$address" || true; \
	done

up-check: ## The walk of `make demo-check` through what `make up` has started; the exit status says whether every step held
	@docker compose run --rm casebook walk

up-load: RUN = build/load/$(or $(NAME),compose)
up-load: ## The ramp of `make load` through what `make up PROFILES=load` has started, and its exit status: NAME=…
	@mkdir -p $(RUN)
	@status=0; docker compose run --rm -T load-ramp | tee $(RUN)/output | sed '/^{/d' || status=$$?; \
	  sed -n '/^{/p' $(RUN)/output > $(RUN)/summary.json; exit $$status

up-memory: ## What each running container takes, beside its limit
	@docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.CPUPerc}}' $$(docker compose --profile '*' ps -q)

down: ## Ends the containers; the data stay in their volumes (`docker compose down -v` removes them too)
	@docker compose --profile '*' down

images: ## Builds the images that serve on a CPU, and prints their sizes
	@docker compose --profile load build -q
	@docker images --format 'table {{.Repository}}:{{.Tag}}\t{{.Size}}' | grep -E '^(REPOSITORY|casebook/)'

##@ Kubernetes

OVERLAY ?= local
.PHONY: k8s-secrets k8s-render k8s-check k8s-prove
build/bin/kustomize:
	@if command -v go > /dev/null; then GOBIN=$(abspath build/bin) go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1; fi

k8s-secrets: ## Draws the secrets of the local overlay, once
	@k8s/overlays/local/make-secrets.sh

k8s-render: build/bin/kustomize k8s-secrets ## What would be applied: OVERLAY=local, gpu or production
	@if [ -x build/bin/kustomize ]; then build/bin/kustomize build k8s/overlays/$(OVERLAY); else kubectl kustomize k8s/overlays/$(OVERLAY); fi

k8s-check: build/bin/kustomize $(VENV)/.test ## Every overlay and component, alone and together, against the schemas and our own rules
	$(BIN)/python -m pytest -q tests/contract/test_kubernetes_manifests.py

k8s-prove: $(VENV)/.test ## On the cluster of KUBECONFIG, whose namespace `casebook` is replaced: ARGS=tests/cluster/test_system.py
	CASEBOOK_TEST_KUBECONFIG="$${KUBECONFIG:?names the cluster to try it on}" $(BIN)/python -m pytest -m cluster $(or $(ARGS),tests/cluster)

##@ Check and test

.PHONY: check format test test-all
check: $(VENV)/.test ## Format, lint, types, protos and their drift, Dockerfiles, manifests, Prometheus rules, links in the pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory protos-check
	$(BIN)/hadolint infra/docker/Dockerfile
	$(MAKE) --no-print-directory k8s-check
	infra/prometheus/check.sh
	$(BIN)/python infra/grafana/dashboards.py --check
	$(MAKE) --no-print-directory workflows-check
	$(BIN)/python infra/check_pages.py

build/bin/actionlint:
	@if command -v go > /dev/null; then GOBIN=$(abspath build/bin) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7; fi

.PHONY: protos-check workflows-check audit
protos-check: $(VENV)/.test ## The contracts: lint, what was promised, and whether services/casebook is what they generate
	cd proto && $(abspath $(BIN))/buf lint && $(abspath $(BIN))/buf breaking --against baseline.binpb
	PYTHON=$(BIN)/python infra/generate-protos.sh build/generated && diff -r -x __pycache__ services/casebook build/generated/casebook

workflows-check: build/bin/actionlint ## The workflows of GitHub Actions, where Go can install actionlint
	@if [ -x build/bin/actionlint ]; then build/bin/actionlint; else echo "WORKFLOWS NOT CHECKED: there is no Go here" >&2; fi

audit: $(BIN)/uv ## Known weaknesses in the packages of constraints.txt, by the Python Packaging Advisory Database on PyPI
	@# Strict: without it a package that PyPI's API does not answer for is skipped, and none answered for would be success.
	$(BIN)/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip -r constraints.txt

format: $(VENV)/.test ## Formats the code and mends what the linter can mend
	$(BIN)/ruff check --fix -q . || true
	$(BIN)/ruff format .

test: $(VENV)/.test ## Unit, contract, integration, end to end, chaos once, a training smoke; at most 25 minutes on 2 cores
	$(BIN)/python -m pytest -m "not docker and not gpu and not slow" $(ARGS)

test-all: $(VENV)/.test ## The rest too: repeated chaos, Docker, GPU; skips with a reason where there is none
	$(BIN)/python -m pytest $(ARGS)

.PHONY: notebook
notebook: $(VENV)/.test ## Executes the notebooks in place, with their outputs: NAME=support
	$(BIN)/python notebooks/execute.py $(NAME)

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

.PHONY: eval-encoders train-encoders bench-encoders
eval-encoders: $(VENV)/.test ## The text encoders on public sets of questions, beside their floors: DATA=the folder that holds them
	$(BIN)/python -m encoders.training evaluate --data $(DATA) $(ARGS)

train-encoders: $(VENV)/.test ## Fine-tunes the text encoders, builds and measures version 2: DATA=…, ARGS="--languages zh"
	$(BIN)/python -m encoders.training train --data $(DATA) $(ARGS)

bench-encoders: $(VENV)/.serve ## The text encoders' sizes, distance to float32 and speed, beside plain PyTorch where installed
	$(BIN)/python -m encoders bench $(ARGS)

.PHONY: eval-support fit-support bench-support
eval-support: $(VENV)/.test ## Support's retrieval on public sets beside floors and published figures: DATA=the folder that holds them
	$(BIN)/python -m encoders build build/encoders
	$(BIN)/python -m support.training evaluate --data $(DATA) $(ARGS)
	$(BIN)/python -m infra.bench.support.banking77 --data $(DATA)

fit-support: $(VENV)/.test ## Fits support's reranker and default calibrations anew, to no test set: DATA=…
	$(BIN)/python -m encoders build build/encoders
	$(BIN)/python -m support.training fit --data $(DATA) $(ARGS)

bench-support: $(VENV)/.test ## Support at 10,000 and 500,000 phrasings: start, memory, answers, refresh; the encoders by batch size
	$(BIN)/python -m infra.bench.support $(ARGS)
	$(BIN)/python -m encoders bench

bench-inference: $(VENV)/.test ## The model server beside MLServer and Triton's Python backend, in one run
	$(BIN)/python -m infra.bench.inference $(ARGS)

##@ Maintain

.PHONY: protos proto-baseline dashboards lock clean
protos: $(VENV)/.test ## Generates services/casebook from proto/
	infra/generate-protos.sh

proto-baseline: $(VENV)/.test ## Promises the contracts as they are now: a change that breaks them fails `make check` from then on
	cd proto && $(abspath $(BIN))/buf build --exclude-source-info -o baseline.binpb

dashboards: $(VENV)/.test ## Makes infra/grafana/dashboards/*.json of dashboards.yaml
	$(BIN)/python infra/grafana/dashboards.py

lock: $(BIN)/uv ## Resolves pyproject.toml into constraints.txt: names, versions, hashes
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 -o constraints.txt $(ARGS)

clean: ## Removes what was built and the embedded system's data; the virtual environment stays
	rm -rf build .casebook .pytest_cache .mypy_cache .ruff_cache
