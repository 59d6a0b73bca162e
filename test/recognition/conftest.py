import pytest
from recognition_worlds import World, drive, keyframes, label_by_pose

from vpr_ros.calibration import LabelledSequence, fit_calibration
from vpr_ros.recognition import RecognitionConfig


@pytest.fixture(scope="session")
def labelled():
    """Two small cities, each with an off-map stretch in its second drive."""
    found = []
    for seed, change, noise in ((101, 0.8, 0.4), (102, 1.3, 0.6)):
        world = World(seed)
        frames = keyframes(drive(world, [(0, 0, 240), (1, 0, 160)], step_m=2))
        query = drive(
            world, [(0, 40, 200), (2, 0, 100), (1, 20, 140)], condition=1, change=change, noise=noise, start_s=1000
        )
        truth = label_by_pose(frames, query.T_map_base, 10.0)
        found.append(LabelledSequence(frames, query.descriptors, query.stamps_ns, query.T_odom_base, truth))
    return found


@pytest.fixture(scope="session")
def calibration(labelled):
    """Of descriptors that are compared as they are."""
    return fit_calibration(labelled, 10.0, source="checkpoint", config=RecognitionConfig(drive_mean_frames=0))


@pytest.fixture(scope="session")
def centred_calibration(labelled):
    """Of descriptors that are compared without the means of their drives."""
    return fit_calibration(labelled, 10.0, source="checkpoint")


@pytest.fixture(params=["as they are", "centred"])
def either_calibration(request, calibration, centred_calibration):
    return calibration if request.param == "as they are" else centred_calibration
