# `make help` lists what there is. Each target sets up what it needs (deploy/setup.sh), so none has to come first.
# ARGS is handed on: make test ARGS="-k webhook -x"

PYTHON := .venv/bin/python
LOCK := uv pip compile --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-on chaos soak bench interop lint format lock wheel clean docs

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install all that demo and test need: .venv, locked dependencies, system packages
	@deploy/setup.sh test

demo: ## Run two registries and replicate between them
	@deploy/setup.sh demo
	@.venv/bin/geo demo $(ARGS)

test: ## Run the tests, but for the long ones
	@deploy/setup.sh test
	@$(PYTHON) -m pytest -m "not long" -n 2 --dist loadfile $(ARGS)

test-long: ## Run the tests that take minutes
	@deploy/setup.sh long
	@$(PYTHON) -m pytest -m long -n 2 --dist loadfile $(ARGS)

# The lock serves every version of Python that is declared.
WITH ?= python3.13
test-on: ## Run a part of the tests by another Python, such as WITH=python3.12
	@deploy/setup.sh test
	@$(WITH) -m venv build/$(notdir $(WITH))
	@build/$(notdir $(WITH))/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@build/$(notdir $(WITH))/bin/python -m pytest -m "not long" tests/cli tests/notifications tests/registry $(ARGS)

chaos: ## Break things on purpose: the long form of tests/chaos
	@deploy/setup.sh long
	@CHAOS=long $(PYTHON) -m pytest tests/chaos -s $(ARGS)

soak: ## An hour of pushes and faults on two sites, and what grew, such as ARGS="--minutes 10 --out DIR"
	@deploy/setup.sh test
	@$(PYTHON) -m tests.soak $(ARGS)

bench: ## Measure copying beside skopeo, crane and regsync, such as ARGS="--scenario cold --json FILE"
	@deploy/setup.sh test
	@$(PYTHON) -m tests.benchmarks $(ARGS)

interop: ## Replicate between all registries that can be had here; writes docs/interop.md
	@deploy/setup.sh interop
	@$(PYTHON) -m tests.interop $(ARGS)

lint: ## Check format, style, types, and what is known to be dangerous
	@deploy/setup.sh lint
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m bandit --quiet --configfile pyproject.toml --recursive app workers migrations
	@deploy/audit.sh

docs: ## Write docs/commands.md anew, from what the commands say of themselves
	@deploy/setup.sh test
	@$(PYTHON) -m tests.docs.commands

format: ## Format the code and put right what can be
	@deploy/setup.sh lint
	@$(PYTHON) -m ruff format
	@$(PYTHON) -m ruff check --fix

# The first has every extra: what a deployment needs is a matter of its settings, and images are not built for each. The
# second is held to the first one's versions: one environment serves both.
lock: ## Resolve the dependencies anew (needs uv); ARGS=--upgrade for the newest
	$(LOCK) pyproject.toml --all-extras $(ARGS) -o requirements.txt
	$(LOCK) pyproject.toml --all-extras --group dev -c requirements.txt $(ARGS) -o tests/requirements.txt
	$(LOCK) --group build $(ARGS) -o deploy/build-requirements.txt

wheel: ## Build dist/*.whl
	@deploy/setup.sh lint
	@$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

clean: ## Remove caches and what was built; .venv and var/ stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find app workers migrations tests -name __pycache__ -type d -prune -exec rm -rf {} +
