# Petrel. `make run` and `make test` are all one needs; both install the system packages they lack.

SWIFT ?= swift
# A folder of its own: a debug build by hand (`swift build`) never waits for it.
RELEASE_SCRATCH = .build-release
RELEASE = -c release --scratch-path $(RELEASE_SCRATCH) --disable-local-rpath $(SAME_ANYWHERE)
# The programs, and their debug symbols, do not tell in which folder they were built: two builds, one package. (The index,
# by which tests are found, keeps true names: -file-prefix-map would map those as well.)
MAP = $(CURDIR)=/usr/src/petrel
SAME_ANYWHERE = -Xswiftc -debug-prefix-map -Xswiftc $(MAP) -Xcc -ffile-prefix-map=$(MAP) -Xcxx -ffile-prefix-map=$(MAP) \
	-Xswiftc -Xfrontend -Xswiftc -no-clang-module-breadcrumbs
RELEASE_DIR = $(RELEASE_SCRATCH)/release

.PHONY: run test test-programs test-units bench deb format release dependencies-build dependencies-run dependencies-test \
	dependencies-bench dependencies-deb clean

## run: the whole of Petrel on this host, until Ctrl-C
run: dependencies-run release
	@packaging/local/run.sh $(RELEASE_DIR)

## test: every test: style, units, conformance, simulation, integration, faults on real processes
# One build serves both halves, the modules that ship; side by side they wait for peers and clocks, not for a core.
test: dependencies-test
	$(SWIFT) format lint --strict -r Sources agent collector Benchmarks Tests Package.swift
	@echo "Building the programs and the tests (the first time takes about 23 minutes on 2 cores)"
	$(SWIFT) build $(RELEASE) --build-tests
	@$(MAKE) --no-print-directory -j2 --output-sync=line test-programs test-units

test-programs:
	packaging/local/check-release.sh $(RELEASE_DIR)
	python3 Tests/Faults/fleet.py --programs $(RELEASE_DIR) short

test-units:
	timeout 2400 $(SWIFT) test $(RELEASE) --skip-build
	python3 Tests/Faults/fleet.py --programs $(RELEASE_DIR) --rounds 50000 log-torture

## bench: ratios against peers, measured in one run; options in BENCH_OPTIONS, such as "--hours 168"
bench: dependencies-bench release
	python3 Benchmarks/bench.py --programs $(RELEASE_DIR) $(BENCH_OPTIONS)

## deb: the Debian packages, in dist/ (see docs/install.md)
deb: dependencies-deb release
	packaging/build-deb --programs $(RELEASE_DIR) --output dist $(DEB_OPTIONS)
	packaging/check-packages dist $(RELEASE_DIR) $(DEB_OPTIONS)

## format: the house formatting
format:
	$(SWIFT) format -i -r Sources agent collector Benchmarks Tests Package.swift

release: dependencies-build
	@echo "Building the programs (release, static; the first time takes about 20 minutes on 2 cores)"
	$(SWIFT) build $(RELEASE)

dependencies-build:
	@packaging/local/dependencies.sh build

dependencies-run:
	@packaging/local/dependencies.sh build run

dependencies-test:
	@packaging/local/dependencies.sh build run test

dependencies-bench:
	@packaging/local/dependencies.sh build run test bench

dependencies-deb:
	@packaging/local/dependencies.sh build deb

clean:
	rm -rf .build $(RELEASE_SCRATCH) .petrel dist
