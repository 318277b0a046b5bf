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

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  KVER=7.2|7.3|X.Y.Z   another stock kernel than linux-image-amd64's"
	@echo "  TEST_ARGS='--filter idt --list'   see make test TEST_ARGS=--help"

.PHONY: demo
demo: ## Two nodes, Linux's own ntb_hw_idt, one real file across the bridge
	@scripts/setup root
	@scripts/setup kernel stock
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
	@scripts/setup kernel stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-bench --out out/bench $(BENCH_ARGS)

.PHONY: cluster
cluster: ## An interactive cluster: make cluster NODES=3
	@scripts/setup root
	@scripts/setup kernel stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool cluster up --nodes $(NODES) $(CLUSTER_ARGS)

.PHONY: check
check: ## Formatting, lints and host tests only
	@scripts/setup root
	@scripts/setup kernel stock
	@$(IN_ROOT) scripts/build-tools
	@$(IN_ROOT) scripts/tool skiff-test run --filter "^host"

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
