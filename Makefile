# make demo | test | test-all | lint - each makes .venv from requirements.txt when it is missing.

PYTHON ?= python3
BIN := .venv/bin
PROCESSES ?= 2  # that share the tests; each with one thread, or they wait for one another

.PHONY: demo test test-all lint clean

demo: .venv/ready
	$(BIN)/python -m demos.tour

test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(PROCESSES)

test-all: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(PROCESSES) -m "slow or not slow"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Written last, so that an interrupted installation is started again.
.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch .venv/ready

clean:
	rm -rf .venv runs
