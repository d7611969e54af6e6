# What a person types. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# The order of prerequisites is the order things must be done in.
.NOTPARALLEL:

IMAGE := localhost/linktree-webhook-operator:dev
SINK_IMAGE := localhost/event-sink:dev
IMAGE_LIMIT_MB := 30

export CARGO_TARGET_DIR ?= $(CURDIR)/target
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# .cargo/config.toml names the host's tuple as the target, so what is built is found below it.
DEV := $(CARGO_TARGET_DIR)/$(HOST)/debug
RELEASE := $(CARGO_TARGET_DIR)/$(HOST)/release
IMAGE_ARCHIVE := $(CARGO_TARGET_DIR)/images/linktree-webhook-operator.tar
SINK_ARCHIVE := $(CARGO_TARGET_DIR)/images/event-sink.tar

LAUNCHER := $(DEV)/examples/cluster
NEXTEST := cargo nextest run --locked
# $(call with-images,LAUNCHER,COMMAND): COMMAND on a node that has both images.
with-images = $(1) run --mode node $(if $(KEEP),--keep) -- \
  bash -euc '$(1) load $(IMAGE_ARCHIVE); $(1) load $(SINK_ARCHIVE); exec $(2)'

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile
	@printf '\n%s\n' 'KEEP=1 leaves the demo'\''s cluster running. CLUSTER=current runs the demo in the current kubectl context.'

##@ Try it

.PHONY: demo cluster-up cluster-down
# Everything the demo needs is built in one go, so that nothing is built twice.
demo: EXAMPLES := cluster demo event-sink
ifeq ($(CLUSTER),current)
demo: setup-demo image ## Show the whole life of a subscription on a real cluster
	@.ci/load-current $(IMAGE_ARCHIVE) $(SINK_ARCHIVE)
	@$(RELEASE)/examples/demo
else
demo: setup-demo tools image
	@$(call with-images,$(RELEASE)/examples/cluster,$(RELEASE)/examples/demo)
endif

cluster-up: setup-demo launcher ## Start a cluster for yourself and print its KUBECONFIG line
	@$(LAUNCHER) up --mode node

cluster-down: launcher ## End that cluster
	@$(LAUNCHER) down

##@ Change it

.PHONY: test test-unit test-contract test-chart test-controlplane test-e2e fmt lint deny generate bench-quick
test: setup ## Everything, in order, with a line of counts at the end
	@.ci/suite

test-unit: ## Tests that need no cluster: unit, tidy, loopback
	@$(NEXTEST) --lib --bins --examples --test it --test chaos --test chaos_operator --test tidy

test-contract: ## The simulator against docs/linktree-openapi.yaml, what sinks get against others' CloudEvents
	@cargo build --locked --quiet --bin linktree-operator
	@tests/schemathesis/run $(DEV)/linktree-operator
	@tests/cloudevents/run $(DEV)/linktree-operator

test-chart: launcher ## The chart: linted, rendered, and accepted by a real API server
	@tools=$$(tests/cluster/tools/build node); PATH=$$tools:$$PATH $(LAUNCHER) run --mode control-plane -- .ci/chart

test-controlplane: launcher ## Tests against a real etcd and API server
	@$(LAUNCHER) run --mode control-plane -- $(NEXTEST) --profile controlplane --test controlplane

test-e2e: launcher image ## Tests on a real node, with the chart and the image
	@$(call with-images,$(LAUNCHER),$(NEXTEST) --profile e2e --test e2e)

bench-quick: launcher ## The benchmarks for a moment, to show that they run, and that nothing is written when nothing changes
	@.ci/bench-receiver --quick
	@.ci/bench-operator --quick

fmt: ## Format the code
	@cargo fmt --all

lint: ## Formatting and clippy, warnings denied
	@cargo fmt --all --check
	@cargo clippy --locked --all-targets -- -D warnings

deny: ## Licences, banned crates, sources
	@cargo deny --locked --log-level error check bans licenses sources

generate: ## Write what is generated from the code: the custom resource definitions
	@UPDATE_GENERATED=1 cargo test --locked --quiet --test tidy generated

##@ Break it

.PHONY: chaos-receiver chaos-operator mutants
chaos-receiver: ## Each fault the receiver must live through, as often as the goals say: half an hour
	@.ci/chaos-receiver

chaos-operator: launcher ## Each fault the operator must live through, as often as the goals say
	@.ci/chaos-operator $(LAUNCHER)

mutants: ## The suite itself: 60 seeded defects, each of which must make a test fail; an hour
	@.ci/mutants

##@ Measure it

.PHONY: bench-receiver bench-operator bench-journals
bench-receiver: ## The receiver's goals beside its peers, into docs/benchmarks.md; 6 minutes
	@.ci/bench-receiver

bench-operator: launcher ## The operator's goals, with 10,000 webhooks, into docs/benchmarks.md; about an hour
	@.ci/bench-operator

bench-journals: ## The journals that were considered, under one load; see docs/adr
	@.ci/bench-journals

##@ Build it

.PHONY: image tools setup setup-demo launcher release
image: release ## The images as OCI archives, their size checked
	@.ci/image Containerfile $(IMAGE) $(IMAGE_ARCHIVE) $(IMAGE_LIMIT_MB) $(RELEASE)/linktree-operator
	@.ci/image examples/event-sink/Containerfile $(SINK_IMAGE) $(SINK_ARCHIVE) $(IMAGE_LIMIT_MB) $(RELEASE)/examples/event-sink

tools: ## The test cluster's own Kubernetes, etcd, containerd and so on, built once
	@tests/cluster/tools/build node >/dev/null

setup: ## Install what this machine lacks for `make test`
	@.ci/setup test

setup-demo:
	@.ci/setup demo

EXAMPLES ?= event-sink
release:
	@cargo build --locked --release --bins $(addprefix --example ,$(EXAMPLES))

launcher:
	@cargo build --locked --quiet --example cluster
