# One command per job, the same here and in CI. Arguments go through ARGS: make demo ARGS="--hours 3 --no-page"
ARGS :=
VENV := .venv
BIN := $(VENV)/bin

# The first python on PATH that is new enough; PYTHON=... overrides it.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$p -c '$(NEW_ENOUGH)' 2>/dev/null; then echo $$p; break; fi; done)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench meeting-brokers simulate simulate-mutants kill-ledger masked-proof kill-test safety \
	fuzz fuzz-envelopes remove-any-one flood release-check lint clean

demo: $(VENV)/.runtime
	$(BIN)/commonwatt demo $(ARGS)

# Two processes: many tests wait for timers and sockets, and two cores are what the suite's ten minutes are meant for.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

# DAYS with honest homes, LIAR_DAYS with liars; a seed that fails is kept in tests/simulation/seeds.txt. A long run is
# stopped and gone on with by ARGS="--results FILE".
DAYS := 100
LIAR_DAYS := 20
simulate: $(VENV)/.dev
	$(BIN)/python tests/simulation/simulate.py --days $(DAYS) --liar-days $(LIAR_DAYS) $(ARGS)

simulate-mutants: $(VENV)/.dev
	$(BIN)/python tests/simulation/simulate.py --mutants $(ARGS)

N := 500
kill-ledger: $(VENV)/.dev
	$(BIN)/python tests/simulation/kill_ledger.py $(N)

# Homes that meet at three brokers; two die, then all for three slots. A quarter of an hour.
meeting-brokers: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/meeting_brokers.py $(ARGS)

# Whether anybody can tell from 100 slots of traffic which of two homes has the battery; a quarter of an hour.
masked-proof: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/masked_proof.py $(ARGS)

# Guard and agent are killed and frozen at N random moments; a quarter of an hour on two cores.
kill-test: N := 200
kill-test: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/kill_test.py --moments $(N) $(ARGS)

# The safety case with the last results, into docs/safety.md.
safety: $(VENV)/.dev
	$(BIN)/python tests/safety_table.py $(ARGS)

# Broken answers through the whole reading path; nine minutes of processor time. Fewer, or another seed: make fuzz ARGS="20000 --seed 7"
fuzz: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/fuzz_frames.py $(ARGS)

# Made-up and broken messages into the verifier: N of them, in lots of 100,000; ARGS="--results FILE" goes on with a run.
fuzz-envelopes: N := 1000000
fuzz-envelopes: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/fuzz_envelopes.py $(N) $(ARGS)

# Eight homes, and every part taken away in turn; ten minutes. One row: ARGS="--row broker"; the document: ARGS=--write
remove-any-one: $(VENV)/.dev
	$(BIN)/python tests/remove/remove_any_one.py $(ARGS)

# A member sends a neighbour RATE messages a second for SECONDS.
SECONDS := 60
RATE := 1000
flood: $(VENV)/.dev
	$(BIN)/python tests/flood/flood.py --seconds $(SECONDS) --rate $(RATE) $(ARGS)

# Whether a wheel holds what this checkout holds: make release-check WHEEL=commonwatt-0.1.0-py3-none-any.whl
release-check: $(VENV)/.dev
	$(BIN)/python tests/release_check.py $(WHEEL)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Only what the targets above create; never an owner's configuration, key or ledger.
clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench.json
	find agent coordinator tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "Commonwatt needs Python 3.11 or newer; none was found$(if $(PYTHON), as '$(PYTHON)')." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }

# A stamp is newer than the files it was installed from; the demo does not wait for the test tools.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Commonwatt into $(VENV) (once) ..."
	@$(PIP_INSTALL) -e ".[broker,dashboard]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Commonwatt and its test tools into $(VENV) (once) ..."
	@$(PIP_INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.runtime
