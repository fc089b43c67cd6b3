# `make` prints the targets. PYTHON= chooses the interpreter (unset: the one that made .venv, else python3).
PYTHON ?=
PORT ?= 8000
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo servers test consistency bench check format lock clean

help:
	@echo 'make demo         the whole site on SQLite, populated, at http://127.0.0.1:$(PORT)  (PORT=9000 for another port)'
	@echo 'make servers      PostgreSQL with a standby, and MariaDB or MySQL, until Ctrl-C; prints their addresses for a shell'
	@echo 'make test         every test that this machine can run; what it cannot run is named, with the remedy'
	@echo 'make consistency  100,000 reads on replicas that fall behind, then the controls, in some ten minutes'
	@echo 'make bench        what we claim about speed, beside what one would take instead; in some ten minutes'
	@echo 'make check        lint, types, import rules, missing migrations, the deploy check'
	@echo 'make format       rewrite the code in the house style'
	@echo 'make lock         pin the requirements anew from pyproject.toml'
	@echo 'make clean        remove the virtual environment and the demo data'
	@echo 'PYTHON=python3.13 make ... chooses the interpreter (3.11 or newer)'

demo: $(VENV)/.embedded
	@DEMO=on exec $(BIN)/python manage.py demo --port $(PORT)

servers: $(VENV)/.dev
	@exec $(BIN)/python -m tests.servers

# The application's tests run twice, the second time on real servers; not when ARGS chooses tests, nor when they are gone.
TWICE := $(if $(filter-out -%,$(ARGS)),,$(wildcard tests/servers/__main__.py))
test: $(VENV)/.dev
	@$(BIN)/python -m pytest --numprocesses auto $(ARGS)
	@$(if $(TWICE),$(BIN)/python -m tests.servers $(BIN)/python -m pytest tests/apps --numprocesses auto --maxprocesses 8 $(filter-out --cov%,$(ARGS)))

consistency: $(VENV)/.dev
	@$(BIN)/python -m tests.servers.consistency --reads 100000 $(ARGS)

bench: $(VENV)/.dev
	@$(BIN)/python -m bench.breaker
	@echo
	@$(BIN)/python -m bench.routing
	@echo
	@$(BIN)/python -m bench.outbox
	@echo
	@$(BIN)/python -m bench.events

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find apps templates -name '*.html' | xargs $(BIN)/djade --check --target-version 5.2
	$(BIN)/mypy .
	$(BIN)/lint-imports
	@DEMO=on $(BIN)/python manage.py makemigrations --check --dry-run
	@SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') ALLOWED_HOSTS=example.com \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find apps templates -name '*.html' | xargs $(BIN)/djade --target-version 5.2

lock: $(VENV)/.dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" bin/lock

clean:
	rm -rf $(VENV) var

# Each of these files marks a finished step: one that was interrupted is done again.
$(VENV)/.embedded: requirements/embedded.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@ $(VENV)/.embedded

$(VENV)/.python: .FORCE
	@bin/venv $(VENV) $(PYTHON)

.PHONY: .FORCE
.FORCE:
