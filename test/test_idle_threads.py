"""Threads that wait for work must not burn the processor of a robot meanwhile."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from vpr_ros.idle_threads import SETTINGS, let_idle_threads_sleep


def test_what_the_user_has_set_stays(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    let_idle_threads_sleep()
    assert {name: os.environ[name] for name in SETTINGS} == {**SETTINGS, "GOMP_SPINCOUNT": "7"}


@pytest.mark.parametrize("module", ["vpr_ros.cli.app", "vpr_ros.nodes.main", "vpr_ros.idle_threads"])
def test_entry_points_import_no_number_library_before_it_is_called(module):
    code = f"import sys, {module}; print({{'numpy', 'torch', 'cv2', 'faiss'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("call", ["vpr_ros.cli.app:main", "vpr_ros.nodes.main:vpr_node", "vpr_ros.nodes.main:recorder"])
def test_entry_points_call_it_before_anything_else(call, monkeypatch):
    """Each is stopped at the first thing that it does."""

    class Called(BaseException):
        pass

    def stop():
        raise Called

    name, _, entry = call.partition(":")
    module = import_module(name)
    monkeypatch.setattr(module, "let_idle_threads_sleep", stop)
    with pytest.raises(Called):
        getattr(module, entry)()
