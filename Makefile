# Everything installs into .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo

.PHONY: demo test check install bench clean

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	rm -rf $(DEMO)
	$(BIN)/lesionsplit phantom $(DEMO)/phantom --normal 450 --lesion 450 --size 256
	$(BIN)/lesionsplit predict $(DEMO)/phantom/images/lesion_1*.png -o $(DEMO)/predicted
	$(BIN)/lesionsplit train --config demo --data $(DEMO)/phantom --run $(DEMO)/run --cache $(DEMO)/cache
	$(BIN)/lesionsplit evaluate --weights $(DEMO)/run/weights.safetensors --data $(DEMO)/phantom --out $(DEMO)/evaluation
	@echo
	@echo "Look at:"
	@echo "  $(DEMO)/predicted/*_overlay.png        what the weights in the box find in phantom slices"
	@echo "  $(DEMO)/run/pictures/                  the network learning, step by step"
	@echo "  $(DEMO)/evaluation/examples.png        slices taken apart, beside what is truly there"
	@echo "  $(DEMO)/evaluation/precision-recall.png"

test: install
	$(BIN)/pytest -n 2

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks --docs docs/performance.md

clean:
	rm -rf build dist .venv
