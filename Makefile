# The commands of this repository. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# Prerequisites run one after another, in the order in which they are written.
.NOTPARALLEL:

IMAGE := localhost/linktree-webhook-operator:dev
SINK_IMAGE := localhost/event-sink:dev
IMAGE_LIMIT_MB := 31

export PATH := $(shell source .ci/env && printf %s "$$PATH")
export CARGO_TARGET_DIR ?= $(CURDIR)/target
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# .cargo/config.toml sets the host's tuple as the target, so cargo adds it to the path of every build.
DEV := $(CARGO_TARGET_DIR)/$(HOST)/debug
RELEASE := $(CARGO_TARGET_DIR)/$(HOST)/release
IMAGE_ARCHIVE := $(CARGO_TARGET_DIR)/images/linktree-webhook-operator.tar
SINK_ARCHIVE := $(CARGO_TARGET_DIR)/images/event-sink.tar

LAUNCHER := $(DEV)/examples/cluster
NEXTEST := cargo nextest run --locked
# $(call with-images,LAUNCHER,COMMAND): runs COMMAND on a node that has both images.
with-images = $(1) run --mode node $(if $(KEEP),--keep) -- \
  bash -euc '$(1) load $(IMAGE_ARCHIVE); $(1) load $(SINK_ARCHIVE); exec $(2)'

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile
	@printf '\n%s\n' 'KEEP=1 keeps the demo'\''s cluster. CLUSTER=current runs the demo in the cluster of the current kubectl context.'

##@ Every day

.PHONY: quick fmt generate
quick: setup-quick ## Format check, clippy, unit, loopback and tidy tests; no root, no cluster
	@cargo fmt --all --check
	@cargo clippy --locked --lib --bins -- -D warnings
	@$(NEXTEST) --lib --bins --test it --test tidy

fmt: ## Format the code
	@cargo fmt --all

generate: ## Write the custom resource definitions from the code, into crds/ and the chart
	@UPDATE_GENERATED=1 cargo test --locked --quiet --test tidy generated

##@ Try it

.PHONY: demo cluster-up cluster-down
# One cargo command builds everything that the demo needs, so that nothing is built twice.
demo: EXAMPLES := cluster demo event-sink
ifeq ($(CLUSTER),current)
demo: setup-demo image ## Show the whole life of a subscription on a real cluster
	@.ci/load-current $(IMAGE_ARCHIVE) $(SINK_ARCHIVE)
	@$(RELEASE)/examples/demo
else
demo: setup-demo tools image
	@$(call with-images,$(RELEASE)/examples/cluster,$(RELEASE)/examples/demo)
endif

cluster-up: setup-demo launcher ## Start an empty cluster that stays, and print its KUBECONFIG
	@$(LAUNCHER) up --mode node

# The demo builds a release launcher; building the other one only to stop a cluster would take minutes.
cluster-down: ## Stop that cluster, or the one that NAME=… names
	@launcher=$(RELEASE)/examples/cluster; \
	[[ -x $$launcher ]] || { cargo build --locked --quiet --example cluster; launcher=$(LAUNCHER); }; \
	$$launcher down $(if $(NAME),--name $(NAME))

##@ Test it

.PHONY: test lint deny advisories test-unit test-contract test-chart test-controlplane test-e2e bench-quick
test: setup ## All stages below except advisories, with the number of passed and failed tests at the end
	@.ci/suite

lint: ## Format check and clippy for all targets, warnings denied
	@cargo fmt --all --check
	@cargo clippy --locked --all-targets -- -D warnings

deny: setup-deny ## Check the licences and sources of all dependencies, and that no banned crate is among them
	@cargo deny --locked --log-level error check bans licenses sources

advisories: setup-deny ## Check all dependencies for known vulnerabilities; downloads the RustSec database
	@cargo deny --locked --log-level error check advisories

test-unit: ## Tests that need no cluster: unit, loopback, tidy, and a part of the fault tests, which need root
	@$(NEXTEST) --lib --bins --examples --test it --test chaos --test chaos_operator --test tidy

bench-quick: launcher ## Every benchmark for a moment; checks that an unchanged cluster causes no writes
	@.ci/bench-receiver --quick
	@.ci/bench-operator --quick

test-contract: ## The simulator against docs/linktree-openapi.yaml; forwarded events against two public libraries
	@cargo build --locked --quiet --bin linktree-operator
	@tests/schemathesis/run $(DEV)/linktree-operator
	@tests/cloudevents/run $(DEV)/linktree-operator

test-chart: launcher ## Lint and render the chart, and apply it and the examples to a real API server
	@tools=$$(tests/cluster/tools/build node); PATH=$$tools:$$PATH $(LAUNCHER) run --mode control-plane -- .ci/chart

test-controlplane: launcher ## Tests against a real etcd and API server
	@$(LAUNCHER) run --mode control-plane -- $(NEXTEST) --profile controlplane --test controlplane

test-e2e: launcher image ## Tests on a real node, with the chart and the image
	@$(call with-images,$(LAUNCHER),$(NEXTEST) --profile e2e --test e2e)

##@ Break it

.PHONY: chaos-receiver chaos-operator mutants
chaos-receiver: ## All faults of the receiver's fault tests, with full counts; half an hour
	@.ci/chaos-receiver

chaos-operator: launcher ## All faults of the operator's fault tests, with full counts
	@.ci/chaos-operator $(LAUNCHER)

mutants: ## Test the tests: seed 60 defects, each of which must make a test fail; an hour
	@.ci/mutants

##@ Measure it

.PHONY: bench-receiver bench-operator bench-journals
bench-receiver: ## Measure the receiver beside its peers, and write docs/benchmarks.md; 6 minutes
	@.ci/bench-receiver

bench-operator: launcher ## Measure the operator with 10,000 webhooks, and write docs/benchmarks.md; about an hour
	@.ci/bench-operator

bench-journals: ## Compare the journals that docs/adr/0005 considered, under one load
	@.ci/bench-journals

##@ Build it

.PHONY: image tools setup setup-quick setup-deny setup-demo launcher release
image: release ## Build the images as OCI archives, and check their size
	@.ci/image Containerfile $(IMAGE) $(IMAGE_ARCHIVE) $(IMAGE_LIMIT_MB) $(RELEASE)/linktree-operator
	@.ci/image examples/event-sink/Containerfile $(SINK_IMAGE) $(SINK_ARCHIVE) $(IMAGE_LIMIT_MB) $(RELEASE)/examples/event-sink

tools: ## Build the test cluster's programs (Kubernetes, etcd, containerd, …), each once
	@tests/cluster/tools/build node >/dev/null

setup: ## Install the programs that `make test` needs and this machine lacks
	@.ci/setup test

setup-quick setup-deny setup-demo:
	@.ci/setup $(@:setup-%=%)

EXAMPLES ?= event-sink
release:
	@cargo build --locked --release --bins $(addprefix --example ,$(EXAMPLES))

launcher:
	@cargo build --locked --quiet --example cluster
