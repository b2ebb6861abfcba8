# `make` lists the targets. Everything runs in .venv, which the first target makes.
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
BIN := $(VENV)/bin
DEMO := reports/04-multitask-effv2

.DEFAULT_GOAL := help
.PHONY: help demo test test-hard report lab lint format refresh bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[notebooks,test]'
	@touch $@

demo: $(VENV)/.installed ## Train and judge a detector on the demo set (notebook 04); ARGS="-p epochs 20" for the full run
	@mkdir -p $(DEMO)
	$(BIN)/papermill notebooks/04-multitask-effv2.ipynb $(DEMO)/04-multitask-effv2.ipynb --log-output $(ARGS)
	@echo; echo "Figures, metrics.json and the executed notebook are in $(DEMO)/:"; ls $(DEMO)

test: $(VENV)/.installed ## Lint, then test the library and the notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --nbval --numprocesses auto --maxprocesses 4 --dist loadfile

lab: $(VENV)/.installed ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

format: $(VENV)/.installed ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

refresh: $(VENV)/.installed ## Run the notebooks with their defaults and store the outputs in them
	$(BIN)/python tests/refresh_notebooks.py

report: $(VENV)/.installed ## Run all notebooks, then build reports/index.html; goes on after a failure
	$(BIN)/dfd report $(ARGS)

test-hard: $(VENV)/.installed ## The long tests: every format, damage by the thousand
	$(BIN)/python -m pytest -m hard tests

bench: $(VENV)/.installed ## Run the benchmarks, one after the other
	for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment and the caches; data and reports stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info data/.cache
