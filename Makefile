# The two commands of the README are `make demo` and `make test`; everything else is a part of them or beside them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export SAMEASK_HOST ?= 127.0.0.1
export SAMEASK_PORT ?= 8000
DEMO_DATA := demo-data
# Python compiles a module where it is first imported, and keeps that. Compiling all that pip installs takes more than a minute.
unexport PYTHONDONTWRITEBYTECODE
URL := http://$(SAMEASK_HOST):$(SAMEASK_PORT)
LARGER := releases/mpnet-questions
LARGER_BASE := bases/all-mpnet-base-v2

.PHONY: demo larger serve test test-all test-backends test-cluster durability fuzz bench peers pictures soak check static settings reference docs format clean

demo: $(VENV)/.installed ## install, load the example corpus, serve it
	SAMEASK_DATA_DIR=$(DEMO_DATA) $(BIN)/sameask import examples/questions.csv
	@echo
	@echo "Open $(URL) in a browser, once the line below says that Sameask answers there (half a minute or so), and type a question."
	@echo "Or, in another terminal:"
	@echo
	@echo "  curl -s $(URL)/duplicates -H 'Content-Type: application/json' \\"
	@echo "    -d '{\"questions\": [\"How do I give a client outside our company access to a folder?\"], \"top_k\": 2}'"
	@echo
	SAMEASK_DATA_DIR=$(DEMO_DATA) $(BIN)/sameask serve

larger: $(LARGER_BASE) ## the demo with the larger release; its base (400 MB) is downloaded and checked
	$(MAKE) demo SAMEASK_RELEASE=$(LARGER) DEMO_DATA=$(DEMO_DATA)-larger

ifneq ($(shell nvidia-smi -L 2>/dev/null | grep '^GPU'),) # a GPU takes the larger release by itself
demo: $(LARGER_BASE)
demo: export SAMEASK_RELEASE ?= $(LARGER)
endif

$(LARGER_BASE): | $(VENV)/.installed
	$(BIN)/sameask base $(@F)

serve: $(VENV)/.installed ## serve the data directory of SAMEASK_DATA_DIR
	$(BIN)/sameask serve

test: static ## every check and every test but the slow ones, in two processes
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: static ## the slow tests too
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

BACKENDS := torch-bf16 openvino-fp32 openvino-bf16 openvino-int8
ON_EACH := tests/engine/test_state_machine.py tests/engine/test_durability.py tests/engine/test_live_release.py \
  tests/engine/test_batching.py tests/engine/models/test_backends.py tests/test_detector.py
test-backends: $(VENV)/.installed-dev ## what must hold on every backend, on each but torch, which `test` runs; on a GPU with BACKENDS=torch-fp16
	for backend in $(BACKENDS); do HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TEST_BACKEND=$$backend \
	  $(BIN)/python -m pytest -q -n 2 --dist worksteal $(ON_EACH) || exit 1; done

OVER_POSTGRESQL := tests/engine/index tests/engine/test_shared_live_release.py tests/test_replicas.py \
  tests/engine/test_postgres.py tests/engine/test_copying.py tests/engine/test_store.py tests/engine/test_labels.py \
  tests/engine/test_training_runs.py tests/engine/test_activations.py tests/engine/test_state_machine.py tests/engine/test_gone_collections.py \
  tests/test_keys.py tests/test_detector.py tests/promises tests/webhook tests/http tests/web/test_questions.py tests/web/test_review.py tests/cli/test_database.py tests/releases tests/test_agreement.py
test-cluster: $(VENV)/.installed-dev ## the tests of what is stored, and of what is asked over HTTP, over PostgreSQL; servers and primaries killed for FAULT_SECONDS
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TEST_STORE=postgresql $(BIN)/python -m pytest -q -n 2 --dist worksteal $(OVER_POSTGRESQL) -m "not slow and not data_directory"
	HF_HUB_OFFLINE=1 FAULT_SECONDS=$(or $(FAULT_SECONDS),120) $(BIN)/python -m pytest -q -s tests/cluster

durability: $(VENV)/.installed-dev ## kill -9 at ROUNDS random moments, and see that nothing acknowledged is lost
	HF_HUB_OFFLINE=1 ROUNDS=$(or $(ROUNDS),300) $(BIN)/python -m pytest tests/engine/test_durability.py \
	  --log-cli-level=INFO --log-disable=alembic.runtime.migration

fuzz: $(VENV)/.installed-dev ## REQUESTS random requests (at least) from the OpenAPI document, a quarter as many raw ones, costly ones and files, broken releases
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(or $(REQUESTS),20000) $(if $(SEED),--seed $(SEED))

BENCH_QUESTIONS ?= examples/questions.csv
bench: $(VENV)/.installed ## every benchmark over BENCH_QUESTIONS (and BENCH_PAIRS, labelled), its tables into docs/performance.md; needs wrk
	-$(MAKE) peers
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/report.py --questions $(BENCH_QUESTIONS) \
	  $(if $(BENCH_PAIRS),--pairs $(BENCH_PAIRS)) $(if $(BENCH_LIMIT),--limit $(BENCH_LIMIT)) $(if $(BENCH_KEEP),--keep $(BENCH_KEEP))

peers: $(VENV)/peers/infinity/.installed $(VENV)/peers/txtai/.installed $(VENV)/peers/semhash/.installed ## what `make bench` compares with

$(VENV)/peers/infinity/.installed: PEER := infinity-emb[torch,optimum,server]==0.0.78
$(VENV)/peers/txtai/.installed: PEER := txtai[api]==9.14.0
$(VENV)/peers/semhash/.installed: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --target $(@D) --no-deps semhash==0.5.0 \
	  vicinity==0.4.6 usearch==2.26.6 numkong==7.8.6 model2vec==0.10.0 pyversity==0.2.0 frozendict==2.5.1 orjson==3.13.0
	touch $@

$(VENV)/peers/%/.installed: constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check "$(PEER)" $(shell grep '^torch==' constraints.txt)
	touch $@

pictures: $(VENV)/.installed-dev ## renew the pictures of docs/img/ by the browser's walk through the page
	HF_HUB_OFFLINE=1 PICTURES=1 $(BIN)/python -m pytest -q tests/web/test_browser.py

soak: $(VENV)/.installed ## MINUTES of mixed load; fails if resident memory grows by more than 5 %
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/soak.py --minutes $(or $(MINUTES),20)

check: static ## ruff, formatting, types, architecture, container files
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_containers.py

static: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/hadolint Dockerfile

settings: $(VENV)/.installed-dev ## renew the table of docs/settings.md
	$(BIN)/python -m tests.test_readme

reference: $(VENV)/.installed-dev ## renew docs/reference.md
	$(BIN)/python -m tests.test_reference

format: $(VENV)/.installed-dev ## rewrite the code as `check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev ## build the pages of docs/ into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) $(DEMO_DATA) $(DEMO_DATA)-larger site

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing into $(VENV), for some minutes."
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[cluster,openvino,training]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
