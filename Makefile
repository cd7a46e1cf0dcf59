# The two commands: `make run` does the main job in front of you, `make test` passes the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test shuffle faults attack check bench fmt clean
run: $(STAMP)
	$(BIN)/tabane up --demo $(ARGS)

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal -q -p no:randomly $(ARGS)

# The same in a random order, to find tests that lean on each other; the gate itself runs in one order.
shuffle: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal -q $(ARGS)

# The long form of the fault suite: every fault under the whole fleet. `make test` has the short one.
faults: $(STAMP)
	$(BIN)/python -m tests.faults $(ARGS)

attack: $(STAMP)
	$(BIN)/python -m tests.faults.stolen_session $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/sizes.py

bench: $(STAMP)
	$(BIN)/python -m bench $(ARGS)

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)
