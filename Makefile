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

release:
	bash .ci/release

.PHONY: help quick test lint check slow full bench release
