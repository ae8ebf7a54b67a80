# Everything that a person does twice. `make` alone lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
FOREIGN := .venv-foreign
# Tests of how soon something happens: kernels, a browser, kills. Others beside them would make them fail by chance.
ALONE := tests/browser tests/notebook tests/crash
CHECK_LOG := $(VENV)/check.log

.DEFAULT_GOAL := help
.PHONY: help install demo lab model test test-foreign check format notebooks pictures soak bench drills lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv with everything that a developer needs

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "AgentFlow needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "==> Installing into $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet "$$(grep '^uv==' requirements.txt)"
	@$(BIN)/uv pip install --python $(BIN)/python -r requirements.txt -e . \
		|| { echo "==> uv could not; with pip, which knows your pip.conf (some minutes)"; \
			$(PIP) install -r requirements.txt && $(PIP) install --quiet --no-deps -e .; }
	@touch $@

model: $(INSTALLED)
	@$(BIN)/agentflow local pull >/dev/null

demo: model  ## run the quickstart notebook offline and print what its steps took and cost
	@$(BIN)/python scripts/demo.py

lab: model  ## open the quickstart notebook in JupyterLab
	@$(BIN)/jupyter lab notebooks/quickstart.ipynb

check: $(INSTALLED)  ## lint, format, types and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The checks take one core for a minute, while what runs alone mostly waits.
test: model  ## everything that CI checks: the above, the tests and the notebooks
	@$(MAKE) --no-print-directory check >$(CHECK_LOG) 2>&1 & check=$$!; \
		$(BIN)/pytest -rfEs $(ALONE); alone=$$?; \
		wait $$check; failed=$$?; cat $(CHECK_LOG); exit $$((alone | failed))
	@$(BIN)/pytest -rfEs --nbval-lax -n 2 --dist loadfile tests notebooks $(addprefix --ignore=,$(ALONE))

test-foreign: $(INSTALLED) $(FOREIGN)/.installed  ## other clients of Bedrock against the local endpoint, and the runbook's command lines by the AWS CLI
	@$(BIN)/pytest -m foreign tests/foreign tests/contract

$(FOREIGN)/.installed: tests/foreign/requirements.txt | $(INSTALLED)
	@echo "==> Installing other clients into $(FOREIGN)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FOREIGN)
	@$(BIN)/uv pip install --quiet --python $(FOREIGN)/bin/python -r tests/foreign/requirements.txt
	@touch $@

pictures: $(INSTALLED)  ## draw the views in light and dark into notebooks/images; needs Chromium
	@$(BIN)/python scripts/pictures.py

soak: model test-foreign  ## what takes too long for CI: answers over ten seeds, load tests, kills, many examples of each property
	@$(BIN)/pytest -m soak tests
	@$(BIN)/pytest -m hypothesis --hypothesis-profile thorough tests

bench: model  ## what the engine, the journal, jobs over rows, the local endpoint, logs and metrics cost, beside bare asyncio and the bare model
	@$(BIN)/python benchmarks/engine.py
	@$(BIN)/python benchmarks/journal.py
	@$(BIN)/python benchmarks/calls.py
	@$(BIN)/python benchmarks/batch.py
	@$(BIN)/python benchmarks/endpoint.py
	@$(BIN)/python benchmarks/signals.py

drills: $(INSTALLED)  ## play each fault that `agentflow diagnose` knows, and its control, and print what is found in which
	@$(BIN)/python scripts/drills.py

notebooks: model  ## run the notebooks in place, so that their outputs can be read on GitHub
	@for notebook in notebooks/*.ipynb notebooks/runbook/*.ipynb; do \
		AGENTFLOW_HOME=$$(mktemp -d) AGENTFLOW_DISPLAY=off $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN \
			--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.extra_arguments=--log-level=ERROR $$notebook || exit 1; \
	done

format: $(INSTALLED)  ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(INSTALLED)  ## write requirements.txt anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.txt

clean:  ## remove .venv and everything that was made
	rm -rf $(VENV) $(FOREIGN) runs .agentflow .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
