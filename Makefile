# Everything installs into .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo

.PHONY: demo test test-without-torch test-mindspore campaign coverage check docs install bench clean

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	rm -rf $(DEMO)
	$(BIN)/lesionsplit phantom $(DEMO)/phantom --normal 450 --lesion 450 --size 256
	$(BIN)/lesionsplit predict $(DEMO)/phantom/images/lesion_1*.png -o $(DEMO)/predicted
	$(BIN)/lesionsplit train $(DEMO)/phantom --config demo --run $(DEMO)/run --cache $(DEMO)/cache
	$(BIN)/lesionsplit evaluate $(DEMO)/phantom --weights $(DEMO)/run/weights.safetensors --out $(DEMO)/evaluation
	@echo
	@echo "Look at:"
	@echo "  $(DEMO)/predicted/*_overlay.png        what the weights in the package find"
	@echo "  $(DEMO)/run/pictures/                  sample slices during training"
	@echo "  $(DEMO)/evaluation/examples.png        predictions beside the true lesions"
	@echo "  $(DEMO)/evaluation/precision-recall.png"

# Two tests at a time. PyTorch gets one thread in what they start, too: threads that spin would take the other test's core.
test: install test-without-torch
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# What `pip install lesionsplit` gives, in an environment of its own: prediction without PyTorch.
test-without-torch: .venv-predict/.installed
	.venv-predict/bin/python -m pytest -q -c /dev/null --rootdir=. --confcutdir=tests/without_torch -p no:cacheprovider \
	  tests/without_torch

.venv-predict/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-predict
	.venv-predict/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e . 'pytest>=8'
	touch $@

# MindSpore takes 2.7 GB and NumPy 1, so it has an environment of its own.
test-mindspore: .venv-mindspore/.installed
	.venv-mindspore/bin/pytest tests/mindspore --timeout 1800

.venv-mindspore/.installed: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv .venv-mindspore
	.venv-mindspore/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-mindspore/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mindspore,train]' \
		'pytest>=8' 'pytest-timeout>=2.3'
	touch $@

campaign: install
	$(BIN)/python -m tests.reliability --docs docs/reliability.md --json build/campaign.json

coverage: install
	$(BIN)/pytest -n 2 --cov=lesionsplit --cov-report=term:skip-covered

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html; for the search: $(BIN)/python -m http.server -d build/site"

bench: install
	$(BIN)/python -m benchmarks --docs docs/performance.md

clean:
	rm -rf build dist .venv .venv-predict .venv-mindspore
