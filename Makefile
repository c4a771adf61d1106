# Two commands for a newcomer: `make demo` and `make test`. Both make their own virtual environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= demo

.PHONY: demo demo-quick demo-colorize demo-events test lint docs bench clean

demo: $(VENV)/installed
	$(BIN)/imgturbo demo --out $(OUT)

demo-quick: $(VENV)/installed
	$(BIN)/imgturbo demo --quick --out $(OUT)

demo-colorize: OUT = demo-colorize
demo-colorize: $(VENV)/installed
	$(BIN)/imgturbo demo-colorize --out $(OUT)

demo-events: OUT = demo-events
demo-events: $(VENV)/installed
	$(BIN)/imgturbo demo-events --out $(OUT)

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/imgturbo config --schema --markdown > docs/config.md

bench: $(VENV)/installed
	$(BIN)/python benchmarks/translate_throughput.py
	$(BIN)/python benchmarks/flows.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) demo demo-colorize demo-events runs .pytest_cache .mypy_cache .ruff_cache
