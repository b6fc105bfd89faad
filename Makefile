# Two commands: `make demo` shows the main job on real input, `make test` runs every test. Each sets up what it needs.

PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz storm mutants lint bench bench-short bench-wrapper

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## system packages where possible, and the virtual environment
	@.ci/setup test

demo: ## build a real Rust workspace with real Bazel, without and with pipelining, and compare
	@.ci/setup demo
	.venv/bin/headstart demo examples/search $(DEMO_FLAGS)

test: ## every test
	@.ci/setup test
	$(PYTHON) -m pytest -n 2 --dist loadgroup $(TEST_FLAGS)

fuzz: ## what takes long: a million steps of the worker's state machine, streams for its decoders, a stdout full for a minute
	@.ci/setup test
	HEADSTART_FUZZ=1 $(PYTHON) -m pytest -s tests/stateful/test_worker_machine.py tests/stateful/test_decoder_fuzz.py tests/stateful/test_options_fuzz.py $(FUZZ_FLAGS)
	HEADSTART_LONG=1 $(PYTHON) -m pytest tests/process/test_ends.py -k full_for_long

storm: ## a minute of random requests, cancels and SIGKILLs over real workers (STORM_FLAGS=--seed=N)
	@.ci/setup test
	PYTHONPATH=tests $(PYTHON) -m storm.storm --seconds=60 $(STORM_FLAGS)

mutants: ## break the code on purpose, rule by rule, and see the tests notice (MUTANTS="C38 C40" for some)
	@.ci/setup test
	$(PYTHON) tests/mutants/run.py $(MUTANTS)

lint: ## types, style, layers, generated code, documents, shell, Starlark
	@.ci/setup test
	.ci/lint

bench: ## measure the modes of real builds, the model, requests, spawning, staging, cancels, traces (half an hour)
	@.ci/setup test
	$(PYTHON) benchmarks/suite.py
	$(PYTHON) benchmarks/micro.py --peers
	$(PYTHON) benchmarks/figures.py

bench-short: ## the same in three minutes, on small graphs; writes nothing
	@.ci/setup test
	$(PYTHON) benchmarks/suite.py --short
	$(PYTHON) benchmarks/micro.py --short --output=/dev/null

bench-wrapper: ## measure process-wrapper in front of compilers: its start, whole builds, sandboxes, checks (twenty minutes)
	@.ci/setup test
	$(PYTHON) benchmarks/launchers.py
	$(PYTHON) benchmarks/builds.py
	$(PYTHON) benchmarks/sandboxes.py
	$(PYTHON) benchmarks/checks.py
	$(PYTHON) benchmarks/figures.py
