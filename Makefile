# Two commands matter to a visitor: `make bench` and `make test`. Both set up all they need.
# Paths are relative, so that a folder whose name holds a space works; programs are run as
# `python -m`, because console scripts carry an absolute path in their first line.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' Makefile | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r t d; do printf '%-14s %s\n' "$$t" "$$d"; done

venv: $(STAMP) ## make .venv with all that development, tests and benchmarks need

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "amqpool needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
