# Each target does all of its own set-up from a bare Python 3.11+.
PYTHON ?= python3
TORCH_INDEX ?=
V := .venv/bin
SHELL := /bin/bash

.PHONY: setup check test test-trainers burst fuzz ceilings serve image k8s-check drill-alerts walk-alerts drills drills-full bench bench-full bench-gpu lock clean
setup: .venv/ready

.venv/ready: pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(V)/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(V)/python -m pip install -q -c constraints.txt -e '.[dev]' -e client
	touch $@

check: setup
	$(V)/ruff check . && $(V)/ruff format --check . && $(V)/lint-imports && $(V)/mypy

test: setup
	$(V)/python -m pytest

test-trainers: setup
	$(V)/python -m tests.trainers.environment
	.venv-trainers/bin/python -m pytest -c tests/trainers/pytest.ini --rootdir . tests/trainers

ceilings: setup
	$(V)/python -m tests.ceilings $(CEILINGS)

burst: setup
	$(V)/python -m pytest -s tests/live/test_burst.py --lag-ratio 3

fuzz: setup
	$(V)/python -m tests.fuzz $(FUZZ)

serve: setup
	$(V)/basereward serve

image: setup
	$(V)/python docker/build.py && $(V)/python -m tests.docker.drill

k8s-check:
	$(PYTHON) -m tests.k8s.environment && .venv-k8s/bin/python -m tests.k8s.check
	.venv-k8s/bin/python -m pytest -c tests/k8s/pytest.ini --rootdir . tests/k8s

drill-alerts: setup
	$(V)/python -m monitoring.drill

walk-alerts: setup
	$(V)/python -m monitoring.walkthrough

drills: setup
	$(V)/python -m pytest -c tests/drills/pytest.ini --rootdir . tests/drills $(DRILLS)

drills-full:
	$(MAKE) drills DRILLS='--full --figures build/drills.json'

bench: setup
	$(V)/python -m pip install -q -c constraints.txt -e '.[bench]' && $(V)/python -m benchmarks.baselines.environments
	$(V)/python -m benchmarks --set $(or $(SET),bench)

bench-full:
	$(MAKE) bench SET=full

bench-gpu: setup
	$(V)/python -m benchmarks --set gpu

lock: setup
	$(V)/python -m pip freeze --exclude-editable | grep -v '^torch==' > constraints.txt

clean:
	rm -rf .venv .venv-k8s dist build .pytest_cache .mypy_cache .ruff_cache
