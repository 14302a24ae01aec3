# Everything runs in .venv; a changed pyproject.toml or constraints.txt makes it anew.
PYTHON ?= python3
BIN := .venv/bin
# Where Python is told to keep no bytecode, every kernel and every rank would compile all it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all kill check lab bench soak matrix sbom clean

demo: .venv/ready ## real photographs, all stages, one to two minutes
	$(BIN)/inferkit run quickstart

test: .venv/ready-dev ## all tests but those that take minutes; two workers more than CPUs, since many wait for processes
	$(BIN)/python -m pytest -n $(shell expr $$(nproc) + 2) --dist loadgroup -m "not slow"

test-all: .venv/ready-dev ## those that take minutes as well
	$(BIN)/python -m pytest

kill: .venv/ready-dev ## kill everything at random instants and look at what is left; TRIALS of some seconds each
	$(BIN)/python -m tests.faults.kill --trials $(or $(TRIALS),1000)

check: .venv/ready-dev ## format, lint, types, and which room may import which
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: .venv/ready ## open the cockpit and the notebooks; root, as in containers, is let in
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/start.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root)

bench: .venv/ready ## what this machine can measure of inferkit itself
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

soak: .venv/ready-dev ## a long run of every reader and engine: are memory, descriptors and threads flat? SECONDS=7200
	$(BIN)/python -m tests.faults.soak --seconds $(or $(SECONDS),300)

matrix: .venv/ready-dev ## sdist and wheel on every Python, with the oldest and newest libraries; PYTHONS="3.12 /usr/bin/python3"
	PATH="$$PATH:$(BIN)"; $(BIN)/python -m tests.supply.matrix $(PYTHONS:%=--python %)

sbom: .venv/ready-dev ## what comes with inferkit, as CycloneDX, and the licences of it as a table: in dist/
	PATH="$$PATH:$(BIN)"; set -e; mkdir -p dist; uv venv -q --clear build/sbom; \
	uv pip install -q --python build/sbom -c constraints.txt -r pyproject.toml --extra measure --extra lab --extra demo; \
	uvx --from cyclonedx-bom cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		-o dist/inferkit.cdx.json build/sbom/bin/python; \
	$(BIN)/python tests/supply/licences.py dist/inferkit.cdx.json > dist/licences.md

# uv where it can be had (it is tried first), else pip, which takes a minute longer.
.venv/ready: pyproject.toml constraints.txt
	rm -rf .venv
	$(PYTHON) -m venv .venv
	command -v uv >/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check uv || true
	$(call install,.[measure$(comma)lab$(comma)demo])
	touch $@

.venv/ready-dev: .venv/ready
	$(call install,.[measure$(comma)lab$(comma)demo$(comma)dev])
	touch $@

comma := ,
define install
	PATH="$$PATH:$(BIN)"; \
	if command -v uv >/dev/null; then uv pip install -q --python $(BIN)/python -c constraints.txt -e '$(1)'; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '$(1)'; fi
endef

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
