# One line for each thing. Needs Python 3.11 or newer and make; the rest lands in .venv.
#   make run ARGS=--once             the demo, ended by itself
#   make test ARGS=tests/domain      some of the tests
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
BENCH_PEERS := $(VENV)/.bench-peers
ARGS ?=
# Processes that run tests at once; 0 runs all in one.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help set-up run test test-long coverage check-wheel bench bench-all pictures lint format site lock clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

set-up: $(READY) ## .venv with the pinned packages and the project in it

# Runs again only when one of these has changed.
$(READY): pyproject.toml clients/python/pyproject.toml requirements/dev.txt tools/set-up
	@tools/set-up $(VENV)
	@touch $@

# What tests use of other worlds. Where it cannot be had, they go on without.
$(PEERS): $(READY) tools/set-up-peers tests/system/peers/package.json $(shell find clients/typescript -type f)
	@tools/set-up-peers $(VENV)
	@touch $@

run: $(READY) ## the demo: an embedded store, sample policies and a story (ARGS=--once ends)
	@$(VENV)/bin/sidecar demo $(ARGS)

test: $(READY) $(PEERS) ## every test but the long ones (WORKERS=0: in one process)
	@$(PYTHON) -m pytest -m "not long" -n $(WORKERS) --dist loadfile $(ARGS)

test-long: $(READY) $(PEERS) ## the long forms of property, chaos and scale tests
	@SIDECAR_CHAOS_SECONDS=60 SIDECAR_SCALE_SESSIONS=1000000 \
	    $(PYTHON) -m pytest tests/chaos tests/stories/test_all_sessions.py tests/stories/test_memory.py \
	    tests/docs/test_friction_page.py tests/service/shared_table/test_publisher.py \
	    tests/domain/evaluation/test_compiled_against_plain.py \
	    tests/system/pods tests/system/test_policy_bundles.py tests/system/test_exemplars.py tests/system/test_alerts.py \
	    tests/system/test_shipped_store.py tests/deploy/test_attacked_injector.py $(ARGS)

# What is measured, and the floor: [tool.coverage] in pyproject.toml.
coverage: $(READY) ## lines and branches of domain and wire that their own tests reach; has a floor
	@$(PYTHON) -m pytest -m "not long" -q -n $(WORKERS) --cov --cov-report=term:skip-covered \
	    tests/domain tests/wire $(ARGS)

check-wheel: $(READY) ## both built wheels, each installed alone and used from an empty directory
	@tools/check-wheel $(VENV)

# What benchmarks compare with. Where it cannot be had, its column is left out.
$(BENCH_PEERS): $(READY) tools/set-up-bench-peers requirements/bench.txt benchmarks/peers/package.json
	@tools/set-up-bench-peers $(VENV)
	@touch $@

bench: $(READY) $(BENCH_PEERS) ## the engine's goals, beside peers in one run (ARGS=--quick, --list)
	@PYTHONPATH=$(VENV)/bench-peers/python $(PYTHON) -m benchmarks.engine $(ARGS)

bench-all: $(READY) ## every other benchmark in turn
	@set -e; for bench in benchmarks/*.py; do echo "== $$bench"; $(PYTHON) "$$bench" $(ARGS); done

pictures: $(READY) ## the documents' pictures of the console, taken anew (needs chromium)
	@$(PYTHON) -m tests.system.peers.console_pictures

lint: $(READY) ## style, format, types, floors
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(VENV)/bin/lint-imports

format: $(READY) ## put the code into shape
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

site: $(READY) ## the documents as one site, in build/site; fails on a broken link or anchor
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

lock: $(READY) ## pin requirements/*.txt anew from pyproject.toml (ARGS=--upgrade raises versions)
	@VENV=$(VENV) tools/lock $(ARGS)

clean: ## remove what was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
