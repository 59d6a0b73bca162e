"""Settings that every test shares."""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread():
    """Test processes share the cores; more threads in each only make them wait for one another."""
    import torch

    torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter, config):
    """One line for the folder that is left out without ROS 2; here and not in test/ros, so that xdist shows it too."""
    ros = Path(__file__).parent / "ros"
    asked = [Path(argument.split("::")[0]).absolute() for argument in config.args]
    if importlib.util.find_spec("rclpy") is None and any(p in (ros, *ros.parents) or ros in p.parents for p in asked):
        terminalreporter.write_line("ROS 2 is not here (rclpy cannot be imported): test/ros is skipped", yellow=True)
