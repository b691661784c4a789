# Everything runs in an environment that is made here; nothing else is needed than
# Python 3.11 to 3.13 and a package registry.
PYTHON ?= python3
VENV ?= .venv

.PHONY: demo test test-all test-long lint format clean

demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py --out demo

test: $(VENV)/installed lint
	$(VENV)/bin/python -m pytest

test-all: $(VENV)/installed lint
	$(VENV)/bin/python -m pytest -m "long or not long"

test-long: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m long

lint: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/installed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

$(VENV)/installed: setup.py
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable ".[demo,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo
