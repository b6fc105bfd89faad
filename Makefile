# Two commands: `make demo` shows the main job on real input, `make test` runs every test. Each sets up what it needs.

PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## system packages where possible, and the virtual environment
	@.ci/setup test

demo: ## build a real Rust workspace with real Bazel, without and with pipelining, and compare
	@.ci/setup demo
	.venv/bin/headstart demo examples/search $(DEMO_FLAGS)

test: ## every test
	@.ci/setup test
	$(PYTHON) -m pytest -n 2 --dist loadgroup $(TEST_FLAGS)

lint: ## types, style, layers, generated code, documents, shell, Starlark
	@.ci/setup test
	.ci/lint

bench: ## measure: spawning, requests and start-up, against what they are to be compared with
	@.ci/setup test
	$(PYTHON) benchmarks/spine.py
