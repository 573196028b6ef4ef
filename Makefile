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

DEMO_CONFIG := configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml
DEMO_VOCABULARY := woman,person; uniform,jacket; hat,cap; flag; tie,necktie; wall=stuff
DEMO_PHOTOGRAPH := from matplotlib import cbook; print(cbook.get_sample_data('grace_hopper.jpg', asfileobj=False))
DEMO_OUTPUT := demo_output

BENCHMARKS := $(filter-out tools/benchmark_pq.py,$(wildcard tools/benchmark*.py))  # that one needs a dataset

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench

help:  ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(DEVELOPMENT)  ## make .venv with everything that the other targets need

demo: $(RUNTIME)  ## segment a photograph (with random weights) into demo_output/
	$(BIN)/python demo/demo.py --config-file $(DEMO_CONFIG) --random-weights --vocabulary "$(DEMO_VOCABULARY)" \
	    --input "$$($(BIN)/python -c "$(DEMO_PHOTOGRAPH)")" --output $(DEMO_OUTPUT) \
	    --opts MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD 0.05

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
