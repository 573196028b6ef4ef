# `make help` lists the targets. Everything runs in .venv, which is set up once and reused.
#
#   PYTHON=python3.12            the Python that .venv is made with
#   TORCH_INSTALL="torch==..."   what pip is given to install PyTorch, if not what pyproject.toml asks for (see INSTALL.md)
#   IMAGE=photo.jpg NAMES="..."  for `make demo`: a photograph of yours, and what to look for in it

PYTHON ?= python3
MODEL ?= fcclip_convnext_large
LOWEST_PYTHON ?= python3.10

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

LOWEST := .venv-lowest

DEMO_OUTPUT := demo_output
DEMO_CLIP := --seed 3 --width 256 --height 256 --frames 40
DEMO_CLIP_VOCABULARY := blue triangle; cyan star; blue hourglass; red ring; white star; grass=stuff; brick=stuff; water=stuff; snow=stuff
DEMO_SCENE := --seed 72 --width 384 --height 384
# Red stars and hearts of any colour were not in the training of the masks. Not all of these are in the scene.
DEMO_VOCABULARY := red star; purple heart; blue star; red circle; purple ring; grass=stuff; gravel=stuff; snow=stuff; water=stuff

BENCHMARKS := $(filter-out tools/benchmark_pq.py,$(wildcard tools/benchmark*.py))  # that one needs a dataset

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-video scene photograph test test-lowest coverage audit lint format docs attack faults bench

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: $(DEVELOPMENT)  ## make .venv with everything that the other targets need

demo: $(if $(IMAGE),photograph,scene)  ## segment IMAGE by NAMES; without them a rendered scene, offline; into demo_output/

# Some of the scene's classes were never seen in training.
scene: $(RUNTIME)
	$(BIN)/python -m fcclip.data.panoshapes $(DEMO_OUTPUT)/scene.png $(DEMO_SCENE)
	$(BIN)/fcclip segment $(DEMO_OUTPUT)/scene.png --model panoshapes --output $(DEMO_OUTPUT)/segmented.png \
	    --vocabulary "$(DEMO_VOCABULARY)"
	@echo
	@echo 'For a photograph of yours (the first time this fetches a model of photographs, 1.4 GB):'
	@echo '  make demo IMAGE=photo.jpg NAMES="cat; sofa; wall=stuff"'
	@echo 'or, with more options:'
	@echo '  $(BIN)/fcclip segment photo.jpg --output segmented.png --vocabulary "cat; sofa; wall=stuff"'

# IMAGE and NAMES reach the command by the environment: they may hold any character.
photograph: export IMAGE := $(IMAGE)
photograph: export NAMES := $(NAMES)
photograph: $(RUNTIME)
	$(BIN)/fcclip segment "$$IMAGE" --model $(MODEL) --output $(DEMO_OUTPUT)/ $${NAMES:+--vocabulary "$$NAMES"}

demo-video: $(RUNTIME)  ## follow objects through a rendered clip, offline; into demo_output/
	$(BIN)/python -m fcclip.data.panoshapes $(DEMO_OUTPUT)/clip.mp4 $(DEMO_CLIP)
	$(BIN)/fcclip video $(DEMO_OUTPUT)/clip.mp4 --model panoshapes --output $(DEMO_OUTPUT)/followed.mp4 \
	    --vocabulary "$(DEMO_CLIP_VOCABULARY)"

test: $(DEVELOPMENT)  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8

test-lowest:  ## run the tests with the lowest versions that pyproject.toml allows, on the oldest Python
	test -x $(LOWEST)/bin/python || $(LOWEST_PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tools/requirements.py --lowest > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet 'pip>=22.3' 'setuptools>=77' wheel
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/lowest.txt --editable '.[lowest]'
	$(LOWEST)/bin/python tools/install_detectron2.py
	$(LOWEST)/bin/python -m pip check
	$(LOWEST)/bin/python -m pytest -n auto --maxprocesses 8

coverage: $(DEVELOPMENT)  ## run the tests, and list the lines and branches of the package that none of them reaches
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cov --cov-report=term-missing

# Strictly: by itself pip-audit finds no weakness in what the service does not know, or where it cannot be asked. Detectron2 is
# on no index; the build of PyTorch (+cpu) is none of a version's.
audit: $(DEVELOPMENT)  ## ask whether what is installed has known weaknesses
	$(BIN)/python -m pip freeze --exclude-editable | grep -v ' @ ' | sed 's/+.*//' > $(VENV)/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement $(VENV)/installed.txt

lint: $(DEVELOPMENT)  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOPMENT)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEVELOPMENT)  ## build the site of documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo 'To read it at http://127.0.0.1:8000/: $(BIN)/python -m http.server --directory site --bind 127.0.0.1'

attack: $(DEVELOPMENT)  ## give everything that reads something thousands of wrong inputs; count how they end
	TQDM_DISABLE=1 $(BIN)/python -m tests.attack

faults: $(DEVELOPMENT)  ## kill every command at random moments, repeat it, and compare with an undisturbed run (Linux)
	$(BIN)/python -W ignore -m tests.faults

bench: $(RUNTIME)  ## measure speed and memory
	@for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

# Detectron2 comes last, when what it imports is there.
$(RUNTIME): pyproject.toml requirements.txt fcclip/install_detectron2.py
	@echo 'setting up $(VENV): this fetches PyTorch and other packages, which may take minutes without a word; INSTALL.md says how much'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=22.3' 'setuptools>=77' wheel
	$(if $(TORCH_INSTALL),$(PIP) $(TORCH_INSTALL))
	$(PIP) --editable .
	$(BIN)/python tools/install_detectron2.py
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(PIP) --editable '.[dev]'
	touch $@
