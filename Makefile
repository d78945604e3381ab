# make env    creates .venv from requirements.txt, once        make demo   draws, trains and evaluates the demo set
# make test   runs the tests                                   make help   says this
# make export-demo   exports the demo run for TensorFlow Serving and prints how to serve it
#
# make PYTHON=python3.12 ... chooses the interpreter of a new .venv; delete .venv to choose anew.

PYTHON ?=
VENV := .venv
INSTALLED := $(VENV)/installed
DEMO := runs/demo
EXPORTS := exports

export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help env demo export-demo test

help:
	@sed -n '1,5s/^# *//p' Makefile

env: $(INSTALLED)

# The stamp is written last, so that an interrupted installation is taken up again. 3.11 first: the Keras 2 stack.
$(INSTALLED): requirements.txt
	@if ! $(VENV)/bin/python -c "import pip" 2>/dev/null; then \
	    python="$(PYTHON)"; \
	    if [ -z "$$python" ]; then python=$$(.ci/find-python 3.11 3.12 3.13 3.10 3.9) || exit 1; fi; \
	    echo "creating $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) || { \
	        echo "error: $$python cannot create $(VENV); choose another: make PYTHON=/path/to/python" >&2; exit 1; }; \
	fi
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $@

# A finished demo is evaluated again, an interrupted one is taken up where it stopped; nothing is overwritten.
demo: env
	@if [ -f $(DEMO)/summary.json ]; then \
	    echo "$(DEMO) is trained already; delete the folder to train anew"; \
	elif [ -e $(DEMO) ]; then \
	    echo "$(DEMO) was interrupted: going on (delete the folder to start anew)"; \
	    $(VENV)/bin/python train.py --run $(DEMO) --resume; \
	else \
	    $(VENV)/bin/python train.py --run $(DEMO); \
	fi
	$(VENV)/bin/python evaluate.py --run $(DEMO)

export-demo: env
	@if [ ! -f $(DEMO)/summary.json ]; then $(MAKE) demo; fi
	$(VENV)/bin/python export.py --run $(DEMO) --out $(EXPORTS) --name demo
	@printf '\nThe commands are for this folder:\n\ncd %s/serving\n\n' '$(EXPORTS)'
	@sed -n '/^## Start a server/,/^With the client/p' $(EXPORTS)/serving/README.md

test: env
	$(VENV)/bin/python -m pytest
