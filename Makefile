# Everything runs in an environment that is made here; nothing else is needed than
# Python 3.11 to 3.13 and a package registry.
PYTHON ?= python3
VENV ?= .venv

# Files of tests are shared out among the cores; a worker takes up to 2 GB.
PYTEST = $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-all test-long lint format clean

demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py --out demo

test: $(VENV)/installed lint
	$(PYTEST)

test-all: $(VENV)/installed lint
	$(PYTEST) -m "long or not long"

test-long: $(VENV)/installed
	$(PYTEST) -m long

lint: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/installed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

$(VENV)/installed: setup.py
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable ".[demo,dev,web]"
	touch $@

clean:
	rm -rf $(VENV) demo
