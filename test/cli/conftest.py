"""Small real bags and a small real checkpoint for the tests of the command line.

The world is a long strip of texture; a drive slides a window along it: near frames look alike, far ones do not.
"""

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import BagWriter, compressed_image_msg, navsat_msg, odometry_msg, pose_msg

STEP_M = 3.0
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def strip(seed: int, frames: int) -> np.ndarray:
    """Texture (64, W, 3) uint8 with structure of several sizes."""
    rng = np.random.default_rng(seed)
    width = 64 + 16 * frames
    picture = np.zeros((64, width, 3), np.float32)
    for cell in (4, 8, 16):
        coarse = rng.uniform(0, 255, (64 // cell, width // cell, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, 64), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(picture, 0, 255).astype(np.uint8)


def drive_images(seed: int, frames: int, noise_seed: int = 0) -> list[np.ndarray]:
    """Windows (64, 64, 3) uint8 RGB along the strip, with a little sensor noise."""
    world, rng = strip(seed, frames), np.random.default_rng(noise_seed)
    out = []
    for i in range(frames):
        window = world[:, 16 * i : 16 * i + 64].astype(np.int16) + rng.integers(-6, 7, (64, 64, 3))
        out.append(np.clip(window, 0, 255).astype(np.uint8))
    return out


def write_drive(path, images, storage="mcap", poses=True, truth=True, fix=False, start_ns=START_NS, y_m=0.0):
    """A bag of images at 2 Hz, 3 m apart, with odometry, ground truth and satellite fixes as asked."""
    with BagWriter(path, storage) as bag:
        for i, image in enumerate(images):
            stamp = start_ns + i * SECOND_NS // 2
            bag.write("/camera/image/compressed", compressed_image_msg(image, stamp), stamp)
            T = planar_transform(STEP_M * i, y_m, 0.0)
            if poses:
                bag.write("/odom", odometry_msg(T, stamp), stamp)
            if truth:  # the frame of the truth is not the odometry's
                bag.write("/ground_truth/pose", pose_msg(planar_transform(500.0, 40.0, 1.0) @ T, stamp), stamp)
            if fix:
                bag.write("/fix", navsat_msg(48.0 + y_m * 9e-6, 11.0 + 1.34e-5 * STEP_M * i, 500.0, stamp), stamp)
    return path


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


def run(*arguments):
    """Call the command line in this process; its result has exit_code, stdout and stderr."""
    from vpr_ros.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(name="conftest", scope="session")
def this_module():
    """The helpers of this file, for tests that write bags of their own."""
    import sys

    return sys.modules[__name__]


@pytest.fixture(name="vpr")
def vpr_command():
    return run
