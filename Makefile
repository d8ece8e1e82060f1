# Each target sets up its own environment from nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROVIDERS := providers/sql providers/launchdarkly providers/split providers/unleash
MANIFESTS := pyproject.toml $(PROVIDERS:%=%/pyproject.toml) contract_tests/pyproject.toml
WORKERS ?= 3

.PHONY: demo test check bench wheels docs peers clean

$(VENV)/.base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "flagbrake needs Python 3.11 or newer. Try: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.base $(MANIFESTS)
	$(PIP) --editable '.[cli,store]' --editable providers/sql
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --editable '.[cli,store,postgresql,emulator]' $(PROVIDERS:%=--editable %) --editable contract_tests --group test --group lint --group build
	@touch $@

# The real Unleash server, where Node can run it. Without Node, or without npm's registry, its tests skip and say so.
# npm by itself tries again in silence for minutes, so it is told to be short about it.
UNLEASH := tests/unleash/server
NPM := npm install --prefix $(UNLEASH) --ignore-scripts --no-package-lock --no-audit --no-fund --omit=dev --loglevel=error \
  --fetch-timeout=30000 --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000
$(UNLEASH)/node_modules/.installed: $(UNLEASH)/package.json
	@if node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null; then \
	  echo "npm installs the real Unleash server, once; it takes a minute."; \
	  for try in 1 2; do $(NPM) && touch $@ && exit 0; done; \
	  echo "npm could not install it: the tests against the real Unleash server are skipped."; \
	  test -z "$$FLAGBRAKE_REQUIRE_SERVERS"; \
	else echo "No Node 20 or newer: the tests against the real Unleash server are skipped."; fi

demo: $(VENV)/.demo
	$(BIN)/flagbrake demo

test: $(VENV)/.test $(UNLEASH)/node_modules/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.documentation --check

docs: $(VENV)/.test
	$(BIN)/python -m flagbrake_contract.docs > docs/contract.md
	$(BIN)/python -m tests.documentation

bench: $(VENV)/.test $(UNLEASH)/node_modules/.installed
	$(BIN)/python -m tests.bench startup
	$(BIN)/python -m tests.bench evaluation
	$(BIN)/python -m tests.bench propagation
	$(BIN)/python -m tests.bench launchdarkly
	$(BIN)/python -m tests.bench split
	$(BIN)/python -m tests.bench unleash

# Long proofs; `make test` runs their seeded short forms, docs/proofs/ holds the last full results.
proof-flagd-twin: $(VENV)/.test
	$(BIN)/python -m tests.proofs.flagd_twin --pairs 100000 --seed 1 --store

proof-launchdarkly-twin: $(VENV)/.test
	$(BIN)/python -m tests.proofs.launchdarkly_twin --pairs 200000 --seed 1 --store

proof-launchdarkly-writers: $(VENV)/.test
	$(BIN)/python -m tests.proofs.launchdarkly_writers --writes 1000 --store

proof-split-twin: $(VENV)/.test
	$(BIN)/python -m tests.proofs.split_twin --pairs 100000 --seed 1 --store

proof-split-writers: $(VENV)/.test
	$(BIN)/python -m tests.proofs.split_writers --writes 1000 --store

proof-unleash-twin: $(VENV)/.test
	$(BIN)/python -m tests.proofs.unleash_twin --pairs 100000 --seed 1 --store

proof-judge-tables: $(VENV)/.test
	$(BIN)/python -m tests.proofs.judge_tables --store

proof-rollout-crash: $(VENV)/.test
	$(BIN)/python -m tests.proofs.rollout_crash --runs 100 --store

# The published providers of others against our contract: a report, in an environment of its own.
.venv-peers/.installed: $(MANIFESTS)
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[cli,store,postgresql,emulator]' $(PROVIDERS:%=--editable %) --editable contract_tests --group peers
	@touch $@

peers: .venv-peers/.installed $(UNLEASH)/node_modules/.installed
	.venv-peers/bin/python -m tests.peers --write

wheels: $(VENV)/.test
	rm -rf dist
	for d in . $(PROVIDERS) contract_tests; do $(BIN)/python -m build --quiet --wheel --outdir dist $$d; done

clean:
	rm -rf $(VENV) .venv-peers $(UNLEASH)/node_modules dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
