# SPDX-License-Identifier: GPL-2.0
#
# Two commands do everything on a fresh machine: make demo, make test.
# What they need is fetched and built on first use, into one ignored folder
# (.cache, or wherever SKIFF_CACHE points).

SHELL := /bin/bash
IN_ROOT := scripts/in-root

# How much a target needs: the demo does with the stock kernel, the tests want all.
NODES ?= 2
CLUSTER_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 60
PREFIX ?= /usr
DESTDIR ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  KVER=7.2|7.3|X.Y.Z   another stock kernel than linux-image-amd64's"
	@echo "  TEST_ARGS='--filter idt --list'   see make test TEST_ARGS=--help"

.PHONY: demo
demo: ## Two nodes share memory and a drive: real files, there and back
	@scripts/setup root
	@scripts/setup kernel stock modules stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-test demo

.PHONY: test
test: ## All tests: checks, host tests, cluster tests on the stock and debug kernels
	@scripts/setup
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-test run $(TEST_ARGS)

.PHONY: soak
soak: ## The same tests with large numbers
	@scripts/setup
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/fuzz 3600
	@$(IN_ROOT) scripts/tool skiff-test run --soak $(TEST_ARGS)

.PHONY: fuzz
fuzz: ## Feed random bytes to the switch, FUZZ_SECONDS (60) a target
	@scripts/setup root
	@$(IN_ROOT) scripts/fuzz $(FUZZ_SECONDS)

.PHONY: bench
bench: ## Measure; Markdown and SVG in out/bench/
	@scripts/setup root
	@scripts/setup kernel stock modules stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-bench --out out/bench $(BENCH_ARGS)

.PHONY: cluster
cluster: ## An interactive cluster: make cluster NODES=3
	@scripts/setup root
	@scripts/setup kernel stock modules stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool cluster up --nodes $(NODES) $(CLUSTER_ARGS)

.PHONY: module
module: ## Build the modules for the stock kernel: .cache/modules/stock/skiff
	@scripts/setup root
	@scripts/setup kernel stock modules stock

.PHONY: miri
miri: ## The model's ring under Miri; wants a nightly toolchain of rustup
	@scripts/miri

.PHONY: install
install: ## Install all for the stock kernel: DESTDIR=, PREFIX=/usr
	@scripts/setup root
	@scripts/setup kernel stock modules stock
	@rm -rf out/stage
	@$(IN_ROOT) env PREFIX=$(PREFIX) bash -c 'scripts/stage out/stage release "$${SKIFF_MODULES:-$$SKIFF_CACHE/modules}/stock/skiff"'
	@DESTDIR=$(DESTDIR) scripts/install out/stage

.PHONY: check
check: ## Formatting, lints and host tests only
	@scripts/setup root
	@scripts/setup kernel stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-test run --filter "^host:"

.PHONY: shell
shell: ## A shell in the Debian 13 root
	@scripts/setup root
	@$(IN_ROOT) bash -i

.PHONY: clean
clean: ## Remove what was built from this tree; keep the root and the kernels
	rm -rf out $${SKIFF_CACHE:-.cache}/target $${SKIFF_CACHE:-.cache}/modules

.PHONY: distclean
distclean: clean ## Remove the cache too
	rm -rf $${SKIFF_CACHE:-.cache}
