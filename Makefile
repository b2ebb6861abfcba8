# `make` lists the targets. Everything runs in .venv, which the first target makes.
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
BIN := $(VENV)/bin
DEMO := reports/demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-hard report lab lint format refresh bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml
	@echo "Installing dfdlib and its packages into $(VENV): about 7 GB with the usual PyTorch, 2 GB with the one for CPUs (README)."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[notebooks,test]'
	@touch $@

demo: $(VENV)/.installed ## Train and judge a detector on the demo set (notebook 04); ARGS="-p epochs 6" for more
	@mkdir -p $(DEMO)
	@echo "Running notebook 04 on the demo set, which is drawn first: a few minutes on two CPU cores."
	$(BIN)/papermill notebooks/04-multitask-effv2.ipynb $(DEMO)/04-multitask-effv2.ipynb --log-output --no-progress-bar -p out_dir $(DEMO) $(ARGS)
	@echo; $(BIN)/python -m dfdlib.reports.summary $(DEMO)

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

report: $(VENV)/.installed ## Run all notebooks, then build reports/index.html; continues after a failure
	$(BIN)/dfd report $(ARGS)

test-hard: $(VENV)/.installed ## The long tests: every format, damage by the thousand
	$(BIN)/python -m pytest -m hard tests

bench: $(VENV)/.installed ## Run the benchmarks, one after the other
	for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment and the caches; data and reports stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info data/.cache
