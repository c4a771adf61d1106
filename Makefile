# Two commands for a newcomer: `make demo` and `make test`. Both make their own virtual environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= demo

.PHONY: demo demo-quick demo-colorize demo-events test test-oldest lint docs bench clean

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

# The site, offline, every warning an error: docs/_build/html/index.html. config.md is made of docstrings.
docs: $(VENV)/installed
	$(BIN)/imgturbo config --schema --markdown > docs/config.md
	$(BIN)/python -m sphinx -b html -q -W --keep-going -d docs/_build/doctrees docs docs/_build/html

# The lower bounds of pyproject.toml, installed, and a part of the suite that leads through all rooms.
# What came later than a bound may deprecate how it is called; nothing of ours can mend that.
OLDEST ?= .venv-oldest
SMOKE  := tests/sky/test_stretch.py tests/sky/test_read.py tests/data/test_store.py \
          tests/flows/test_coupling.py tests/bundle/test_shipped.py tests/test_flow_job.py

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -q -W default::DeprecationWarning $(SMOKE)

$(OLDEST)/installed: pyproject.toml scripts/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) scripts/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --editable . pytest hypothesis \
	  --constraint $(OLDEST)/oldest.txt
	touch $@

bench: $(VENV)/installed
	$(BIN)/python benchmarks/translate_throughput.py
	$(BIN)/python benchmarks/flows.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) docs/_build demo demo-colorize demo-events runs .pytest_cache .mypy_cache .ruff_cache
