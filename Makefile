# `make` lists the targets. Everything runs in .venv, which the first target makes.
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
BIN := $(VENV)/bin
DEMO := reports/04-multitask-effv2

.DEFAULT_GOAL := help
.PHONY: help demo test lab lint format refresh bench clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

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
	$(BIN)/python -m pytest --nbval

lab: $(VENV)/.installed ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

format: $(VENV)/.installed ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

refresh: $(VENV)/.installed ## Run the notebooks with their defaults and store the outputs in them
	$(BIN)/python tests/refresh_notebooks.py

bench: $(VENV)/.installed ## Run the benchmarks
	$(BIN)/python benchmarks/leave_one_generator_out.py

clean: ## Remove the environment and the caches; data and reports stay
	rm -rf $(VENV) .pytest_cache .ruff_cache *.egg-info data/.cache
