# `make repro` and `make test` need nothing but Python (3.10 or newer) and make.

PYTHON ?= python3
VENV := .venv
PORT ?= 5000
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help install repro test lint ui clean

help:            ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/'

install: $(VENV)/.installed    ## install what the pipeline needs, and run nothing

repro: $(VENV)/.installed    ## install, then run the pipeline and render the report
	@git rev-parse --git-dir >/dev/null 2>&1 || grep -qs 'no_scm = true' .dvc/config .dvc/config.local || \
		{ echo "error: no git repository here, which DVC needs: \`git init\` and a commit, or \`dvc config core.no_scm true\` (no experiments then)"; exit 2; }
	dvc repro
	@echo "report: $(CURDIR)/reports/index.html"

test: $(VENV)/.installed-dev    ## install, check style and types, run the tests
	ruff check .
	ruff format --check .
	@if python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then echo mypy; mypy; \
		else echo "types are not checked: the last stubs of SciPy for Python 3.10 lack some"; fi
	python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev    ## fix what ruff can fix
	ruff check --fix .
	ruff format .

ui: $(VENV)/.installed    ## browse the MLflow runs at http://127.0.0.1:5000; PORT=5001 for another port
	@mosaic ui --port $(PORT)

clean:           ## remove the environment (the DVC cache and mlflow.db stay)
	rm -rf $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); 3.10 or newer is needed: make PYTHON=/path/to/python3"; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-volumes.txt requirements-s3.txt requirements-server.txt $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
