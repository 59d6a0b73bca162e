"""Small real bags and a small real checkpoint for the tests of the command line."""

import pytest
import street as street_module
from command_line import run
from street import START_NS, drive_images, write_drive


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny untrained student: random weights already tell textures apart."""
    import torch

    from vpr_ros.student import D2VPR, NANO, save_checkpoint

    torch.manual_seed(3)
    config = NANO.replace(
        name="tiny",
        image_size=(56, 56),
        width=32,
        depth=2,
        heads=2,
        taps=(1, 2),
        adapter_width=16,
        dim=16,
        offset_hidden=16,
        fusion_hidden=16,
        position_hidden=8,
        stem_channels=(8, 8),
        position_grid=(4, 4),
    )
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(path, D2VPR(config).eval(), provenance={"kind": "untrained"})
    return path


@pytest.fixture(scope="session")
def bags(tmp_path_factory):
    """Two drives of one street, and one of another."""
    folder = tmp_path_factory.mktemp("bags")
    return {
        "first": write_drive(folder / "first", drive_images(1, 30), fix=True),
        "second": write_drive(
            folder / "second", drive_images(1, 30, 5), "sqlite3", fix=True, start_ns=START_NS + 10**13, y_m=1.0
        ),
        "elsewhere": write_drive(folder / "elsewhere", drive_images(2, 12), start_ns=START_NS + 2 * 10**13),
    }


@pytest.fixture(scope="session")
def first_map(bags, checkpoint, tmp_path_factory):
    """The first drive as a map; tests copy it before they change it."""
    path = tmp_path_factory.mktemp("map") / "town.vpr"
    result = run("map", bags["first"], "-o", path, "-c", checkpoint, "--pose-topic", "/fix")
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="session")
def run_folder(bags, checkpoint, first_map, tmp_path_factory):
    """The second drive against the map."""
    out = tmp_path_factory.mktemp("run") / "run"
    result = run("localize", bags["second"], "--map", first_map, "-o", out, "-c", checkpoint, "--no-report")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def street():
    """The helpers that write bags, for tests that need bags of their own."""
    return street_module


@pytest.fixture(name="vpr")
def vpr_command():
    return run
