"""Which frames the recorder keeps, and what it says of the others."""

from dataclasses import replace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.observation import Observation
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.recording import Recording
from vpr_ros.runtime.settings import RecordingConfig
from vpr_ros.sensors.cameras import Camera
from vpr_ros.training_set import TrainingSetWriter, read_frame_table

SECOND = 10**9
IMAGE, CLOUD = np.zeros((8, 12, 3), np.uint8), np.ones((5, 3), np.float32)


def frame(t, x=None, map_x=None, yaw=0.0, cloud=CLOUD):
    def pose(value):
        return None if value is None else planar_transform(value, 0, yaw)

    return Observation(int(t * SECOND), IMAGE, pose(x), pose(map_x), None, cloud)


@pytest.fixture
def recording(tmp_path):
    made = []

    def make(**values):
        health = Health()
        made.append(Recording(RecordingConfig(**values), lambda: TrainingSetWriter(tmp_path, "d"), health))
        return made[-1], lambda: health.counts("recording")

    yield make
    for one in made:
        one.close()


def test_after_so_many_metres_or_degrees(recording, tmp_path):
    recorder, counts = recording()
    kept = [recorder.take(frame(10 + i * 0.1, map_x=0.3 * i)) for i in range(11)]
    assert [i for i, k in enumerate(kept) if k] == [0, 4, 8]
    assert recorder.take(frame(12, map_x=3.0, yaw=0.3))  # a turn, nearly on the spot
    assert counts() == {"recorded": 4, "close to the last frame": 8}
    recorder.close()
    assert np.allclose(read_frame_table(tmp_path).positions_m[:, 0], [0, 1.2, 2.4, 3])


def test_spacing_zero_keeps_every_frame(recording):
    recorder, _ = recording(spacing_m=0.0)
    assert all(recorder.take(frame(10 + i, map_x=0.0)) for i in range(4))


def test_what_is_missing_is_counted(recording):
    recorder, counts = recording()
    frames = [frame(10, map_x=0, cloud=None), frame(11, cloud=CLOUD), frame(12, map_x=5), frame(13, x=7)]
    assert [recorder.take(f) for f in frames] == [False, False, True, False]
    assert counts() == {"no cloud": 1, "no pose": 1, "recorded": 1, "no pose in the map frame": 1}
    assert recorder.writer.count == 1
    assert not recorder.take(frame(14, map_x=9, cloud=CLOUD[:0])), "a scan without a point is no cloud"
    assert counts()["no cloud"] == 2


def test_without_require_cloud_images_and_poses_are_enough(recording, tmp_path):
    recorder, _ = recording(require_cloud=False)
    given = [None, CLOUD, CLOUD[:0]]
    assert all(recorder.take(frame(10 + i, map_x=2 * i, cloud=cloud)) for i, cloud in enumerate(given))
    assert [cloud is None for cloud in read_frame_table(tmp_path).clouds] == [True, False, True]


@pytest.mark.parametrize("source, kept", [("none", [True, True, True]), ("tf", [False, False, True])])
def test_odometry_stands_in_when_no_map_pose_comes(recording, source, kept):
    recorder, counts = recording(pose_source=source)
    assert [recorder.take(frame(10 + 1.5 * i, x=3 * i)) for i in range(3)] == kept
    assert recorder.poses == "odometry" and counts()["poses come from odometry"] == 1
    recorder.take(frame(20, x=50, map_x=900))  # it stays with odometry
    recorder.close()
    assert recorder.writer.count == sum(kept) + 1


def test_a_map_pose_in_time_is_taken(recording, tmp_path):
    recorder, counts = recording()
    assert not recorder.take(frame(10, x=0)) and recorder.take(frame(11, x=3, map_x=100))
    assert counts() == {"waiting for a pose in the map frame": 1, "recorded": 1}
    assert read_frame_table(tmp_path).positions_m[0, 0] == 100


def test_a_bag_that_begins_again_is_another_drive(recording, tmp_path):
    recorder, _ = recording()
    for start in (100, 50, 20):
        for i in range(3):
            recorder.take(frame(start + i, map_x=2 * i))
    assert list(read_frame_table(tmp_path).drives) == ["d"] * 3 + ["d-2"] * 3 + ["d-3"] * 3


def test_an_error_of_the_writer_passes_and_the_next_frame_is_tried(recording, monkeypatch):
    recorder, _ = recording()
    add = recorder.writer.add
    monkeypatch.setattr(recorder.writer, "add", lambda *_: (_ for _ in ()).throw(VprError("disk full")))
    with pytest.raises(VprError, match="disk full"):
        recorder.take(frame(10, map_x=0))
    monkeypatch.setattr(recorder.writer, "add", add)
    assert recorder.take(replace(frame(11, map_x=2), camera=Camera(np.eye(3) * 9, 12, 8, np.zeros(5))))
