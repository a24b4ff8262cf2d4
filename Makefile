# Two commands from a fresh clone, each on its own: `make demo` and `make test`. `make` lists the others.
# PYTHON=... picks the interpreter (3.11 or newer); without it python3 is tried first, then the newer names.

PYTHON ?= python3
INTERPRETERS := $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.14 python3.13 python3.12 python3.11)
ENV := .venv/.installed
ENGINES := .venv/.engines
MMAL := .venv/bin/mmal

DEMO_TRAIN := 3000
DEMO_TEST := 900
DEMO_SIZE := 32
DEMO_QMS := random badge bmmal
DEMO_SEEDS := 0 1
DEMO_JOBS := 2
DEMO_RUNS := $(foreach qm,$(DEMO_QMS),$(foreach seed,$(DEMO_SEEDS),demo-$(qm)-$(seed)))

.PHONY: help demo test engines lint bench clean distclean figures fusions report $(DEMO_RUNS)
.DEFAULT_GOAL := help

help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "make table1 ... table4, table7 ... table16: the paper's tables; SCALE=quick for minutes on two cores"

# make shows each command before it runs it. What is done already is found done by mmal itself, so a second `make demo` goes on.
demo: $(ENV) ## Makes a small synergy dataset, runs 3 query methods x 2 seeds on the CPU, prints the AULC and rank tables.
	@mkdir -p demo && date +%s > demo/.started
	$(MMAL) gen-quint --setting synergy-small --train $(DEMO_TRAIN) --test $(DEMO_TEST) --size $(DEMO_SIZE) --out demo/data/synergy-small
	@$(MAKE) --no-print-directory -j $(DEMO_JOBS) $(DEMO_RUNS)
	$(MMAL) aulc demo/runs --out demo/results/aulc.yaml
	$(MMAL) rank demo/results/aulc.yaml --out demo/results/rank.yaml
	@echo "==> the demo took $$(( $$(date +%s) - $$(cat demo/.started) )) s; runs and tables are in demo/"

# demo-<qm>-<seed>: DEMO_JOBS of them at once, one thread each, which for networks this small is faster than one with two threads.
$(DEMO_RUNS): demo-%:
	OMP_NUM_THREADS=1 $(MMAL) al-run --data demo/data/synergy-small --qm $(word 1,$(subst -, ,$*)) --regime mid \
	  --seed $(word 2,$(subst -, ,$*)) --with quick --no-moddrop --gpu none --out demo/runs

# The paper's tables and figures, from nothing: datasets, cells, tables. Each goes on where it was interrupted.
#   make table2                      SCALE=quick: small stand-ins, in minutes on two cores; ENGINE=slurm or ray
#   make table4 FOOD101_SOURCE=... MIMIC_IV=... MIMIC_IV_ECG=...       a dataset without a source: its cells stay empty
SCALE ?= paper
ENGINE ?= local
SWEEP ?=
DATA ?= data
RUNS ?= $(if $(filter quick,$(SCALE)),runs-quick,runs)
RESULTS ?= $(if $(filter quick,$(SCALE)),results-quick,results)
SMALL := $(if $(filter quick,$(SCALE)),-small)
QUINT := $(if $(SMALL),--train $(DEMO_TRAIN) --test $(DEMO_TEST) --size $(DEMO_SIZE))

TABLES := $(addprefix table,1 2 3 4 7 8 9 10 11 12 13 14 15 16)
MISSING := $(DATA)/missing$(SMALL)/dataset.yaml
UNIQUE := $(DATA)/unique$(SMALL)/dataset.yaml
SYNERGY := $(DATA)/synergy$(SMALL)/dataset.yaml
# empty where the dataset is not there and cannot be made
SHARE := $(if $(SHARE_SOURCE)$(wildcard $(DATA)/share/dataset.yaml),$(DATA)/share/dataset.yaml)
FOOD101 := $(if $(FOOD101_SOURCE)$(wildcard $(DATA)/food101/dataset.yaml),$(DATA)/food101/dataset.yaml)
MIMIC := $(if $(MIMIC_IV)$(wildcard $(DATA)/mimic/dataset.yaml),$(DATA)/mimic/dataset.yaml)
FIGURES := 7 8 $(if $(SHARE),9 10) 11 12 13 14 $(if $(FOOD101),15) $(if $(MIMIC),16)

.PHONY: $(TABLES)
table1 table2 table3: $(MISSING) $(SHARE) $(UNIQUE) $(SYNERGY)
table4: $(FOOD101) $(MIMIC)
table7 table8: $(MISSING)
table9 table10: $(SHARE)
table11 table12: $(UNIQUE)
table13 table14: $(SYNERGY)
table15: $(FOOD101)
table16: $(MIMIC)

