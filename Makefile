# Everything runs in .venv, which each target makes when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NAME   ?=

.PHONY: demo test soak gpu check bench up fresh clean
.DELETE_ON_ERROR:

demo: $(STAMP) ## the whole pipeline on made data, in a few minutes
	$(BIN)/fettle demo

test: $(STAMP) ## every test that needs no GPU
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

soak: $(STAMP) ## more of the same, for longer: half an hour
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m soak
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup --hypothesis-profile=thorough tests/algorithms tests/formats

gpu: $(STAMP) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -q -m gpu tests/gpu

check: $(STAMP) ## lint, types and import contracts, in under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## side-by-side measurements into build/bench.json; NAME=prefix runs some
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python -m tests.speed $(NAME)

up: $(STAMP) ## Prefect's UI on this machine
	$(BIN)/fettle up

fresh: $(STAMP) ## write anew what is made from the code: the recipe's JSON schema, the README's tree
	$(BIN)/fettle schema > deployments/recipe.schema.json
	$(BIN)/fettle schema --kind classification > deployments/classification.schema.json
	$(BIN)/python -m tests.demo.readme

clean: ## remove what was built, but not the environment
	rm -rf build

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fettle needs Python 3.11 or newer; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)
