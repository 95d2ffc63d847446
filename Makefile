# `make demo` and `make test` set everything up by themselves, in .venv.
# On a GPU node: make EXTRA=gpu install (docs/gpu_node.md).
EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(EXTRA)
# PyTorch's own index of CPU wheels, where pip does not see one by itself (README, Installation).
TORCH_INDEX ?=
# Empty: install the package itself, as an image needs it, not a link to this checkout.
EDITABLE ?= -e
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: install demo study acceleration test test-grid test-slurm test-fast check locks perf clean
.DEFAULT_GOAL := demo

install: $(READY)

demo: $(READY)
	$(BIN)/python -m rlvr_dynamics.run

# 10 runs and everything the papers show of theirs: under an hour and a half on 2 cores.
# python -m experiments.study --wide: 29 runs.
study: $(READY)
	$(BIN)/python -m experiments.study

# 17 runs with and without jumps of the weights, and what each was worth: under an hour and a half
# on 2 cores. python -m experiments.acceleration --help: further arms, rates and seeds.
acceleration: $(READY)
	$(BIN)/python -m experiments.acceleration

test: $(READY)
	$(BIN)/python -m pytest -m "not slurm and (slow or not grid)"

# Every algorithm and every architecture through verl and vLLM, and the rehearsal of the GPU check:
# about 30 minutes on 2 cores.
test-grid: $(READY)
	$(BIN)/python -m pytest -m grid tests/training/test_algorithms_training.py tests/training/test_architectures_training.py tests/experiments/test_gpu_check.py

# Needs Debian's slurm-wlm and munge.
test-slurm: $(READY)
	$(BIN)/python -m pytest -m slurm -rs tests/slurm/test_slurm_real.py

test-fast: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.mutants --check

# Whether cpu.txt and gpu.txt resolve on every Python; asks the package index, about a minute.
locks: $(READY)
	$(BIN)/python -m requirements $(INDEX)

perf: $(READY)
	$(BIN)/python -m perf

# The two sets do not mix: both bring a package vllm.
$(READY): pyproject.toml requirements/$(EXTRA).txt
	@for other in $(filter-out $(READY),$(wildcard $(VENV)/ready-*)); do \
	  echo "error: $(VENV) holds another set of packages ($$other). Run make clean first."; exit 1; \
	done
	@PYTHON="$(PYTHON)" VENV=$(VENV) sh requirements/make_environment.sh
	@if [ $(EXTRA) = cpu ]; then \
	  $(PIP) install --quiet $(INDEX) "$$(grep '^torch==' requirements/cpu.txt)" || { \
	    echo "error: pip sees no CPU build of PyTorch, and the ordinary one brings gigabytes of CUDA."; \
	    echo "Run again with TORCH_INDEX=URL, the index that pytorch.org/get-started/locally shows for pip and CPU."; \
	    exit 1; }; \
	fi
	$(PIP) install --quiet --progress-bar off $(INDEX) -c requirements/$(EXTRA).txt $(EDITABLE) '.[$(EXTRA),dev]'
	@# The CPU set draws in a CUDA torchvision, which breaks every model import of transformers.
	@if [ $(EXTRA) = cpu ]; then $(PIP) uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	@touch $@

clean:
	rm -rf $(VENV)
