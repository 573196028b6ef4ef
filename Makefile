# `make help` lists the targets. Everything runs in .venv, which is set up once and reused.
#
#   PYTHON=python3.12            the Python that .venv is made with
#   TORCH_INSTALL="torch==..."   what pip is given to install PyTorch (see INSTALL.md)

PYTHON ?= python3
TORCH_INSTALL ?= torch torchvision

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

DEMO_OUTPUT := demo_output
DEMO_SCENE := --seed 72 --width 384 --height 384
# Red stars and hearts of any colour were not in the training of the masks. Not all of these are in the scene.
DEMO_VOCABULARY := red star; purple heart; blue star; red circle; purple ring; grass=stuff; gravel=stuff; snow=stuff; water=stuff

BENCHMARKS := $(filter-out tools/benchmark_pq.py,$(wildcard tools/benchmark*.py))  # that one needs a dataset

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench

help:  ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(DEVELOPMENT)  ## make .venv with everything that the other targets need

demo: $(RUNTIME)  ## segment a rendered scene, some of whose classes were never seen in training, into demo_output/
	$(BIN)/python -m fcclip.data.panoshapes $(DEMO_OUTPUT)/scene.png $(DEMO_SCENE)
	$(BIN)/python demo/demo.py --model panoshapes --input $(DEMO_OUTPUT)/scene.png --output $(DEMO_OUTPUT)/segmented.png \
	    --vocabulary "$(DEMO_VOCABULARY)"
	@echo "For a photograph of yours, fetch a published checkpoint (INSTALL.md, Weights), and then:"
	@echo '$(BIN)/python demo/demo.py --input photo.jpg --output out.png --vocabulary "cat; sofa" --opts MODEL.WEIGHTS FILE'

test: $(DEVELOPMENT)  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8

lint: $(DEVELOPMENT)  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOPMENT)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(RUNTIME)  ## measure speed and memory
	@for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

# PyTorch comes first: Detectron2's source archive cannot even tell its metadata without it. Detectron2 comes last, when
# what it imports is there.
$(RUNTIME): pyproject.toml requirements.txt tools/install_detectron2.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=22.3' 'setuptools>=68' wheel
	$(PIP) $(TORCH_INSTALL)
	$(PIP) --editable .
	$(BIN)/python tools/install_detectron2.py
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(PIP) --editable '.[dev]'
	touch $@
