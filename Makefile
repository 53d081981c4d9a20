# make demo and make test do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo test lint types check column prove bench bench-full server down clean

install: $(READY)

# A fresh environment with exactly the pinned, hashed packages (the lock is complete, so nothing is resolved); the
# project itself is linked in.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("allclear needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps -r requirements.lock 2> $(VENV)/install.log || { cat $(VENV)/install.log; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation --editable . 2>> $(VENV)/install.log || { cat $(VENV)/install.log; exit 1; }
	@touch $(READY)

demo: install
	@$(BIN)/allclear demo

# Files in memory where there is room: what is killed here is processes, not power. Four at a time on two cores, because
# servers and browsers are waited for.
ROOM := $(shell [ "$$(df -k --output=avail /dev/shm 2> /dev/null | tail -1)" -gt 4000000 ] 2> /dev/null && echo TMPDIR=/dev/shm)

PROOFS := $(addprefix tests/prove/test_,$(addsuffix .py,crash_matrix real_postgres simulator real_kills crash_and_fault real_restarts real_duels real_kill_switch))

test: install
	$(ROOM) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# The proofs of docs/reliability.md at the size that CI runs (`make test` runs a part of them): some minutes.
column: install
	ALLCLEAR_PROVE=ci $(ROOM) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(PROOFS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

check: lint types test

# The long column of docs/reliability.md; `make prove N=20000` runs that many simulated schedules only.
prove: install
	@$(BIN)/python -m tests.prove $(N)

# Ratios against peers of the same run (under ten minutes); tables, JSON and a chart in bench/results. docs/scale.md.
bench: install
	$(BIN)/python -m bench

# With DBOS as a further peer, in an environment of its own (a few minutes more when it is there to be had).
bench-full: install
	@test -x .venv-bench/bin/python || { $(PYTHON) -m venv .venv-bench && .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check "dbos==3.4.0" aiohttp uvloop || { echo "DBOS cannot be installed here: it is left out"; rm -rf .venv-bench; }; }
	$(BIN)/python -m bench --full

# Prefect on this machine: pages, schedules and a worker (docs/prefect.md). `make down` stops what `make server` started.
server: install
	@flows/server.sh up

down:
	@flows/server.sh down

clean:
	rm -rf var out .pytest_cache .mypy_cache .ruff_cache .hypothesis
