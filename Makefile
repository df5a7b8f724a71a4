# Each target is one command that a person could type. `make` lints and tests.

BIN      := bin
CACHE    := .cache
CORPORA  ?= ../shared/corpora
FUZZTIME ?= 30s
REF      ?= HEAD~1

# Tools are built from their modules, apart from go.mod, at pinned versions.
GOLANGCI_LINT := $(CACHE)/golangci-lint-v2.15.0
K6            := $(CACHE)/k6-v1.8.1
BENCHSTAT     := $(CACHE)/benchstat

.PHONY: all build demo test setup unit race lint tidy-check fuzz conformance promtest loadtest bench bench-compare cover generate help

all: lint test ## lint and test

build: ## build bin/gateway
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/gateway ./cmd/gateway

demo: ## the main job with nothing prepared
	go run ./cmd/gateway demo

test: setup lint unit race conformance loadtest ## everything that CI runs; on a fresh machine too

setup: ## install what the tests need beside Go (Debian packages)
	./.ci/setup

unit: ## all tests without the race detector: what is claimed about allocations holds only so
	go test -count=1 ./...

race: ## unit and end-to-end tests with the race detector
	go test -race -shuffle=on ./...

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

loadtest: $(K6) ## k6 for real: keep-alive and handshake scenarios
	go run ./loadtest/run -k6 $(K6)

bench: ## the Go benchmarks of the ledger
	./benchmarks/run.sh

bench-compare: $(BENCHSTAT) ## benchmarks of REF against the working tree
	./benchmarks/compare.sh $(REF) $(BENCHSTAT)

cover: ## coverage by package
	go test -cover ./...

$(GOLANGCI_LINT):
	GOBIN=$(abspath $(CACHE)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(CACHE)/golangci-lint $@

$(K6):
	GOBIN=$(abspath $(CACHE)) go install go.k6.io/k6@v1.8.1
	mv $(CACHE)/k6 $@

$(BENCHSTAT):
	GOBIN=$(abspath $(CACHE)) go install golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
