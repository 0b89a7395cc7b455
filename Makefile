# Stowage. `make run` and `make test` work in a fresh clone; `make help` lists the rest.

LISTEN  ?= 127.0.0.1:8080
SECONDS ?= 60
LIMITS  ?= all
FUZZ    ?= .
GO      ?= go

LINT_VERSION     := v2.15.0
VULN_VERSION     := v1.8.0
LICENSES_VERSION := v1.6.0
CACHE := .cache
LINT  := $(CACHE)/golangci-lint-$(LINT_VERSION)/golangci-lint

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)

ASSETS      := static/dist/manifest.json
ASSET_FILES := $(wildcard static/src/* static/build/*.go templates/*.templ) $(filter-out %_test.go %_templ.go,$(wildcard templates/*.go))

.DEFAULT_GOAL := help
.PHONY: help run test check build bench benchmarks soak tools assets chromium format vet lint generated tidy arrows vulnerabilities licences

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## the whole portal with a simulated Proxmox VE and demo data, at LISTEN (127.0.0.1:8080)
	@exec bin/stowage demo --listen $(LISTEN)

test: tools $(ASSETS) chromium ## every test
	$(GO) test -timeout 40m ./...

check: tools $(ASSETS) format vet lint generated tidy arrows licences vulnerabilities ## formatting, vet, linters, generated code, import arrows, licences, vulnerabilities

build: tools $(ASSETS) ## bin/stowage
	$(GO) build -ldflags "$(LDFLAGS)" -o bin/stowage ./cmd/stowage

bench: tools $(ASSETS) ## how far the portal carries, as a table (LIMITS=night,pages … for some of it; README=README.md keeps the table there)
	@cd cmd/stowage && $(GO) test -count=1 -timeout 45m -run '^TestLimits$$' -limits=$(LIMITS) $(if $(README),-limits-readme=$(abspath $(README)))

benchmarks: $(ASSETS) ## Go benchmarks of single functions, as a table
	@$(GO) test -run '^$$' -bench . -benchmem ./... | awk ' \
		/^pkg:/ { pkg = $$2 } \
		/^Benchmark/ { if (!n++) printf "%-18s %-44s %12s %16s %14s\n", "package", "benchmark", "runs", "ns/op", "B/op"; \
			printf "%-18s %-44s %12s %16s %14s\n", pkg, $$1, $$2, $$3, $$5 } \
		/^(FAIL|panic|---)/ { print; bad = 1 } END { exit bad }'

soak: tools $(ASSETS) ## random crashes and faults for SECONDS (60), the seed printed; then each fuzz target (FUZZ= chooses) for a minute at most
	SOAK_SECONDS=$(SECONDS) $(GO) test ./jobs -run TestSoak -count=1 -v -timeout $$(( $(SECONDS) + 600 ))s
	GO="$(GO)" .ci/fuzz $$(( $(SECONDS) < 60 ? $(SECONDS) : 60 )) '$(FUZZ)'

# What has to be on the machine.
tools:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or later from your distribution or go.dev"; exit 1; }
	@command -v gcc >/dev/null || command -v cc >/dev/null || command -v clang >/dev/null || \
		{ echo "A C compiler is missing (SQLite needs one): install gcc"; exit 1; }
	@command -v node >/dev/null || { echo "Node is missing: install nodejs"; exit 1; }
	@command -v npm >/dev/null || { echo "npm is missing: install npm"; exit 1; }

# Style sheet and scripts: bundled from pinned packages, embedded in the binary.
assets: $(ASSETS)

static/node_modules/.installed: static/package.json static/package-lock.json
	cd static && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(ASSETS): static/node_modules/.installed $(ASSET_FILES)
	$(GO) run ./static/build
	@touch $@

# Tests look at pages in a browser.
chromium:
	@for c in chromium chromium-browser google-chrome; do command -v $$c >/dev/null && exit 0; done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing Chromium for the tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
		echo "Installing Chromium for the tests"; \
		sudo -n apt-get update -qq && sudo -n DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else \
		echo "Chromium is missing, and the tests look at pages in it: install the package chromium"; exit 1; \
	fi

format:
	@odd=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); [ -z "$$odd" ] || { echo "gofmt would change:"; echo "$$odd"; exit 1; }

vet:
	$(GO) vet ./...

$(LINT):
	GOBIN=$(CURDIR)/$(dir $(LINT)) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

lint: $(LINT)
	$(LINT) run ./...

generated:
	@before=$$(cat templates/*_templ.go | cksum); $(GO) tool templ generate -path templates >/dev/null || exit 1; \
	[ "$$before" = "$$(cat templates/*_templ.go | cksum)" ] || { echo "templates/*_templ.go were out of date; they are made anew now: commit them"; exit 1; }

tidy:
	$(GO) mod tidy -diff

arrows:
	$(GO) test -run TestArrows ./cmd/stowage

# gosec runs within lint. The other two look at what is linked and bundled.
vulnerabilities:
	@GO="$(GO)" .ci/dependencies vulnerabilities $(CACHE)/govulncheck-$(VULN_VERSION) $(VULN_VERSION)

licences:
	@GO="$(GO)" .ci/dependencies licences $(CACHE)/go-licenses-$(LICENSES_VERSION) $(LICENSES_VERSION)
