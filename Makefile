# Every target is one line of a Python module; `make` lists them. Settings are environment variables, .env or make
# variables alike: make up DATA_DIR=/tmp/x KAFKA_PORT=19092
PYTHON ?= python3
PY := .venv/bin/python
RUN := $(PY) -m stack.run
SOURCE ?=
MAPPING ?=
INPUT ?=
OUTPUT ?=
ENGINE ?= local
RATE ?= 20
SECONDS ?= 60
ONLY ?=
FOLDS ?= 1
EVERY ?= 0
TEST_WORKERS ?= 3
LONG ?=
TROUBLE ?=
SAME ?=
MODEL ?= transaction_fraud
VERSION ?=
DRY_RUN ?=
CHOSEN = $(if $(VERSION),--version "$(VERSION)") $(if $(DRY_RUN),--dry-run)
START ?=
END ?=
FULL ?=
MUTANT ?=

.DEFAULT_GOAL := help
.PHONY: help setup up up-with-mlflow stop data docs apply train credit materialize stream produce serve demo status logs ui \
	check fix test bench bench-serve bench-stream chaos parity replay leakage promote rollback score lock clean ladder

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## install the Python, JVM and browser parts into the checkout; nothing when they are there
	@$(PYTHON) -m stack.install

up: setup ## start whichever embedded part is missing: Kafka, Redis (Valkey), MLflow
	@$(PY) -m stack.embedded

up-with-mlflow: setup
	@$(PY) -m stack.embedded --wait-for-mlflow

stop: ## end every process this project started, and nothing else
	@test ! -x $(PY) || $(PY) -m stack.stop

data: up ## raw files -> the validated event log; SOURCE= MAPPING= for your own, else the simulator
	@$(RUN) data pipelines.load --source "$(SOURCE)" --mapping "$(MAPPING)"

docs: setup ## write the data docs and print the file to open
	@$(RUN) docs pipelines.data_docs

apply: up ## register the feature definitions (feast apply)
	@$(PY) -m stack.feast_cli apply

train: up-with-mlflow ## train both models from the log as it was known; FULL=1 compares every method and searches parameters
	@$(RUN) train pipelines.train $(if $(FULL),--full)

credit: up-with-mlflow ## load applications, score them in ten folds, register: SOURCE=german.data, or SOURCE= MAPPING=
	@$(RUN) credit pipelines.credit --source "$(SOURCE)" --mapping "$(MAPPING)"

materialize: up ## compute every entity's state from the log into the online store; START= END= as Feast takes them
	@$(PY) -m stack.feast_cli materialize $(START) $(END)

stream: up ## start fold (Kafka -> online store), archive (-> log) and alerts; ONLY=fold|archive|alerts FOLDS=n|spark
	@$(PY) -m stack.services stream --only "$(ONLY)" --folds "$(FOLDS)"

produce: up ## send live events and their labels; RATE= a second for SECONDS=
	@$(RUN) produce streaming.produce --rate "$(RATE)" --seconds "$(SECONDS)"

serve: up-with-mlflow ## start the REST API
	@$(PY) -m stack.services serve

demo: setup ## all of it, then one user scored from a live event and proved offline; leaves it running
	@$(PY) -m stack.demo --source "$(SOURCE)" --mapping "$(MAPPING)"

status: setup ## processes, ports, lag, positions, champion, and what to run next
	@$(PY) -m stack.status

logs: setup ## where the logs are, and the end of each
	@$(PY) -m stack.logs

ui: setup ## start Feast's UI; print its address and MLflow's
	@$(PY) -m stack.ui

check: setup ## format, lint, types, schemas of compose and workflow, Dockerfile
	@$(PY) -m stack.check

fix: setup ## let ruff format and repair what it can
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

test: check ## check, then the tests, with a real broker, store and Spark; LONG=1: those of a minute or more too
	@$(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(if $(LONG),,-m 'not long')

bench: setup ## speed of history, materialize and online reads, and memory of the store
	@$(RUN) bench pipelines.bench

bench-stream: setup ## throughput of the fold, and freshness of what is read; OUTAGE=3600: how long catching up with as many seconds takes
	@$(RUN) bench-stream streaming.bench $(if $(OUTAGE),--only catch_up --outage $(OUTAGE))

bench-serve: setup ## the REST API under open-loop load; TROUBLE=1: and killed parts, SAME=1: 10,000 users asked in three ways
	@$(RUN) bench-serve serving.bench $(if $(TROUBLE),--trouble) $(if $(SAME),--same)

chaos: setup ## kill processes under load and count what was lost or doubled; MUTANT=all: without a safeguard it must fail
	@$(if $(MUTANT),$(PY) tests/chaos_mutants.py $(MUTANT),$(RUN) chaos streaming.chaos)

parity: setup ## recompute logged answers from the event log, name what differs and why; EVERY=60 goes on, with metrics
	@$(RUN) parity pipelines.parity --every "$(EVERY)"

replay: setup ## dead letters with their reasons, into a file to repair; INPUT= sends repaired ones, none twice
	@$(RUN) replay streaming.replay --input "$(INPUT)"

leakage: setup ## six ways to let the future in: what each shows and what its model is worth, on the loaded log
	@$(RUN) leakage pipelines.leakage

ladder: up ## what each kind of feature adds, on a world of 3,000 users and 120 days of its own (minutes)
	@$(RUN) ladder pipelines.ladder

promote: setup ## make a trained version the champion: MODEL= VERSION= (default: the newest); DRY_RUN=1 only checks
	@$(RUN) promote pipelines.promote "$(MODEL)" $(CHOSEN)

rollback: setup ## make the champion before this one the champion again: MODEL=; DRY_RUN=1 only checks
	@$(RUN) rollback pipelines.rollback "$(MODEL)" $(CHOSEN)

score: setup ## score a file of requests, each as of its own instant; INPUT= OUTPUT= (ENGINE=spark for large ones)
	@$(RUN) score pipelines.score --input "$(INPUT)" --output "$(OUTPUT)" --engine "$(ENGINE)"

lock: setup ## compile requirements/*.lock and package-lock.json anew from what is declared
	@$(PY) -m stack.lock

clean: setup ## stop everything and delete what the project generated under DATA_DIR, not what was installed
	@$(PY) -m stack.clean
