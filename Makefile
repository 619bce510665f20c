# The commands of Backend Lab. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Most tests run four at a time; those that measure have the machine to themselves afterwards.
TOGETHER := -m pytest --numprocesses 4 --dist worksteal -m 'not alone'
ALONE := -m pytest -m alone
QUICK_TESTS := $(if $(ALL),,--quick)

.DEFAULT_GOAL := help
.PHONY: help setup lab test coverage mutants jupyter serve bench check format lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## build .venv from requirements.lock

lab: $(READY) ## run every notebook on a real MongoDB and write report/index.html; QUICK=1: the exercise, in 3 minutes
	@$(BIN)/python -m notebooks run $(if $(QUICK),--quick)

test: $(READY) ## run the tests that take at most three seconds; ALL=1: all; in CI all, as `coverage` does
	@$(if $(CI),$(MAKE) --no-print-directory coverage,$(BIN)/python $(TOGETHER) $(QUICK_TESTS) && $(BIN)/python $(ALONE) $(QUICK_TESTS))

coverage: $(READY) ## run the test suite, list the lines and branches that no test reaches, fail below the bound
	@$(BIN)/coverage erase
	@$(BIN)/coverage run $(TOGETHER)
	@$(BIN)/coverage run $(ALONE)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

mutants: $(READY) ## change one thing at a time in some modules, and list the changes that no test notices
	@$(BIN)/python -m tests.mutants

jupyter: $(READY) ## open your copies of the notebooks in JupyterLab, on a running service
	@$(if $(QUICK),LAB_QUICK=1 )$(BIN)/python -m notebooks jupyter

serve: $(READY) ## run the service alone, on http://127.0.0.1:8000
	@$(BIN)/python -m server

bench: $(READY) ## measure the service beside its peers, with wrk: one table
	@$(BIN)/python -m loadtests bench

check: $(READY) ## format, lint, types and imports: what CI checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff format the code and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve pyproject.toml anew into requirements.lock
	@test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --quiet --extra dev --extra mongod --extra peers pyproject.toml --output-file requirements.lock

clean: ## remove .venv, the lab's database and its report
	rm -rf .venv .lab report

# The stamp is written last, so an interrupted build is begun again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Backend Lab needs Python 3.11 or newer, and $(PYTHON) is older or absent: install one, then run make PYTHON=python3.12 (say)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot build virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@echo "building .venv with the packages of requirements.lock (once, a minute or two)" >&2
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m harness.install requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
