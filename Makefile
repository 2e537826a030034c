# Every target runs in .venv, which tests/hosts/bootstrap.sh makes from requirements.lock.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# Ansible is run hundreds of times; what it imports is compiled once.
unexport PYTHONDONTWRITEBYTECODE
PART := tests/gates/part
# The live link, so that mypy knows the modules by the names that they are imported by.
LIVE := .ansible/collections/ansible_collections/skywalking/oap_proxy
READY := .venv/.ready
# Two parts at a time, each shown when it has ended.
TOGETHER := $(MAKE) --jobs=2 --output-sync=target
# One part that failed does not keep the parts beside it from being shown.
MAKEFLAGS += --keep-going --no-print-directory

##@ See it work
demo: machine ## Start two real OAPs, a proxy host and real agents, and show what arrives where
	@python -m tests.hosts.demo up

demo-down: machine ## Remove the hosts of `make demo`
	@python -m tests.hosts.demo down

##@ Test everything
# What is soon known first, then the longest, so that both cores have work to the end. The outages are
# measured against the clock of what they do, so nothing else runs beside them.
test: machine-for-tests ## Gates, molecule, tests on hosts; `make faults`, `packages`, `matrix` and `controllers` have the rest
	@$(TOGETHER) images sanity lint types unit versions specs install-test \
	  faults-short capabilities upgrade-short changes-short distributions balancing mainline molecule
	@$(MAKE) resilience

##@ Test a part
gates: $(READY) ## All that needs no host: lint, types, sanity, unit tests, specifications, versions, installation
	@$(TOGETHER) lint types sanity unit versions specs install-test

lint: lint-ansible lint-yaml lint-python lint-format lint-changelog ## ansible-lint (production), yamllint, ruff and antsibull-changelog

lint-ansible: $(READY)
	@$(PART) ansible-lint ansible-lint

lint-yaml: $(READY)
	@$(PART) yamllint yamllint --strict .

lint-python: $(READY)
	@$(PART) 'ruff check' ruff check

lint-format: $(READY)
	@$(PART) 'ruff format' ruff format --check

lint-changelog: $(READY)
	@$(PART) antsibull-changelog antsibull-changelog lint

types: $(READY) ## mypy, strict, on plugins and tests
	@$(PART) mypy mypy $(LIVE)/plugins tests

sanity: $(READY) ## ansible-test sanity, for every Python from 3.9 that is installed
	@$(PART) 'ansible-test sanity' python -m tests.gates.sanity

unit: $(READY) ## Unit tests of modules and module_utils
	@$(PART) 'unit tests' pytest tests/unit

specs: $(READY) ## Hold defaults, argument specifications and documentation together
	@$(PART) specifications pytest tests/gates/test_specs.py

versions: $(READY) ## Render for every nginx from 1.13.10 to the mainline, parse, and ask a real mainline
	@$(PART) versions pytest tests/gates/test_versions.py

install-test: $(READY) ## Build the collection, install it elsewhere, and use it from there
	@$(PART) installation pytest tests/gates/test_install.py

molecule: machine-for-tests ## molecule's default scenario: site.yml end to end against real OAPs
	@$(PART) 'molecule default' molecule test

distributions: machine-for-tests ## molecule's other scenario: Debian 11, 12, 13 and sid, with everything
	@$(PART) 'molecule distributions' molecule test --scenario-name distributions

matrix: machine-for-tests ## Every nginx from 1.18 to the mainline on a host: deployment, fallback, streams, reload, names
	@$(PART) matrix pytest tests/matrix

mainline: machine-for-tests ## The same for the mainline alone, without its container
	@$(PART) mainline pytest tests/matrix -k 'mainline and not container'

faults: machine-for-tests ## The fault table, each row on nginx 1.18, 1.22, 1.26 and 1.30, bad input, and changes
	@rm -f .build/faults.json
	@$(MAKE) faults-every changes

faults-every: machine-for-tests
	@$(PART) faults pytest tests/faults --every-nginx

faults-short: machine-for-tests ## The same on nginx 1.22, and on the others what a reload does
	@$(PART) 'faults, short' pytest tests/faults

changes: machine-for-tests ## A run killed at every place, power cuts, and 100 changes in a row under load
	@$(PART) changes pytest tests/changes

changes-short: machine-for-tests ## The same without containers, and those under load that are rolled back
	@$(PART) 'changes, short' pytest tests/changes -k 'not container and not half-bad'

faults-page: $(READY) ## docs/faults.md anew from what `make faults` has measured
	@python -m tests.faults.table

capabilities: machine-for-tests ## TLS, tokens, access lists, limits, further services, the access log
	@$(PART) capabilities pytest tests/capabilities

upgrade: machine-for-tests ## nginx replaced by another one under load, by one that cannot serve, by a container
	@$(PART) upgrade pytest tests/upgrade

upgrade-short: machine-for-tests ## The same without moves that were killed, and those with published ports
	@$(PART) 'upgrade, short' pytest tests/upgrade -k 'not (test_move and (killed or published))'

controllers: machine-for-tests ## Every ansible-core from 2.16 on: deployment, check, refusal, move, removal
	@$(PART) controllers pytest tests/controllers

packages: machine-for-tests ## nginx from a repository of nginx.org's shape: key, version, hold, and back
	@$(PART) packages pytest tests/packages

balancing: machine-for-tests ## How 1,000 calls fall, by balancing method
	@$(PART) balancing pytest tests/balancing

resilience: machine-for-tests ## OAPs killed, vanished and back: what calls and streams see of it
	@$(PART) resilience pytest tests/resilience

bench: machine-for-tests ## Measure the playbook, changes under load, reloads, and what a call costs
	@python -m tests.bench

##@ Make
build: $(READY) ## The collection as a tarball in .build/
	@ansible-galaxy collection build --force --output-path .build

changelog: $(READY) ## CHANGELOG.rst from changelogs/fragments
	@antsibull-changelog release --refresh --update-existing

LOCK := uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links
lock: $(READY) ## requirements.lock anew from requirements.in, and those of tests/controllers
	@$(LOCK) --python-version 3.12 requirements.in -o requirements.lock
	@for wanted in tests/controllers/*.in; do \
	  $(LOCK) --python-version "$$(sed 's/.*# python //' "$$wanted")" "$$wanted" -o "$${wanted%.in}.lock"; \
	done

images: machine-for-tests ## Build the images of all test hosts
	@$(PART) images python -m tests.gates.images

clean: ## Remove what the targets made in this checkout, .venv too
	@rm -rf .build .venv tests/output .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# What runs hosts needs an engine that answers now; what runs none needs .venv alone.
machine:
	@$(PART) bootstrap tests/hosts/bootstrap.sh
	@touch $(READY)

machine-for-tests:
	@$(PART) bootstrap tests/hosts/bootstrap.sh test
	@touch $(READY)

$(READY): requirements.lock
	@$(PART) bootstrap tests/hosts/bootstrap.sh
	@touch $(READY)

.PHONY: demo demo-down test gates lint lint-ansible lint-yaml lint-python lint-format \
  lint-changelog types sanity unit specs versions install-test molecule distributions matrix mainline \
  faults faults-every faults-short faults-page changes changes-short capabilities packages upgrade upgrade-short \
  balancing controllers resilience bench build changelog lock images machine machine-for-tests clean help
