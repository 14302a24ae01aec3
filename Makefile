# Everything runs in .venv; a changed pyproject.toml or constraints.txt makes it anew.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := -c constraints.txt -e '.[lab,demo,dev]'

.PHONY: demo test check lab bench clean

demo: .venv/ready ## real photographs, all stages, about a minute
	$(BIN)/inferkit run quickstart

test: .venv/ready ## all tests
	$(BIN)/python -m pytest

check: .venv/ready ## format, lint, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

lab: .venv/ready ## open the notebooks
	$(BIN)/jupyter lab --notebook-dir=.

bench: .venv/ready ## what this machine can measure of inferkit itself
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# uv where it can be had (it is tried first), else pip; a test machine without it takes a minute longer.
.venv/ready: pyproject.toml constraints.txt
	rm -rf .venv
	$(PYTHON) -m venv .venv
	if command -v uv >/dev/null; then uv pip install -q --python $(BIN)/python $(INSTALL); \
	elif $(BIN)/python -m pip install -q --disable-pip-version-check uv 2>/dev/null; then \
		$(BIN)/uv pip install -q --python $(BIN)/python $(INSTALL); \
	else $(BIN)/python -m pip install -q --disable-pip-version-check $(INSTALL); fi
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
