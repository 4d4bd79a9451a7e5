# The same commands as in the README, and the checks; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:
	@echo "make quick   environment, then the headline studies and results/report.html (3 minutes)"
	@echo "make test    environment, then the tests, doctests and examples of README and docs"
	@echo "make check   format, lint, types, and every test: the gate of .ci/run"
	@echo "make slow    the tests that take minutes"
	@echo "make full    every study at its full size"
	@echo "make bench   the benchmarks, one after the other"
	@echo "make accelerator  what is to be measured on one: rules, engine, curvature, sweeps, a transformer, two huge studies"
	@echo "make house   how many names, files and lines there are"
	@echo "make durations  the tests, and the twenty that take longest"
	@echo "make docs    the site, docs/_build/html; its gallery shows what lies in results/"
	@echo "make release build, check, install and try what is to be published, on each Python that is found"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	touch $@

quick: $(VENV)/installed
	$(BIN)/python -m experiments --preset quick

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

check: lint test

slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

full: $(VENV)/installed
	$(BIN)/python -m experiments --preset full --all

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.imports
	$(BIN)/python -m benchmarks.rules
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.curvature
	$(BIN)/python -m benchmarks.sweeps
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.curves
	$(BIN)/python -m benchmarks.large_network

accelerator: $(VENV)/installed
	$(BIN)/python -m benchmarks.rules
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.curvature
	$(BIN)/python -m benchmarks.sweeps --few 2
	$(BIN)/python -m benchmarks.transformer
	$(BIN)/python -m experiments --preset huge --only convergence_rates escape_time

house: $(VENV)/installed
	@$(BIN)/python -m benchmarks.house

durations: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 20

docs: $(VENV)/installed
	@$(BIN)/python -c "import sphinx, myst_nb, sphinx_book_theme" 2>/dev/null || \
	  { echo "the site needs its extra: $(BIN)/pip install -c constraints.txt -e '.[docs]'" >&2; exit 2; }
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "Site: docs/_build/html/index.html"

release:
	bash .ci/release

.PHONY: help quick test lint check slow full bench accelerator docs release house durations
