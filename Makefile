# Every target creates and uses .venv; nothing is installed outside it. A line of two hashes is what `make help` says.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo
BENCHES := bench-encoder bench-core bench-contract bench-inference bench-method bench-dicom
MORE_BENCHES := bench-cold-start bench-engines bench-backends bench-parity

.DEFAULT_GOAL := help
.PHONY: help demo install test test-fast test-cpp lint format bench $(BENCHES) $(MORE_BENCHES) clean

## help              these lines
help:
	@sed -n 's/^## /make /p' $(firstword $(MAKEFILE_LIST))

## demo              make a phantom study, train, export, verify, label a test patient; ends with demo/report.html
demo: $(STAMP)
	$(BIN)/cmc demo --output $(DEMO)

## install           create .venv and install into it; all other targets do so by themselves
install: $(STAMP)

# Idle processes take over the tests of busy ones.
PROCESSES := -n 2 --dist worksteal

## test              all tests
test: $(STAMP)
	$(BIN)/python -m pytest $(PROCESSES)

## test-fast         all tests but the slow ones
test-fast: $(STAMP)
	$(BIN)/python -m pytest $(PROCESSES) -m "not slow"

## test-cpp          the native core's own tests; PRESET=dev, clang, asan, tsan or aarch64
# Needs cmake, ninja and googletest's sources (Debian: libgtest-dev); no Python.
PRESET ?= dev
test-cpp:
	@for tool in cmake ninja ctest; do command -v $$tool >/dev/null || { echo "test-cpp NOT RUN: $$tool is missing (Debian: cmake ninja-build)" >&2; exit 1; }; done
	cmake --preset $(PRESET) && cmake --build --preset $(PRESET) && ctest --preset $(PRESET)

## lint              style and types
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --package cmc_sdk

## format            mend what can be mended of style
format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## bench             the first six of these, one after the other:
bench: $(BENCHES)

## bench-encoder     the short form of padded-window attention against the public one
## bench-core        the native core against scipy, nnU-Net's way and torch
## bench-contract    planned bytes beside measured peaks; limits that are refused or kept
## bench-inference   the runtime against MONAI's sliding window, from the file to the label
## bench-method      what the losses do to Dice, on real anatomy
## bench-dicom       scanning and reading DICOM beside pydicom alone
## bench-cold-start  from the start of a process to the first window
## bench-engines     building TensorRT-RTX engines ahead of time, without a GPU
## bench-backends    backends and precisions of this processor, side by side
## bench-parity      exported graphs against the network: RUN=runs/NAME
$(BENCHES) $(MORE_BENCHES): bench-%: $(STAMP)
	$(BIN)/python -m benchmarks.$(subst -,_,$*) $(if $(filter parity,$*),$(RUN))

# What the installed package is built from; Python modules are found where they stand.
NATIVE := $(wildcard CMakeLists.txt CMakePresets.json) $(shell find cpp_bindings -type f -not -path '*/tests/*')
$(STAMP): pyproject.toml constraints.txt cmc_sdk/version.py $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

## clean             remove .venv, builds and the demo
clean:
	rm -rf $(VENV) build dist *.egg-info $(DEMO)
