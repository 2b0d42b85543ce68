# connprof's targets; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

# Root is needed to load BPF and to make network namespaces. Only the programs run as root, never the compiler.
ifneq ($(shell id -u),0)
SUDO = $(AS_ROOT) -E env "PATH=$(PATH)"
AS_ROOT = $(call needed,sudo,install it (apt-get install sudo) or run make as root)
endif
GO = $(call needed,go,install Go $(shell sed -n "s/^go //p" go.mod) or later (https://go.dev/doc/install) and put its bin directory into PATH)

# The command, or an error that says what to do about one that is missing. It is looked for when a recipe is about to use it.
needed = $(if $(shell command -v $(1) 2>/dev/null),$(1),$(error $(1) is missing: $(2)))

CONNS ?= 20k
# The kernels of the virtual machines: any of 5.10 6.1 6.12 7.2.
KERNEL ?= 5.10 6.1 6.12 7.2
# Where scenario-table keeps each kernel's recordings.
SCENARIOS := $(CURDIR)/.cache/scenarios

# One compiler version, so that everybody's objects are the same to the byte.
CLANG ?= clang-14
STRIP ?= llvm-strip-14
# One static program: what runs in a container or a virtual machine is what was tested.
export CGO_ENABLED = 0
export BPF2GO_CC = $(CLANG)
export BPF2GO_STRIP = $(STRIP)
export BPF2GO_CFLAGS = -O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/$(shell gcc -print-multiarch 2>/dev/null)

.PHONY: help build run test test-unit test-measure test-busy test-page test-vm scenario-table bench bench-overhead bench-record bench-scale bench-snapshot \
	generate check-generated lint golangci format-c diagram images generate-tools bench-tools busy-tools server-tools servers-page own-servers page-tools record-tools prometheus-tools package-tools packages deb test-packages vm-tools image-tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./connprof
	$(GO) build -o connprof ./cmd/connprof

run: build ## the main job: profile CONNS (20k) connections from 20 addresses, and draw them in connprof.html
	$(SUDO) ./connprof run --ips 20 --conns $(CONNS) --html connprof.html

test: record-tools prometheus-tools ## all tests against the kernel that runs here (as root; one package at a time, for they measure the host's slab)
	$(GO) test -p 1 -count=1 -timeout 40m -exec '$(SUDO)' ./...

test-measure: ## those of the tests that count connections and their objects, and hold trace against walk
	$(GO) test -p 1 -count=1 -timeout 20m -exec '$(SUDO)' ./load ./loader ./internal/measure ./internal/experiment
	$(GO) test -count=1 -timeout 20m -exec '$(SUDO)' -run 'MainJob|RunsBetween|TwoRuns|Scenario|OddNumbers|EachConnection' ./test/cli

# Installing them may start the host's own; those of the page are others, on other ports.
servers-page: build server-tools ## start real servers with clients, and write what snapshot says of each into docs/results/servers.md
	$(SUDO) test/servers.sh ./connprof > docs/results/servers.md

own-servers: build server-tools ## what a connection costs in real servers, as a table in docs/results/own-servers.md (CONNS=20k)
	@$(GO) build -o .cache/ownservers ./tools/ownservers
	@$(SUDO) .cache/ownservers -page docs/results/own-servers.md -conns $(CONNS) ./connprof

# Installing nginx may start the host's own; the tests use one of their own on another port.
test-busy: busy-tools ## test-measure while wrk opens 2,000 connections a second to an nginx on loopback: TIMES=3 BUSY=test
	test/busy.sh $(or $(TIMES),1) $(MAKE) --no-print-directory $(or $(BUSY),test-measure)

# The packages that need no kernel of their own. What looks at the kernel that runs is left to make test.
UNIT = $(addprefix ./,$(addsuffix /...,$(wildcard internal/account internal/filter internal/kernel internal/limits internal/owner internal/privilege \
	internal/recording internal/remote/peer internal/report internal/screen internal/sockfilter internal/symbolise internal/top bpf test/docs test/layout test/vm/wire tools)))
NEEDS_ROOT = ^Test(RunningKernels|RootMayRun)

test-unit: ## the tests that need no root, in seconds
	$(GO) test -count=1 -skip '$(NEEDS_ROOT)' $(UNIT)

# The first and the last of the kernels are also put at the two ends of a cable (connprof serve, run --target).
# With -v a line comes for each step as it ends.
# Some tests run on 6.12 only, and on the other kernels with CONNPROF_VM_ALL=1 (test/vm/packages_test.go).
test-vm: vm-tools ## the same tests and the main job under stock kernels in virtual machines: KERNEL="5.10 7.2"
	KERNEL="$(KERNEL)" $(GO) test -tags vm -v -count=1 -timeout 60m -run 'TestKernels$$|TestMergingChangesNoType$$|TestTwoMachines$$' ./test/vm

# TestMain starts one browser for all of them; the other tests of the package run as well.
test-page: page-tools ## the page in a real browser, headless: its scripts, its widths, its themes
	$(GO) test -tags browser -count=1 ./internal/report/html

scenario-table: build vm-tools ## every scenario in the virtual machines and on this kernel, as a table in docs/results/scenarios.md
	rm -rf $(SCENARIOS) && mkdir -p $(SCENARIOS)
	KERNEL="$(KERNEL)" CONNPROF_VM_OUT=$(SCENARIOS) $(GO) test -tags vm -count=1 -timeout 60m -run 'TestScenarios$$' ./test/vm
	$(SUDO) ./connprof run --scenario all --conns 20k -o $(SCENARIOS)/host.json
	$(GO) run ./tools/table --scenarios docs/results/scenarios.md $(SCENARIOS)/*.json

packages: ## packages for Debian and Fedora and a tarball in dist/, for ARCH (amd64)
	packaging/packages.sh $(or $(ARCH),amd64) dist

deb: packages ## the same

test-packages: package-tools ## makes the packages twice, installs, upgrades and purges them, and runs the exporter as the service does
	$(GO) test -tags packages -count=1 -timeout 30m -exec '$(SUDO)' ./test/packages

bench: bench-tools ## every benchmark once (BENCHTIME=5x for more)
	$(GO) test -p 1 -run '^$$' -bench . -benchtime $(or $(BENCHTIME),1x) -exec '$(SUDO)' ./...

bench-overhead: build ## what the profiler adds to opening connections: ROUNDS (7) with each of SIZES ("20000 150000"); PLAIN=1 beside a plain C pair
	@go build -o .cache/overhead ./tools/overhead
	@$(SUDO) .cache/overhead -rounds $(or $(ROUNDS),7) $(if $(PLAIN),-plain) ./connprof $(SIZES)

bench-snapshot: build bench-tools ## a snapshot of 100,000 sockets beside ss, in PAIRS (5) interleaved pairs
	@$(GO) build -o .cache/snapshotbench ./tools/snapshotbench
	@$(SUDO) .cache/snapshotbench -pairs $(or $(PAIRS),5) ./connprof

bench-record: build busy-tools server-tools ## what record adds to a request: nginx, redis and a loop of accept(), in ROUNDS (11) of each watcher in turn
	@$(GO) build -o .cache/recordbench ./tools/recordbench
	@$(SUDO) .cache/recordbench -rounds $(or $(ROUNDS),11) ./connprof

bench-scale: build ## what grows with the number of connections: 10k to 1M, as a table (SIZES="10000 50000" for others)
	@$(GO) build -o .cache/scale ./tools/scale
	@$(SUDO) .cache/scale -chart .cache/scale.svg ./connprof $(SIZES)

generate: generate-tools ## rebuild the BPF objects and their Go bindings
	cd bpf && $(GO) generate .

check-generated: ## fail if the committed BPF objects are not what the sources give
	@before=$$(sha256sum bpf/*_bpfel.*); $(MAKE) --no-print-directory generate; \
	diff <(echo "$$before") <(sha256sum bpf/*_bpfel.*) || \
	{ echo "bpf/: the committed objects are not those of the sources: commit what make generate has made" >&2; exit 1; }

# Who may import whom: the table in the first page. Where the boxes of the picture stand: the second one.
DIAGRAM = docs/reference/architecture.md docs/images/architecture.txt docs/images/architecture.svg
CLANG_FORMAT ?= clang-format-14

lint: ## formatting, vet, who imports whom, links of the docs, the diagram, and no test that could skip itself
	@test -z "$$(gofmt -l .)" || { gofmt -d . | head -50; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags vm ./... && $(GO) vet -tags browser ./internal/report/html && $(GO) vet -tags packages ./test/packages && $(GO) vet -tags man ./cmd/connprof
	@! grep -rnE '\bt\.(Skip|Skipf|SkipNow)\(' --include='*_test.go' . || \
	{ echo "a test skips itself: have it check what the kernel offers instead" >&2; exit 1; }
	$(GO) test -count=1 ./test/layout ./test/docs
	$(GO) run ./tools/diagram -check $(DIAGRAM)
	@! command -v $(CLANG_FORMAT) >/dev/null || $(CLANG_FORMAT) --dry-run --Werror $(wildcard bpf/*.[ch])

golangci: ## the linters of .golangci.yml (builds golangci-lint the first time: some minutes)
	$(GO) tool -modfile=tools/golangci.mod golangci-lint run

format-c: generate-tools ## format the C as .clang-format says
	$(CLANG_FORMAT) -i bpf/*.[ch]

diagram: ## draw docs/images/architecture.svg from the table of packages
	$(GO) run ./tools/diagram $(DIAGRAM)

images: build image-tools ## the README's pictures of the page and of the terminal, from a run of 20,000 connections
	SUDO="$(SUDO)" ./tools/images/images.sh ./connprof docs/images

# Debian's packages, only where a command is missing.
define install
	@command -v $(1) >/dev/null || { $(AS_ROOT) apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $(AS_ROOT) apt-get install -y -qq --no-install-recommends $(2); }
endef

generate-tools:
	$(call install,$(CLANG),$(CLANG) libbpf-dev)
	$(call install,$(STRIP),llvm-14)
	$(call install,$(CLANG_FORMAT),$(CLANG_FORMAT))
	@test -e /usr/include/bpf/bpf_helpers.h || $(AS_ROOT) apt-get install -y -qq libbpf-dev

bench-tools:
	$(call install,ss,iproute2)

busy-tools:
	$(call install,wrk,wrk)
	@test -x /usr/sbin/nginx || $(AS_ROOT) apt-get install -y -qq --no-install-recommends nginx-light

server-tools:
	$(call install,redis-server,redis-server)
	$(call install,haproxy,haproxy)
	@test -x /usr/sbin/nginx || $(AS_ROOT) apt-get install -y -qq --no-install-recommends nginx-light
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || $(AS_ROOT) apt-get install -y -qq --no-install-recommends postgresql
	$(call install,node,nodejs)

# What the tests of record and of unwinding compile and watch. Installing a server may start the host's own; those of the tests
# are others. gcc brings objcopy and strip.
record-tools:
	$(call install,g++,gcc g++ libc6-dev)
	$(call install,musl-gcc,musl-tools)
	$(call install,/usr/bin/python3-config,python3-dev)
	$(call install,haproxy,haproxy)
	$(call install,redis-server,redis-server)
	$(call install,tmux,tmux)
	@test -x /usr/sbin/nginx || $(AS_ROOT) apt-get install -y -qq --no-install-recommends nginx-light
	$(call install,node,nodejs)

# Debian's Prometheus would start with its package. It stays masked: systemctl unmask prometheus. Where another init starts services,
# RUNLEVEL says that this is no time for it. What is there already stays as it is.
prometheus-tools:
	@{ command -v promtool && command -v prometheus; } >/dev/null || { unit=/etc/systemd/system/prometheus.service; \
	{ test -e $$unit || test ! -d /etc/systemd/system || $(AS_ROOT) ln -s /dev/null $$unit; } && $(AS_ROOT) apt-get update -qq && \
	$(AS_ROOT) env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; }

package-tools:
	$(call install,lintian,lintian)
	$(call install,systemd-analyze,systemd)

image-tools:
	$(call install,chromium,chromium fonts-dejavu-core)
	$(call install,script,bsdutils)
	$(call install,pngquant,pngquant)

page-tools:
	$(call install,chromedriver,chromium chromium-driver fonts-dejavu-core)

vm-tools:
	$(call install,qemu-system-x86_64,qemu-system-x86)

clean: ## remove what was built and fetched here
	rm -rf connprof connprof.json connprof.html .cache
