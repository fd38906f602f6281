# Basalt's few commands. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# One target directory for every clone and every command (docs/adr/0009): RocksDB's C++ is compiled once.
CARGO_TARGET_DIR ?= $(HOME)/.cache/basalt/target
export CARGO_TARGET_DIR
# ccache first, where it is installed; cargo's own directory, which a fresh shell may not have yet.
export PATH := $(if $(wildcard /usr/lib/ccache),/usr/lib/ccache:)$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

BASALT := $(CARGO_TARGET_DIR)/debug/basalt
# The local development network.
NET ?= basalt-net
NODES ?= 4

.PHONY: help up down status clean build bootstrap test fmt lint soak docker bench bench-peers bench-monitoring perf profile fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build ## build, create a development network if there is none, run it until Ctrl-C
	@[ -e $(NET)/genesis.json ] || $(BASALT) network create --dev --nodes $(NODES) --consensus pbft --out $(NET)
	@exec $(BASALT) network up $(NET)

down: ## stop the network that `make up` runs
	@if [ -e $(NET)/genesis.json ]; then \
		[ -x $(BASALT) ] || { echo "there is no binary at $(BASALT) to stop $(NET) with; run 'make build' first" >&2; exit 1; }; \
		$(BASALT) network down $(NET); \
	fi

status: ## what each node of the network is doing
	@$(BASALT) network status $(NET)

clean: down ## stop the network and delete its chain (what was built stays)
	@rm -rf -- $(NET)

# Cargo tells what is stale by time alone, and by paths within a clone: what another clone has built here since looks fresh.
.PHONY: mine
mine:
	@mkdir -p "$(CARGO_TARGET_DIR)"; \
	if [ "$$(cat "$(CARGO_TARGET_DIR)/.clone" 2>/dev/null)" != "$(CURDIR)" ]; then \
		find . \( -name node_modules -o -name target -o -name .git \) -prune -o \
			\( -name '*.rs' -o -name '*.proto' -o -name '*.toml' \) -exec touch {} +; \
		printf '%s\n' "$(CURDIR)" > "$(CARGO_TARGET_DIR)/.clone"; \
	fi

build: bootstrap mine ## build the binary
	@cargo build --locked --workspace --bins

bootstrap: ## install what the build needs (Debian, Ubuntu); quiet when nothing is missing
	@deploy/bootstrap.sh

test: mine ## every check that CI runs; `make test SUITES="lint rust"` runs some
	@deploy/bootstrap.sh --test
	@tests/run.sh $(SUITES)

fmt: ## format the code
	@cargo fmt --all

lint: ## format check and clippy
	@tests/run.sh fmt lint

soak: build ## load and kill nodes of a fresh network for a while (MINUTES=10), and simulate for as long
	@tests/soak/run.sh $(or $(MINUTES),10)
	@tests/soak/simulate.sh $(or $(MINUTES),10)

fuzz: build ## throw N mutated inputs at every decoder (N=1000000)
	@$(CARGO_TARGET_DIR)/debug/basalt-fuzz --executions $(or $(N),1000000)

bench: build ## measure fresh networks of four validators, workload by workload (SECONDS_EACH=20)
	@tests/bench/run.sh $(or $(SECONDS_EACH),20)

bench-peers: build ## the same load on Basalt and on anvil, as ratios (SECONDS_EACH=10)
	@cd tests/clients && { cmp -s package-lock.json node_modules/.locked || { npm ci && cp package-lock.json node_modules/.locked; }; } >/dev/null
	@tests/bench/peers.sh $(or $(SECONDS_EACH),10)

bench-monitoring: build ## what monitoring costs in processor time per transaction (SECONDS_EACH=20, ROUNDS=10)
	@tests/bench/monitoring.sh $(or $(SECONDS_EACH),20) $(or $(ROUNDS),10)

profile: build ## flame graph of a node under load, and where the time of a transaction goes (NODES_PROFILED=1 WORKLOAD=ethereum)
	@tests/bench/profile.sh $(or $(NODES_PROFILED),1) $(or $(WORKLOAD),ethereum)

perf: ## count the instructions of the hot paths and compare them with the baseline
	@tests/perf/run.sh

docker: ## the same network in containers, with Prometheus and Grafana
	@compose=docker-compose; ! docker compose version >/dev/null 2>&1 || compose="docker compose"; \
		$$compose up --build --detach
