# Everything runs in an environment that is made here; nothing else is needed than
# Python 3.11 to 3.13 and a package registry.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= default,demo,dev,web,tensorboard,beam,onnx-export
CONSTRAINTS ?=

# Other Pythons: those on PATH, else pyenv's; or `make test-3.13 PYTHON313=PATH`.
PYENV_ROOT ?= $(HOME)/.pyenv
find_python = $(shell for python in python$(1) $(PYENV_ROOT)/versions/$(1).*/bin/python; \
	do "$$python" -c "" 2>/dev/null && echo "$$python" && break; done)
PYTHON311 ?= $(call find_python,3.11)
PYTHON312 ?= $(call find_python,3.12)
PYTHON313 ?= $(call find_python,3.13)

# Files of tests are shared out among the cores; a worker takes up to 2 GB. What takes
# longest is listed at the end.
SHARED = -n auto --maxprocesses 4 --dist loadfile --durations 15 --durations-min 10
PYTEST = $(VENV)/bin/python -m pytest $(SHARED)
PYTEST_ADDONS = .venv-addons/bin/python -m pytest $(SHARED)

.PHONY: demo docs test test-long coverage test-python test-3.12 test-3.13 \
	test-min test-addons addons-environment peers \
	lint format clean

demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py --out demo

# The site, in `site/`; broken links and unknown names are errors.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

test: $(VENV)/installed lint
	$(PYTEST)

test-long: $(VENV)/installed
	$(PYTEST) -m long

# Branch coverage of the suite of `make test`, in one process: coverage.py follows no
# workers.
coverage: $(VENV)/installed
	$(VENV)/bin/python -m coverage run -m pytest
	$(VENV)/bin/python -m coverage report

# `make test` on every further Python that is found.
test-python:
	$(if $(PYTHON312),$(MAKE) test-3.12,@echo "Not tested: no python3.12 was found.")
	$(if $(PYTHON313),$(MAKE) test-3.13,@echo "Not tested: no python3.13 was found.")

test-3.12 test-3.13: test-%:
	$(if $(PYTHON$(subst .,,$*)),,$(error no python$* on PATH or in $(PYENV_ROOT): \
	say PYTHON$(subst .,,$*)=PATH))
	$(MAKE) test PYTHON="$(PYTHON$(subst .,,$*))" VENV=.venv-$*

# `make test` on the lowest version that every range in setup.py allows; without Beam,
# which goes with no release of Pillow 11 (nor 13).
test-min: EXTRAS = default,demo,dev,web,tensorboard,heic,onnx-export
test-min: .venv-min/minimums.txt
	$(MAKE) test VENV=.venv-min EXTRAS=$(EXTRAS) CONSTRAINTS=$<

.venv-min/minimums.txt: setup.py tools/minimum_versions.py
	test -x .venv-min/bin/python || $(or $(PYTHON311),$(PYTHON)) -m venv .venv-min
	.venv-min/bin/python -m pip install --quiet --upgrade setuptools packaging
	.venv-min/bin/python tools/minimum_versions.py $(EXTRAS) > $@.new
	mv $@.new $@

# What runs on the addons stack (Python 3.11): layers, losses, networks, trainers and
# exports. All other code sees Keras and TensorFlow through these.
ADDONS_TESTS = \
	tests/test_addons_stack.py \
	tests/data/test_distortion.py \
	tests/layers tests/test_layers.py \
	tests/losses \
	tests/test_metrics.py \
	tests/models/test_backbones.py \
	tests/models/test_completion_options.py \
	tests/models/test_models.py \
	tests/models/test_networks.py \
	tests/training/test_critics.py \
	tests/training/test_distribution.py \
	tests/training/test_face.py \
	tests/training/test_hints.py \
	tests/training/test_optimizers.py \
	tests/training/test_training.py \
	tests/training/test_upkeep.py \
	tests/test_storage.py \
	tests/test_pipeline.py \
	tests/test_export.py tests/export/test_signatures.py

# The short tests of that list; then both stacks with each other, which are processes of
# their own: side by side.
test-addons: export PORTRAIT_TF_CROSS_STACK = required
test-addons: export PORTRAIT_TF_DEFAULT_PYTHON = $(abspath $(VENV)/bin/python)
test-addons: $(VENV)/installed addons-environment
	$(PYTEST_ADDONS) $(ADDONS_TESTS)
	$(PYTEST_ADDONS) --dist load -m "long or not long" tests/test_cross_stack.py

addons-environment:
	$(MAKE) .venv-addons/installed VENV=.venv-addons EXTRAS=addons,dev \
		PYTHON="$(or $(PYTHON311),$(PYTHON))"

# What users wait for, and the networks in other runtimes (docs/experiments.md).
peers:
	$(MAKE) .venv-peers/installed VENV=.venv-peers EXTRAS=default,onnx-export
	.venv-peers/bin/python -m pip install --quiet "openvino>=2026.4,<2027"
	.venv-peers/bin/python -m benchmarks.peers

lint: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/installed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

$(VENV)/installed: setup.py $(CONSTRAINTS)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS:%=--constraint %) \
		--editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) .venv-3.12 .venv-3.13 .venv-min .venv-addons .venv-peers demo
