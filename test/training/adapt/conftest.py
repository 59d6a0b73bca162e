"""Two drives through one street, the second in another light, a small student, and one run of the command."""

import pytest
from adapt_street import FRAMES, SIZE, TRUTH, command, in_another_light, silent
from command_line import run
from street import START_NS, drive_images, write_drive
from trunk_students import projection_of, trunk_student

from vpr_ros.sensors.bags.config import DriveTopics
from vpr_ros.student import save_checkpoint
from vpr_ros.training.adapt import probabilities
from vpr_ros.training.adapt.frames import FramesFromBags, own_samples


@pytest.fixture(scope="session")
def drives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt_bags")
    later = in_another_light(drive_images(1, FRAMES, 5))
    return [
        write_drive(folder / "day", drive_images(1, FRAMES)),
        write_drive(folder / "night", later, start_ns=START_NS + 10**13, y_m=1.0),
    ]


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """The path of a checkpoint that was fitted on the street by day."""
    student, path = trunk_student(), tmp_path_factory.mktemp("adapt_start") / "start.safetensors"
    save_checkpoint(path, student, projection_of(student, drive_images(1, 64), (12, 8)))
    return path


@pytest.fixture(scope="session")
def adapted(drives, start, tmp_path_factory):
    """One run of the command, with its folder of work and its checkpoint."""
    folder = tmp_path_factory.mktemp("adapted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probabilities, "MOST_FRAMES", 500)
        result = run(*command(drives, start, folder / "own.safetensors", folder / "work"))
    assert result.exit_code == 0, result.output
    return result, folder / "own.safetensors", folder / "work"


@pytest.fixture(scope="session")
def samples(drives, adapted):
    return own_samples(drives, adapted[2], FramesFromBags(DriveTopics(pose=TRUTH), size=SIZE), silent)
