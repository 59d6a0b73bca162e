"""Bags whose stamps jump: what a map makes of them, and what a recogniser and a recorder do."""

import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama

from vpr_ros.configuration import GateConfig
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.offline.record_bag import FramesConfig, bag_to_frames
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, DriveConfig, compressed_image_msg, odometry_msg

SECOND = 10**9
START = 1_000 * SECOND
FRAMES = 40
EPOCH_S = 95_896_921


def written(path, shift_s, odometry_shift_s=lambda i: 0.0):
    """A drive of 40 m at 10 Hz; image i and its odometry are stamped `shift_s(i)` later than they are received."""
    frames = list(observations(panorama(5), np.arange(FRAMES, dtype=float), start_ns=START))
    with BagWriter(path) as writer:
        for i, frame in enumerate(frames):
            own, odom = round(shift_s(i) * SECOND), round(odometry_shift_s(i) * SECOND)
            x = odometry_msg(planar_transform(i, 0, 0), frame.stamp_ns + odom)
            writer.write("/odom", x, frame.stamp_ns)
            image = compressed_image_msg(frame.image, frame.stamp_ns + own, format="png")
            writer.write("/camera/image/compressed", image, frame.stamp_ns + 1)
    return path


def mapped(bag, path):
    config = MapBagConfig(gate=GateConfig(distance_m=1.0), drive=DriveConfig(rotate="0"))
    return map_bag(bag, path, PixelExtractor(), config)


@pytest.mark.parametrize("wrong_by_s", [EPOCH_S, -EPOCH_S / 1e6, 3600, 60, -60, -5])
def test_every_tenth_image_of_another_time_is_left_out(tmp_path, wrong_by_s):
    """Of another epoch, they made one session of 95,896,921 s with keyframes without a pose, and nothing was said."""
    bag = written(tmp_path / "bag", lambda i: wrong_by_s if i % 10 == 4 else 0)
    result = mapped(bag, tmp_path / "m.vpr")
    assert result.skipped == {"image stamp slipped": 4} and "left out" in result.first_errors["image stamp slipped"]
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        keyframes = place_map.keyframes()
        assert len(place_map.sessions()) == 1 and len(keyframes) == 36
        assert np.isfinite(keyframes.T_map_base).all()
        assert np.ptp(keyframes.stamps_ns) == (FRAMES - 1) * SECOND // 10


@pytest.mark.parametrize("by_s, note", [(-5, "back"), (-60, "back"), (-3600 / 4, "back"), (3600, "ahead")])
def test_a_clock_that_is_set_begins_a_new_session_and_loses_nothing(tmp_path, by_s, note):
    def shift(i):
        return by_s if i >= 20 else 0

    result = mapped(written(tmp_path / "bag", shift, shift), tmp_path / "m.vpr")
    assert not result.skipped and result.notes == {f"clock jumped {note}": 1}
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        keyframes, sessions = place_map.keyframes(), place_map.sessions()
        assert [s.name for s in sessions] == ["bag", "bag (2)"] and len(keyframes) == FRAMES
        for session in (1, 2):
            assert np.ptp(keyframes.stamps_ns[keyframes.sessions == session]) == 19 * SECOND // 10
    out = tmp_path / "run"
    answered = localize_bag(tmp_path / "bag", tmp_path / "m.vpr", out, PixelExtractor(), LocalizeBagConfig())
    assert answered.frames == FRAMES and answered.notes == {f"clock jumped {note}": 1}
    assert (out / "matches.jsonl").read_text().count(f"the clock went {note} by") == 1


def test_a_pause_is_no_other_drive(tmp_path):
    def shift(i):
        return 60 if i >= 20 else 0

    result = mapped(written(tmp_path / "bag", shift, shift), tmp_path / "m.vpr")
    assert result.session == 1 and result.frames == FRAMES and not result.skipped and not result.notes


@pytest.mark.parametrize("wrong_by_s", [EPOCH_S, 3600, 60, -60, -5])
def test_slips_of_odometry_cost_their_own_pose_only(tmp_path, wrong_by_s):
    bag = written(tmp_path / "bag", lambda i: 0, lambda i: wrong_by_s if i % 10 == 4 else 0)
    assert mapped(bag, tmp_path / "m.vpr").frames == FRAMES
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        poses = place_map.keyframes().T_map_base
    assert len(poses) == FRAMES  # between its neighbours a pose is interpolated
    assert np.allclose(poses[:, 0, 3], np.arange(FRAMES), atol=1e-6)


def test_a_training_set_gets_a_drive_for_each_time(tmp_path):
    def shift(i):
        return 3600 if i >= 20 else 0

    bag = written(tmp_path / "bag", shift, shift)
    lines = [f"{1000 + shift(i) + i / 10:.1f} {i} 0 0 0 0 0 1" for i in range(FRAMES)]
    (tmp_path / "poses.tum").write_text("\n".join(lines) + "\n")
    config = FramesConfig(require_cloud=False, spacing_m=0.0, trajectory=str(tmp_path / "poses.tum"))
    frames = bag_to_frames(bag, tmp_path / "set", config)
    assert len(frames.drives) == 2 and frames.frames == FRAMES
