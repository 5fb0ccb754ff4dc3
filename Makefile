# Each target sets up what it needs on a machine that has Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Many tests wait for a server more than they compute; those of a file share one, so they stay together.
WORKERS ?= 3
COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-header pyproject.toml
# As many scenarios at once: each has a namespace, an Application and a repository of its own.
SCENARIOS ?= 2
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: docs demo test test-git test-serving test-cluster coverage soak check audit format bench lock clean

demo: $(READY) ## three promotions on this machine, the last aborted and restored, to look at in demo/
	$(VENV)/bin/promoter demo

test: $(READY) ## every test, of some that are slow a few cases; what this machine lacks is skipped by name
	$(VENV)/bin/python -m pytest --ignore=tests/cluster --numprocesses $(WORKERS) --dist loadfile $(ARGS)

coverage: $(READY) ## the tests once more, slower, with the branches of promoter/ that they reach; fails below the floor in pyproject.toml
	$(VENV)/bin/python -m pytest --ignore=tests/cluster --numprocesses $(WORKERS) --dist loadfile --cov $(ARGS)

test-serving: $(VENV)-serving/.ready ## the inference server's tests on another Python, 3.10 or newer: make test-serving PYTHON=python3.10
	$(VENV)-serving/bin/python -m pytest tests/test_serving*.py $(ARGS)

test-git: $(READY) ## the tests of Git, with the git of PATH; another one: PATH="$(.ci/git 2.31.0):$PATH" make test-git
	$(VENV)/bin/python -m pytest tests/test_git_*.py tests/test_gitops.py tests/test_repeat.py tests/test_rollback.py tests/test_restore.py tests/test_publish.py $(ARGS)

test-cluster: $(READY) ## the same promises on the cluster that KUBECONFIG and ARGOCD_SERVER name (tests/cluster/README.md)
	$(VENV)/bin/python -m pytest tests/cluster --timeout 7200 --numprocesses $(SCENARIOS) --dist loadfile $(ARGS)

soak: $(READY) ## the cases that `make test` leaves out, webhook deliveries while receivers are killed, ten promoters on a bad line, people next to reconciles, faults in gaps, many orders of steps, broken files, odd answers, requests to two servers; shorter: CASES=none DELIVERIES=500 SECONDS=60 PEOPLE=60 CELLS=40 ORDERS=1000 SEEDS=1000 ANSWERS=1000 REQUESTS=1000; the same again: SEED=...
	[ "$(CASES)" = none ] || $(VENV)/bin/python -m pytest --ignore=tests/cluster -m full --numprocesses $(WORKERS) --dist loadfile
	$(VENV)/bin/python -m tests.soak.webhook $(or $(DELIVERIES),10000)
	$(VENV)/bin/python -m tests.soak.gitops $(or $(SECONDS),300)
	$(VENV)/bin/python -m tests.soak.people $(or $(PEOPLE),600) $(SEED)
	$(VENV)/bin/python -m tests.soak.faults $(or $(CELLS),400) $(SEED)
	$(VENV)/bin/python -m tests.soak.interleavings $(or $(ORDERS),10000) $(SEED)
	$(VENV)/bin/python -m tests.soak.mutations $(or $(SEEDS),20000)
	$(VENV)/bin/python -m tests.soak.answers $(or $(ANSWERS),20000)
	$(VENV)/bin/python -m tests.soak.requests $(or $(REQUESTS),20000) $(SEED)

check: $(READY) ## formatting, lint, types, imports, workflows, the tree in ARCHITECTURE.md
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/zizmor --quiet --offline --no-progress .
	$(VENV)/bin/python docs/tree.py --check

audit: $(READY) ## known faults of the packages in the locks, and of the actions: it asks PyPI and GitHub
	$(VENV)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement requirements.lock
	$(VENV)/bin/zizmor --quiet --no-progress .

format: $(READY) ## formats the code, and writes the tree in ARCHITECTURE.md
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/python docs/tree.py

bench: $(READY) ## figures, against peers in the same run, written to docs/benchmarks.md
	$(VENV)/bin/python -m benchmarks

lock: $(READY) ## choose the newest versions that pyproject.toml allows: of everything, of what .ci/install needs, of the server with its tests, and of the site
	$(COMPILE) --upgrade --all-extras --group audit --group build --group dev --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --extra azure --extra github-app --extra mlflow --extra report --extra runtime --group build --output-file requirements.install.lock
	$(VENV)/bin/uv pip compile --universal --python-version 3.10 --generate-hashes --quiet --no-header --upgrade --output-file tests/serving-requirements.lock \
		promoter/serving/requirements.txt tests/serving-requirements.txt
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-header --upgrade --output-file docs/requirements.lock docs/requirements.txt

docs: $(READY) $(VENV)-docs/.ready ## the pages as a site, in .site/html: a link or an anchor that leads nowhere fails it
	rm -rf .site
	$(VENV)/bin/python docs/pages.py .site/pages
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) $(VENV)-serving $(VENV)-docs .tools .site demo

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { echo "the venv module is needed (Debian: python3-venv)" >&2; exit 2; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --require-hashes --requirement requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-docs/.ready: docs/requirements.lock
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $<
	@touch $@

# What an image of a model has (MLflow and the server's own requirements, not promoter's), and what its tests use.
$(VENV)-serving/.ready: tests/serving-requirements.lock
	$(PYTHON) -m venv $(VENV)-serving
	$(VENV)-serving/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $<
	@touch $@
