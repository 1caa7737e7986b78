# make train        set up, get the data, train and test a network      (ARGS="-e 5 -o nadam", RESUME=runs/NAME)
# make test         set up and run all checks
# make report       draw every figure and page of the report anew from the recorded results
# make experiments  run the experiments themselves, or go on with them: a day or two
# make test-thorough  the same with twenty times as many drawn examples and the heavier oracles

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: train test test-thorough check mutants fuzz report experiments clean

train: $(VENV)/.run
	$(BIN)/python train.py --wandb_entity myname --wandb_project myprojectname $(if $(RESUME),--resume $(RESUME)) $(ARGS)

# One BLAS thread for each of the two processes that share the tests: see fnn/threads.py.
test: check
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

test-thorough: check
	OPENBLAS_NUM_THREADS=1 FNN_PROFILE=thorough $(BIN)/python -m pytest -n 2 $(ARGS)
	$(BIN)/python -m tests.mutants
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.kills 200 0

report: $(VENV)/.report
	$(BIN)/python -m reports.build

experiments: $(VENV)/.test
	$(PIP) -e ".[peers]"
	$(BIN)/python -m reports.experiments

check: $(VENV)/.test
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/basedpyright --warnings | tail -n 20

mutants: $(VENV)/.test
	$(BIN)/python -m tests.mutants

fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "setting up $(VENV): about a minute"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "adding the tools of the tests"
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.report: $(VENV)/.run
	$(PIP) -e ".[report]"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
