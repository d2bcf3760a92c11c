# Every target is one command a person could type. Tools are pinned by the tool lines of go.mod.
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS = -X github.com/meridian-mesh/meridian/cmd/internal/config.Version=$(VERSION)

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/meridian, bin/meridian-global and bin/meridian-zone
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

proto: ## generate the Go code of proto/
	$(GO) run ./proto/gen

proto-check: ## fail if the generated code of proto/ is not current
	$(GO) run ./proto/gen -check

docs: ## write the JSON Schemas, the reference of the kinds and the texts of explain-type
	$(GO) run ./policy/catalog/gen

docs-check: ## fail if what docs writes is not current
	$(GO) run ./policy/catalog/gen -check

test: ## run all tests
	$(GO) test ./...

# On more than one processor ThreadSanitizer now and then fails a check of its own in a bubble of testing/synctest, and ends
# the process (golang/go#78156; kEpochLast). It needs no second one to see a race: it looks at the order of what synchronizes.
race: ## run all tests under the race detector, one processor a package
	GOMAXPROCS=1 $(GO) test -race -p 4 -timeout 30m ./...

FUZZTIME ?= 30s

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@$(GO) list ./... | while read p; do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

lint: ## gofmt, vet, staticcheck, and the direction of imports
	@test -z "$$(gofmt -l .)" || { echo 'gofmt -w these:'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) run ./test/imports

federation: ## let 5,000 federations live through random faults; prints the seed of one that breaks
	$(GO) test -c -o bin/federation.test ./test/federation
	bin/federation.test -test.run TestRandomWrites -seeds 5000

bench: ## run the benchmarks and print their figures
	$(GO) test -run '^$$' -bench . -benchmem ./...

demo: build ## play the producer/consumer guide on one global and two zones
	bin/meridian demo

up: build ## start the federation of the demo and leave it running
	bin/meridian up

clean: ## remove what build made
	rm -rf bin

.PHONY: help build proto proto-check docs docs-check test race fuzz lint federation bench demo up clean
