# The two commands of the README are `make demo` and `make test`. Each installs, builds and starts what it needs.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
OUT := $(CARGO_TARGET_DIR)/doppel
CLUSTER := $(OUT)/cluster
IMAGE := $(OUT)/image.tar
HELM := $(OUT)/helm
# The name under which clusters know the image; deploy/kustomization.yaml names it too.
IMAGE_NAME := doppel.test/doppel:dev
export CLUSTER IMAGE IMAGE_NAME HELM

CARGO_DENY := 0.20.2
CLUSTER_SOURCES := $(shell find tests/cluster -name '*.go' -o -name 'go.*')

.PHONY: help
help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(CLUSTER): $(CLUSTER_SOURCES)
	@mkdir -p $(OUT)
	cd tests/cluster && go build -o $(CLUSTER) .

.PHONY: prerequisites
prerequisites: $(CLUSTER) ## Install the Debian packages that the clusters and the peers need
	$(CLUSTER) prerequisites --install
	tests/peers

.PHONY: build
build: ## Build the operator and the mover for release
	cargo build --release --locked -p doppel -p doppel-mover

.PHONY: image
image: build $(CLUSTER) ## Pack operator and mover into an OCI image, without Docker
	deploy/pack-image $(IMAGE) $(IMAGE_NAME)

.PHONY: programs
programs: $(CLUSTER) ## Build what test clusters consist of
	$(CLUSTER) build

# Two at a time: each of them has long stretches on one core.
.PHONY: image-and-programs
image-and-programs: prerequisites
	$(MAKE) --no-print-directory -j2 image programs

.PHONY: demo
demo: image-and-programs ## A volume of one real cluster becomes a volume of another
	tests/demo/run

.PHONY: demo-down
demo-down: $(CLUSTER) ## Remove everything that the demo made
	$(CLUSTER) down --all

.PHONY: check
check: ## Format, lints, generated files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd tests/cluster && test -z "$$(gofmt -l .)" && go vet -tags cluster ./...

# Apart from `make test`: to build cargo-deny takes minutes, once. Known flaws are a matter of the day, and need the internet:
# `cargo deny check advisories`.
.PHONY: deny
deny: ## What is built in: licences, where it comes from, what is not to be there (deny.toml)
	command -v cargo-deny >/dev/null || cargo install --locked --version $(CARGO_DENY) cargo-deny
	cargo deny --workspace --locked check --hide-inclusion-graph licenses sources bans

.PHONY: test
test: image-and-programs check ## Every test: units, movers against stock peers, controllers, two clusters end to end
	tests/run

.PHONY: test-clusters
test-clusters: prerequisites ## The program of tests/cluster on clusters of its own: killed, cleaned up, faulty on demand
	cd tests/cluster && go test -tags cluster -count 1 -timeout 30m ./live

.PHONY: test-kills
test-kills: image-and-programs ## Movers of two real clusters killed at ten points of a transfer
	cargo test --workspace --locked --test e2e -- --ignored --nocapture

$(HELM): tests/helm/go.mod tests/helm/go.sum
	@mkdir -p $(OUT)
	cd tests/helm && GOWORK=off go build -trimpath -gcflags all=-dwarf=false -ldflags '-s -w' -o $(HELM) helm.sh/helm/v4/cmd/helm

.PHONY: helm
helm: $(HELM) ## Build the helm of these tests

# Apart from `make test`: to build helm takes minutes.
.PHONY: test-helm
test-helm: image-and-programs $(HELM) ## The Helm chart on a real cluster: installed, upgraded with a run in flight, uninstalled
	cd tests/helm && test -z "$$(gofmt -l .)" && GOWORK=off go vet . && GOWORK=off go test -count 1 -v -timeout 30m .

.PHONY: fuzz
fuzz: ## Fuzz what peers can reach, each target for FUZZ_SECONDS (60)
	fuzz/run

.PHONY: bench-sync
bench-sync: image-and-programs ## Seconds from a manual trigger to lastManualSync, cluster to cluster
	bench/sync

.PHONY: bench-rsync
bench-rsync: prerequisites build ## Side by side with rsync and stunnel as VolSync runs them
	bench/rsync

.PHONY: bench-block
bench-block: prerequisites build ## Block devices side by side with diskrsync and stunnel as VolSync runs them
	bench/block

.PHONY: bench-restic
bench-restic: prerequisites build ## Backups, restores and checks side by side with restic (RESTIC_NEWEST: another binary than PATH's)
	bench/restic

.PHONY: bench-restic-memory
bench-restic-memory: prerequisites build ## Memory of backups and restores with 1,000,000 files
	bench/restic-memory

.PHONY: bench-link
bench-link: prerequisites build ## The same over a slow link: a round trip of 50 ms, 100 Mbit/s
	bench/link

.PHONY: bench-memory
bench-memory: prerequisites build ## Memory of both movers with up to 1,000,000 files
	bench/memory

.PHONY: bench-operator
bench-operator: prerequisites build programs ## What the operator costs with 10,000 objects, a storm of 1,000, and 1,000 claims filled at once
	bench/operator

.PHONY: crds
crds: ## Write the generated CRDs
	cargo run --locked -q -p doppel -- crds >crds/crds.yaml
