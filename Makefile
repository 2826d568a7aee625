# Every target creates and uses .venv; nothing is installed outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo

.PHONY: demo test test-fast test-cpp lint bench bench-encoder bench-core bench-contract bench-method bench-inference bench-backends bench-parity bench-dicom bench-cold-start bench-engines clean

demo: $(STAMP)
	$(BIN)/cmc demo --output $(DEMO)

# Idle processes take over the tests of busy ones.
PROCESSES := -n 2 --dist worksteal

test: $(STAMP)
	$(BIN)/python -m pytest $(PROCESSES)

test-fast: $(STAMP)
	$(BIN)/python -m pytest $(PROCESSES) -m "not slow"

# PRESET=dev, clang, asan, tsan or aarch64. Needs cmake, ninja and googletest's sources (Debian: libgtest-dev); no Python.
PRESET ?= dev
test-cpp:
	@for tool in cmake ninja ctest; do command -v $$tool >/dev/null || { echo "test-cpp NOT RUN: $$tool is missing (Debian: cmake ninja-build)" >&2; exit 1; }; done
	cmake --preset $(PRESET) && cmake --build --preset $(PRESET) && ctest --preset $(PRESET)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --package cmc_sdk

bench: bench-encoder bench-core bench-contract bench-inference bench-method bench-dicom

bench-encoder: $(STAMP)
	$(BIN)/python -m benchmarks.encoder

bench-core: $(STAMP)
	$(BIN)/python -m benchmarks.core

bench-contract: $(STAMP)
	$(BIN)/python -m benchmarks.contract

bench-method: $(STAMP)
	$(BIN)/python -m benchmarks.method

bench-inference: $(STAMP)
	$(BIN)/python -m benchmarks.inference

bench-dicom: $(STAMP)
	$(BIN)/python -m benchmarks.dicom

bench-cold-start: $(STAMP)
	$(BIN)/python -m benchmarks.cold_start

# Needs no GPU: engines are built ahead of time with TensorRT-RTX, not executed.
bench-engines: $(STAMP)
	$(BIN)/python -m benchmarks.engines

bench-backends: $(STAMP)
	$(BIN)/python -m benchmarks.backends

# RUN=runs/NAME: the run whose network is exported and compared.
bench-parity: $(STAMP)
	$(BIN)/python -m benchmarks.parity $(RUN)

$(STAMP): pyproject.toml constraints.txt $(wildcard CMakeLists.txt cpp_bindings/CMakeLists.txt cpp_bindings/core/* cpp_bindings/core/include/*/* cpp_bindings/python/* cpp_bindings/python/include/*/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info $(DEMO)
