# Set-up and the two main commands. `make help` lists the targets.
#
#   make demo                     the main job on made data, in minutes
#   make test                     style, import contracts and all tests
#   make demo TORCH=torch==2.14.1           another torch release
#   make demo TORCH=torch-VERSION.whl       a wheel on disk
#   make demo TORCH="torch --index-url INDEX"   another index, such as PyTorch's of CPU builds
#
# If the Python that makes the environment already has torch, that torch is used and nothing is downloaded.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

MUTANTS ?= 1000000

.PHONY: help venv demo docs test test-light fuzz lint types format clean

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

venv: $(VENV)/.ready ## make the environment in .venv

$(VENV)/.ready: setup.py scripts/make_venv.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" bash scripts/make_venv.sh "$(VENV)"

demo: venv ## run the main job on made data; ends in tables, pictures in demo/ and one performance explained
	PYTHON="$(abspath $(BIN))/python" bash scripts/demo.sh --output "$(DEMO)"

docs: venv ## build the documentation in site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test: venv lint ## style, import contracts, types and all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

fuzz: venv ## new examples of the property tests, and MUTANTS (1000000) damaged files, guided by coverage where atheris installs
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -n 2 --dist worksteal $$(grep -rl "^from hypothesis import" --include="test_*.py" tests)
	if $(BIN)/python -m pip --disable-pip-version-check install --quiet atheris; then \
	  for target in midi notation checkpoint objects settings; do \
	    $(BIN)/python tests/fuzz/mutants.py --guided --target $$target --count $$(( $(MUTANTS) / 5 )) || exit 1; \
	  done; \
	else $(BIN)/python tests/fuzz/mutants.py --count $(MUTANTS) --workers 2; fi

# what needs neither torch nor fairseq, on another Python: make test-light PYTHON=python3.13
test-light: ## the rooms of the base tier and of tables, without torch, in .venv-light
	$(PYTHON) -m venv --clear .venv-light
	.venv-light/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off . pandas scipy pyarrow openpyxl pyyaml \
	  pytest pytest-timeout hypothesis
	.venv-light/bin/python -m pytest -q tests/unit/midi tests/unit/encoding tests/unit/features tests/unit/annotation

lint: venv ## ruff, import contracts and mypy on the torch-free rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: venv ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and what the demo made
	rm -rf "$(VENV)" .venv-light "$(DEMO)" site build *.egg-info
