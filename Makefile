# make install | demo | test | lint | bench | clean        (Python 3.10 to 3.12; CPU and CUDA machines alike)
#
#   PYTHON=python3.12     the interpreter that makes .venv
#   TORCH=cpu             PyTorch's CPU wheels: about 5 GB less than the default, which runs on CUDA and CPU
#   TORCH=system          keep the torch that the platform ships (Jetson): .venv sees the system's packages
#   EXTRAS=dev            without the synthetic drives and training, and their system libraries
#   JOBS=4                test processes
#   DATA=FOLDER           real photo sets for `make bench`

PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && exit; done; echo python3)
TORCH ?= pip
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
VENV ?= .venv
EXTRAS ?= dev,train,slam
CORES := $(shell OMP_NUM_THREADS= nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
JOBS ?= $(shell [ $(CORES) -gt 4 ] && echo 4 || echo $(CORES))

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What Open3D links to and bare machines and containers lack, each with its Debian package.
LIBRARIES := libGL.so.1:libgl1 libEGL.so.1:libegl1 libX11.so.6:libx11-6 libusb-1.0.so.0:libusb-1.0-0 \
  libudev.so.1:libudev1 libidn2.so.0:libidn2-0 libgomp.so.1:libgomp1

SIZE := $(if $(filter pip,$(TORCH)),7.3 GB with everything (about 5 GB of it for CUDA; make TORCH=cpu goes without),about 2.5 GB with everything)

.PHONY: install demo test lint bench clean distclean system
.DEFAULT_GOAL := install

install: $(STAMP)
	@echo "vpr_ros is in $(VENV). Next:  . $(BIN)/activate && vpr_ros $(if $(findstring train,$(EXTRAS)),demo,--help)"

# Before the long download: the interpreter, its venv module, and the system libraries. Root, as in a container, gets
# them installed; anybody else is told the one command.
system:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || { \
	  echo "vpr_ros needs Python 3.10 to 3.12, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo absent): say 'make PYTHON=python3.12'."; exit 1; }
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=; \
	[ -x $(BIN)/python ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$(notdir $(PYTHON))-venv"; \
	case ",$(EXTRAS)," in *,train,*) if command -v ldconfig >/dev/null; then for pair in $(LIBRARIES); do \
	  ldconfig -p | grep -q "$${pair%%:*} " || missing="$$missing $${pair#*:}"; done; fi;; esac; \
	missing=$$(echo $$missing); [ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing the system packages $$missing"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null && exit 0; \
	fi; \
	echo "these system packages are missing; on Debian and Ubuntu:"; echo "  sudo apt install $$missing"; \
	case ",$(EXTRAS)," in *,train,*) \
	  echo "(the libraries serve the synthetic drives; 'make EXTRAS=dev,lidar' leaves them and training out)";; esac; exit 1

$(BIN)/python: | system
	$(PYTHON) -m venv $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
	@touch $(VENV)/COLCON_IGNORE

$(STAMP): setup.py setup.cfg pyproject.toml $(BIN)/python | system
	@[ "$(TORCH)" != system ] || $(BIN)/python -c 'import torch' 2>/dev/null || { \
	  echo "TORCH=system, but this Python has no torch: install the platform's own, or leave TORCH out."; exit 1; }
	@echo "vpr_ros with [$(EXTRAS)] goes into $(VENV): $(SIZE); a few minutes, most of them download."
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=61" wheel
ifeq ($(TORCH),cpu)
	@echo "downloading PyTorch's CPU wheels:"
	$(BIN)/python -m pip install --index-url $(TORCH_INDEX) torch torchvision
endif
	@echo "downloading and installing the other packages:"
	$(BIN)/python -m pip install -e ".[$(EXTRAS)]"
	@touch $@

demo: $(STAMP)
	$(BIN)/vpr_ros demo --out demo_out --force

# One thread per process: with more, the workers' torch threads fight over the cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python benchmarks/student.py --out runs/bench_student
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/conditions.py --out runs/conditions
	$(BIN)/python benchmarks/place_map.py
	$(BIN)/python benchmarks/rendering.py
	$(BIN)/python benchmarks/sparse.py --out runs/bench_sparse
	$(BIN)/python benchmarks/distillation_step.py --out runs/bench_distillation_step
	$(BIN)/python benchmarks/teachers.py --out runs/teachers
	@if $(BIN)/python -c 'import rclpy' 2>/dev/null; then $(BIN)/python benchmarks/node.py --out runs/bench_node; \
	else echo "the node: skipped, rclpy does not import; source a ROS 2 and say make bench again"; fi
	@if [ -n "$(DATA)" ]; then $(BIN)/python benchmarks/real_sets.py --data "$(DATA)" && \
	$(BIN)/python benchmarks/drive_mean.py --data "$(DATA)" && \
	$(BIN)/python benchmarks/orientation.py --data "$(DATA)" && \
	$(BIN)/python benchmarks/probabilities.py --data "$(DATA)" --only real; \
	else echo "real photos: make bench DATA=FOLDER with corridor/, nordland_thumbs/ and sf_toy/ in it"; fi

clean:
	rm -rf build install log demo_out .pytest_cache .ruff_cache .hypothesis .coverage coverage.xml *.egg-info
	find vpr_ros training test benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
