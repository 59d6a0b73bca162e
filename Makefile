# make install | demo | test | lint | bench | clean        (Python 3.10 or newer; CPU and CUDA machines alike)
#
#   PYTHON=python3.12     the interpreter that makes .venv
#   TORCH=system          keep the torch that the platform ships (Jetson): .venv sees the system's packages
#   JOBS=4                test processes
#   DATA=FOLDER           real photo sets for `make bench`

PYTHON ?= python3
TORCH ?= pip
VENV ?= .venv
EXTRAS ?= dev,train
CORES := $(shell OMP_NUM_THREADS= nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
JOBS ?= $(shell [ $(CORES) -gt 4 ] && echo 4 || echo $(CORES))

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SYSTEM := $(VENV)/.system-libraries
APT := libgl1 libegl1 libx11-6 libusb-1.0-0 libudev1 libidn2-0 libgomp1

.PHONY: install demo test lint bench clean distclean
.DEFAULT_GOAL := install

install: $(STAMP)
	@$(MAKE) --no-print-directory $(SYSTEM) || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "vpr_ros needs Python 3.10 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo absent): say 'make PYTHON=python3.12'."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: run 'sudo apt install python3-venv python3-pip'."; exit 1; }
	$(PYTHON) -m venv $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
	@touch $(VENV)/COLCON_IGNORE

$(STAMP): $(BIN)/python setup.py setup.cfg pyproject.toml
	@[ "$(TORCH)" != system ] || $(BIN)/python -c 'import torch' 2>/dev/null || { \
	  echo "TORCH=system, but this Python has no torch: install the platform's own, or leave TORCH out."; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=61" wheel
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]"
	@touch $@

# Open3D (synthetic drives, LiDAR verification) links to libraries that bare machines and containers lack.
$(SYSTEM): $(STAMP)
	@$(BIN)/python -c 'import open3d' >/dev/null 2>$(VENV)/open3d.log && touch $@ || { \
	  echo "Open3D does not load: $$(tail -n 1 $(VENV)/open3d.log)"; \
	  echo "The synthetic drives and the LiDAR verification need it. On Debian and Ubuntu:"; \
	  echo "  sudo apt install $(APT)"; exit 1; }

demo: $(STAMP) $(SYSTEM)
	$(BIN)/vpr_ros demo --out demo_out --force

# One thread per process: with more, the workers' torch threads fight over the cores.
test: $(STAMP) $(SYSTEM)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(STAMP) $(SYSTEM)
	$(BIN)/python benchmarks/student.py --out runs/bench_student
	$(BIN)/python benchmarks/conditions.py --out runs/conditions
	$(BIN)/python benchmarks/place_map.py
	$(BIN)/python benchmarks/rendering.py
	$(BIN)/python benchmarks/sparse.py --out runs/bench_sparse
	$(BIN)/python benchmarks/distillation_step.py --out runs/bench_distillation_step
	$(BIN)/python benchmarks/teachers.py --out runs/teachers
	@if $(BIN)/python -c 'import rclpy' 2>/dev/null; then $(BIN)/python benchmarks/node.py --out runs/bench_node; \
	else echo "the node: skipped, rclpy does not import; source a ROS 2 and say make bench again"; fi
	@if [ -n "$(DATA)" ]; then $(BIN)/python benchmarks/real_sets.py --data "$(DATA)"; \
	else echo "real photos: make bench DATA=FOLDER with corridor/ and nordland_thumbs/ in it"; fi

clean:
	rm -rf build install log demo_out .pytest_cache .ruff_cache .hypothesis .coverage coverage.xml *.egg-info
	find vpr_ros training test benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
