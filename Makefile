# Each target is one command that a person could type. `make` lints and tests.

BIN      := bin
CACHE    := .cache
CORPORA  ?= ../shared/corpora
FUZZTIME ?= 30s
REF      ?= HEAD~1

# Tools are built from their modules, apart from go.mod, at pinned versions.
GOLANGCI_LINT := $(CACHE)/golangci-lint-v2.15.0
BENCHSTAT     := $(CACHE)/benchstat
CADDY         := $(CACHE)/caddy-v2.11.9
VEGETA        := $(CACHE)/vegeta-v12.13.0

# A Go that was downloaded as a toolchain is in the module cache, where -overlay replaces nothing:
# it is called by another path, a symbolic link.
X25519      := $(CACHE)/x25519
X25519_GO   := GOTOOLCHAIN=local GOROOT=$(abspath $(X25519)/goroot) $(X25519)/goroot/bin/go
WITH_X25519 := -overlay $(X25519)/overlay.json -tags x25519circl

# Without the gateway's profile: with it, everything that cmd/gateway is made of is compiled
# for its tests once more in each pass, which takes a minute on two cores. The tests that build
# the gateway, and the loadtest, run it as it is built.
GO_TEST := go test -pgo=off

CLAIMING = $(shell grep -rlE 'AllocsPerRun|ReadMemStats|race\.Enabled' --include='*_test.go' . | xargs -n 1 dirname | sort -u)

.PHONY: all build build-x25519 overlay demo test setup unit x25519 race lint tidy-check fuzz conformance promtest loadtest k6ext bench bench-compare bench-peers bench-scaling pgo cover generate help

all: lint test ## lint and test

build: ## build bin/gateway
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/gateway ./cmd/gateway

overlay:
	mkdir -p $(X25519) && ln -sfn "$$(go env GOROOT)" $(X25519)/goroot
	GOOS= GOARCH= $(X25519_GO) run ./internal/x25519/overlay $(abspath $(X25519)/goroot) $(X25519)

build-x25519: overlay ## build bin/gateway-x25519, for amd64, whose crypto/tls has X25519 by circl: docs/adr/0030-x25519.md
	@[ "$$(go env GOARCH)" = amd64 ] || { echo "build-x25519: GOARCH is $$(go env GOARCH), and circl has assembly for amd64 only: use \`make build\`" >&2; exit 1; }
	CGO_ENABLED=0 $(X25519_GO) build -trimpath $(WITH_X25519) -o $(BIN)/gateway-x25519 ./cmd/gateway
	@[ "$$(go env GOOS GOARCH)" != "$$(go env GOHOSTOS GOHOSTARCH)" ] || $(BIN)/gateway-x25519 version | grep x25519circl

demo: ## the main job with nothing prepared
	go run ./cmd/gateway demo

test: setup lint unit x25519 race conformance k6ext loadtest ## everything that CI runs; on a fresh machine too

setup: ## install what the tests need beside Go (Debian packages)
	./.ci/setup

unit: ## tests of the packages that claim what is allocated, which holds only without the race detector
	$(GO_TEST) -count=1 $(CLAIMING)

x25519: overlay ## tests of what build-x25519 replaces in the standard library
	$(X25519_GO) test -count=1 $(WITH_X25519) ./internal/x25519
	GODEBUG=cpu.adx=off,cpu.bmi2=off $(X25519_GO) test -count=1 $(WITH_X25519) ./internal/x25519 # as on older processors
	$(X25519_GO) vet $(WITH_X25519) ./internal/x25519

race: ## all tests, unit and end to end, with the race detector
	$(GO_TEST) -race -shuffle=on ./...

lint: $(GOLANGCI_LINT) tidy-check ## format, vet, static analysis
	$(GOLANGCI_LINT) run

tidy-check: ## go.mod and go.sum are what `go mod tidy` makes of them
	go mod tidy -diff

generate: ## write schema, reference and dashboards anew
	go generate ./...

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p; done; done

conformance: ## judge path validation, identifiers, leaf profile and HTTP gate by CORPORA
	@if [ -d "$(CORPORA)" ]; then \
	  CORPORA="$$(cd $(CORPORA) && pwd)" go test -count=1 -v -run 'Corpora|Conformance|Corpus' ./certpath ./workloadid ./http1gate; \
	else \
	  echo; echo "*** CONFORMANCE DID NOT RUN: there is no folder $(CORPORA); set CORPORA=… ***"; echo; \
	  [ "$(origin CORPORA)" = file ]; fi

promtest: ## dashboards and alerts against a real Prometheus that scrapes a real gateway
	go test -count=1 -v ./deploy/...

loadtest: ## our driver and k6 for real, k6 with the extension of loadtest/k6/ext
	go run ./loadtest/run

k6ext: ## the k6 extension, a module of its own
	go -C loadtest/k6/ext mod tidy -diff
	go -C loadtest/k6/ext vet ./...
	go -C loadtest/k6/ext test -count=1 ./...

bench: ## the Go benchmarks of the ledger
	./benchmarks/run.sh

bench-compare: $(BENCHSTAT) ## benchmarks of REF against the working tree
	./benchmarks/compare.sh $(REF) $(BENCHSTAT)

bench-peers: setup $(CADDY) $(VEGETA) ## the gateway against nginx, HAProxy and Caddy, also with vegeta; FLAGS=… for more, see benchmarks/peers
	go run ./benchmarks/peers -caddy $(CADDY) -vegeta $(VEGETA) $(FLAGS)

bench-scaling: ## curves of cost by clients, routes, rules, CRLs, connections, and the figures of docs/capacity.md
	go run ./benchmarks/scaling -docs $(FLAGS)

pgo: ## profile the gateway anew, for the compiler
	./benchmarks/pgo.sh

cover: ## coverage by package
	go test -cover ./...

$(GOLANGCI_LINT):
	GOBIN=$(abspath $(CACHE)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(CACHE)/golangci-lint $@

$(CADDY):
	GOBIN=$(abspath $(CACHE)) go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
	mv $(CACHE)/caddy $@

$(VEGETA):
	GOBIN=$(abspath $(CACHE)) go install github.com/tsenart/vegeta/v12@v12.13.0
	mv $(CACHE)/vegeta $@

$(BENCHSTAT):
	GOBIN=$(abspath $(CACHE)) go install golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
