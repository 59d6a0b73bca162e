"""Checkpoints as people save them: keys, prefixes, what trainers leave beside the weights, and wrong endings."""

import argparse
import os
import pickle
from pathlib import PurePosixPath

import naive_student as naive
import numpy as np
import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import read_checkpoint
from vpr_ros.tensor_files import STATE_KEYS, read_tensors, without_shared_prefix

STATE = {"stem.weight": torch.arange(6.0).reshape(2, 3), "stem.bias": torch.zeros(2), "head.weight": torch.ones(2, 2)}
BESIDE = {
    "epoch_num": 12,
    "recalls": np.array([91.2, 95.0, 96.1]),
    "counts": np.arange(3),
    "best_r5": np.float64(95.0),
    "best_epoch": np.int64(11),
    "names": np.array(["pitts", "msls"]),
    "args": argparse.Namespace(lr=1e-4, save_dir=PurePosixPath("logs")),
    "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
}


def test_a_training_file_with_numpy_recalls_and_two_prefixes_is_read_as_the_weights_alone(tmp_path):
    """As D2-VPR's own training saves it, here also compiled."""
    state = naive.published_state()
    wrapped = {f"module._orig_mod.{key}": value for key, value in state.items()}
    torch.save({**BESIDE, "model_state_dict": wrapped}, tmp_path / "last_model.pth")
    read = read_checkpoint(tmp_path / "last_model.pth")
    assert read.metadata["kind"] == "d2vpr" and not read.metadata["ignored"]
    assert torch.equal(read.model.recovery.lift.weight, state["backbone.lin.weight"])


@pytest.mark.parametrize("key", STATE_KEYS)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_under_the_usual_names(tmp_path, key, zipped):
    path = tmp_path / "saved.pth"
    torch.save({**BESIDE, key: STATE}, path, _use_new_zipfile_serialization=zipped)
    state, metadata = read_tensors(path)
    assert list(state) == list(STATE) and metadata == {}
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_numbers_of_numpy_1_are_read_as_those_of_numpy_2(tmp_path):
    data = pickle.dumps(np.float64(3.0), protocol=2)
    torch.save({"model": STATE, "best": np.float64(3.0)}, tmp_path / "new.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "new.pth").read_bytes()
    assert b"numpy._core.multiarray" in data, "this test is for a NumPy that says _core"
    (tmp_path / "old.pth").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy._core" not in (tmp_path / "old.pth").read_bytes()
    assert set(read_tensors(tmp_path / "old.pth")[0]) == set(STATE)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "module.module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "model.module.",
        "net.",
        "student._orig_mod.",
    ],
)
def test_a_prefix_that_all_names_share_is_dropped(prefix):
    assert list(without_shared_prefix({prefix + key: value for key, value in STATE.items()})) == list(STATE)


def test_names_that_share_nothing_stay_and_none_loses_its_last_word():
    assert list(without_shared_prefix(STATE)) == list(STATE)
    mixed = {"module.a.weight": torch.ones(1), "loss.weight": torch.ones(1)}
    assert list(without_shared_prefix(mixed)) == list(mixed)
    assert list(without_shared_prefix({"module.conv.weight": torch.ones(1), "module.p": torch.ones(1)})) == [
        "conv.weight",
        "p",
    ]
    assert list(without_shared_prefix({"backbone._orig_mod.conv.weight": torch.ones(1), "p": torch.ones(1)})) == [
        "backbone.conv.weight",
        "p",
    ]
    assert list(without_shared_prefix({"module.fc.weight": torch.ones(1)})) == ["fc.weight"]
    assert without_shared_prefix({}) == {}


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("wrap", [lambda a: {"model": STATE, "x": a}, lambda a: {"x": np.array([a], dtype=object)}])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_objects_are_refused_by_name_and_never_made(tmp_path, wrap, name):
    content = wrap(Attack(tmp_path / "made"))
    torch.save(content, tmp_path / name)
    with pytest.raises(VprError, match=r"never executed: save its weights alone") as error:
        read_tensors(tmp_path / name)
    assert f"{os.mkdir.__module__}.mkdir" in str(error.value) or "model" not in content
    assert not (tmp_path / "made").exists()


def test_a_pytorch_file_may_be_called_safetensors(tmp_path):
    for zipped in (True, False):
        torch.save(STATE, tmp_path / "x.safetensors", _use_new_zipfile_serialization=zipped)
        assert set(read_tensors(tmp_path / "x.safetensors")[0]) == set(STATE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_called_safetensors_is_one_sentence(tmp_path, protocol):
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps({"x": 1, "y": list(range(300)), "z": "{" * 50}, protocol))
    with pytest.raises(VprError) as error:
        read_checkpoint(path)
    assert "x.safetensors" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95" + b"\xff" * 5 + b"{}" + bytes(300),
        b'12345678{"a":1}',
        b"PK\x03\x04" + bytes(40),
        b"\xff" * 8 + b"{",
    ],
)
def test_beginnings_of_several_formats_are_one_sentence(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(VprError, match="x.safetensors"):
        read_tensors(path)
