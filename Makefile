# Two commands matter to a visitor: `make bench` and `make test`. Both set up all they need.
# Paths are relative, so that a folder whose name holds a space works; programs are run as
# `python -m`, because console scripts carry an absolute path in their first line.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv test lint mutants soak rabbitmq overhead explore compare conformance bench pages gate test-asv test-browser

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' Makefile | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r t d; do printf '%-14s %s\n' "$$t" "$$d"; done

venv: $(STAMP) ## make .venv with all that development, tests and benchmarks need

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "amqpool needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@# An environment whose making was interrupted has no pip: it is made anew.
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

test: $(STAMP) ## pass the tests: minutes, no service needed
	$(PY) -m pytest -m "not asv and not conformance and not mutants and not rabbitmq" -n 2 --dist worksteal $(ARGS)

SEEDS ?= 1
mutants: $(STAMP) ## see every counter rise on clients that are broken on purpose; SEEDS=10 for ten seeds each
	$(PY) -m tools.mutants --seeds $(SEEDS) $(ARGS)

soak: $(STAMP) ## 200 trials over all scenarios, each with a seed of its own: no false alarm
	$(PY) -m tools.soak $(ARGS)

explore: $(STAMP) ## ten minutes of search over thread schedules: scenario, schedules, exhausted or not, races
	$(PY) -m tools.explore $(ARGS)

rabbitmq: $(STAMP) ## the pool on RabbitMQ itself: a node, a cluster of three, every fault of a node; minutes
	$(PY) -m pytest -m rabbitmq $(ARGS)
	$(PY) -m tools.rabbitmq

overhead: $(STAMP) ## measure what history and ledger cost the throughput; for a quiet machine
	$(PY) -m tools.overhead $(ARGS)

# What compare, bench and gate run on.
BROKER ?= embedded
compare: $(STAMP) ## amqpool beside its peers, as two tables in reports/compare; BROKER=rabbitmq or an amqp:// URL
	$(PY) -m benchmarks.harness compare --broker $(BROKER) $(ARGS)

conformance: $(STAMP) ## the suites of py-amqp, aiormq, rabbitpy against the embedded broker; clients' adapters
	$(PY) -m pytest -m conformance -s -o faulthandler_timeout=0 tests/conformance tests/clients $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, import contracts
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

bench: $(STAMP) ## measure HEAD with asv, make the pages, print a summary; fails on any violation (BROKER=rabbitmq)
	@$(PY) -m tools.bench --broker $(BROKER)

test-asv: $(STAMP) ## broken commits against asv continuous, in a scratch clone; minutes
	$(PY) -m pytest tests/asv -m asv -o faulthandler_timeout=0 $(ARGS)

pages: $(STAMP) ## publish what asv has stored, with all libraries: the pages need no internet
	$(PY) -m asv_invariants
	$(PY) -m asv publish --no-pull

BASE ?= main
gate: $(STAMP) ## measure BASE (main) and HEAD side by side, then judge HEAD; fails on any violation (BROKER=rabbitmq)
	@$(PY) -m asv machine --yes
	-@$(PY) -m tools.label $(BROKER) continuous --show-stderr $(BASE) HEAD
	@$(PY) -m benchmarks.harness gate HEAD --base $(BASE) --require $(BROKER) $(ARGS)

test-browser: $(STAMP) ## look at the published pages in headless Chromium; screenshots in reports/
	@# Where Chromium is missing it is installed if that needs no question; else the tests skip.
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
		{ apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } || true
	$(PY) -m pytest tests/asv_invariants -m browser $(ARGS)