# Failed cells (exit 4) do not hide what was measured: tables show what there is, and make then fails as the sweep did.
$(TABLES): $(if $(filter local,$(ENGINE)),$(ENV),$(ENGINES))
	@$(MMAL) sweep $@ --engine $(ENGINE) --scale $(SCALE) --skip-missing --data-root $(DATA) --out $(RUNS) $(SWEEP); ended=$$?; \
	  [ $$ended -eq 0 ] || [ $$ended -eq 4 ] || exit $$ended; \
	  $(MMAL) aulc $(RUNS) --grid $@ --scale $(SCALE) --data-root $(DATA) --out $(RESULTS)/$@-aulc.yaml || exit $$(( ended ? ended : $$? )); \
	  $(if $(filter table3,$@),$(MMAL) rank $(RESULTS)/$@-aulc.yaml --stats --allow-incomplete --out $(RESULTS)/$@-rank.yaml \
	    || exit $$(( ended ? ended : $$? ));) exit $$ended

# As with a table: what fails does not hide the rest, and make fails at the end.
figures: ## Makes tables 7 to 16, then the report page and the figures of all runs there are.
	@ended=0; $(MAKE) --no-print-directory -k $(addprefix table,$(FIGURES)) || ended=2; \
	  $(MAKE) --no-print-directory report || ended=2; exit $$ended

FUSIONS := $(sort $(filter-out __init__,$(basename $(notdir $(wildcard mmal_cli/fusions/*.py)))))

fusions: $(UNIQUE) $(SYNERGY) $(if $(filter local,$(ENGINE)),$(ENV),$(ENGINES)) ## Runs the grid fusions once for each fusion, then one table of all.
	@ended=0; for fusion in $(FUSIONS); do \
	  echo "==> $$fusion"; \
	  $(MMAL) sweep fusions --engine $(ENGINE) --scale $(SCALE) --data-root $(DATA) --set model.fusion=$$fusion \
	    --out $(RUNS)-fusions/$$fusion $(SWEEP) || ended=$$?; \
	  [ $$ended -eq 0 ] || [ $$ended -eq 4 ] || exit $$ended; \
	done; \
	$(MMAL) aulc $(RUNS)-fusions --by model.fusion --out $(RESULTS)/fusions-aulc.yaml || exit $$(( ended ? ended : $$? )); exit $$ended

report: $(ENV) ## Makes the report page and the figures of all runs there are.
	$(MMAL) report $(RUNS) --out $(RESULTS)/report

$(DATA)/missing$(SMALL)/dataset.yaml $(DATA)/unique$(SMALL)/dataset.yaml $(DATA)/synergy$(SMALL)/dataset.yaml: $(DATA)/%/dataset.yaml: | $(ENV)
	$(MMAL) gen-quint --setting $* $(QUINT) --out $(@D)

$(DATA)/share/dataset.yaml: | $(ENV)
	$(MMAL) prepare-share $(SHARE_SOURCE) --out $(@D)

$(DATA)/food101/dataset.yaml: | $(ENV)
	$(MMAL) prepare-food101 $(FOOD101_SOURCE) --out $(@D)

$(DATA)/mimic/dataset.yaml: | $(ENV)
	$(MMAL) prepare-mimic $(MIMIC_IV) $(MIMIC_IV_ECG) --out $(@D)

test: $(ENV) ## Runs the tests, in two processes of one thread each.
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist worksteal

engines: $(ENGINES) ## Tests the engines slurm (as root, where Slurm's daemons are) and ray, for real.
	.venv/bin/python -m pytest -m "slurm or ray" -rs tests/test_engines_slurm.py tests/test_engines_ray.py

lint: $(ENV) ## Checks the code's style and its formatting.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

bench: $(ENV) ## Measures speed, beside a plain reference in the same run.
	$(MMAL) bench --out $(RESULTS)/speed

clean: ## Removes build outputs, caches and demo/.
	rm -rf build dist *.egg-info demo .pytest_cache .ruff_cache .hypothesis
	find mmal_cli data_recipes tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Removes .venv too.
	rm -rf .venv mmal_cli/*.so

# The environment. The stamp is written last: an interrupted installation goes on at the next `make`.
$(ENV): pyproject.toml setup.py constraints.txt mmal_cli/_image_ops.h mmal_cli/_image_ops.c
	@if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	  found=; for python in $(INTERPRETERS); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "error: Python 3.11 or newer not found (tried $(INTERPRETERS)); name one by: make PYTHON=/path/to/python3" >&2; exit 2; \
	  fi; \
	  echo "==> making .venv with $$found"; \
	  $$found -m venv --clear .venv; \
	fi
	@echo "==> installing mmal and what it needs into .venv (once; some minutes, up to 3 GB where torch comes with CUDA)"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,mimic,own,food101,report]' -c constraints.txt
	@touch $@

$(ENGINES): $(ENV)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[slurm,ray]' -c constraints.txt
	@touch $@
