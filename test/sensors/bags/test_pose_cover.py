"""Poses come from the source that covers more of a recording: a topic of its own, or TF."""

import numpy as np
import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import Drive, DriveTopics, doctor, navsat_msg, odometry_msg, pose_msg, tf_msg
from vpr_ros.sensors.poses.collectors import PoseTrack
from vpr_ros.sensors.poses.trajectory import Trajectory

SECOND = 10**9
START = 10 * SECOND
END_S = 20.0


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def ride(image_messages) -> list:
    """Images at 10 Hz for 20 s, received as they are stamped."""
    stamps = [at(i / 10) for i in range(201)]
    return [(topic, msg, t) for (topic, msg, _), t in zip(image_messages(stamps), stamps, strict=True)]


def tf(parent, child, x, until_s=END_S, hz=20) -> list:
    times = np.arange(0, until_s + 1e-9, 1 / hz)
    return [("/tf", tf_msg([(parent, child, planar_transform(x(t), 0, 0))], at(t)), at(t)) for t in times]


def amcl(gap_s: float) -> list:
    """Poses at 5 Hz that are silent for `gap_s` amid the ride, where the robot waited."""
    times = [t for t in np.arange(101) / 5 if not 5 < t < 5 + gap_s - 1e-9]
    poses = [pose_msg(planar_transform(t + 100, 0, 0), at(t), covariance=np.eye(6)) for t in times]
    return [("/amcl_pose", pose, at(t)) for pose, t in zip(poses, times, strict=True)]


@pytest.fixture
def bag(make_bag, image_messages):
    def make(*streams):
        messages = [message for stream in (ride(image_messages), *streams) for message in stream]
        return make_bag(sorted(messages, key=lambda m: m[2]))

    return make


def by_tf(until_s=END_S):
    return tf("map", "odom", lambda t: 100.0, until_s) + tf("odom", "base_link", lambda t: t)


def test_amcl_with_73_percent_cover_yields_to_tf_with_93(bag):
    path = bag(amcl(5.4), by_tf(18.6))
    stage = doctor(path).stage("pose")
    assert stage.topic is None and stage.verdict == "WARN" and "TF covers only 93% of the images" in stage.sentence
    assert (
        "TF (map -> base_link) covers 93% of the recording, /amcl_pose 73%: TF is taken; --pose-topic /amcl_pose takes "
        "the topic" in stage.sentence
    )
    with Drive(path) as drive:
        seen = list(drive)
        assert sum(o.T_map_base is not None for o in seen) / len(seen) == pytest.approx(0.93, abs=0.01)
        assert any("TF is taken" in note for note in drive.notes)
        middle = next(o for o in seen if o.stamp_ns == at(7))
        assert middle.T_map_base is not None and middle.T_map_base[0, 3] == pytest.approx(107)


def test_a_topic_that_was_named_is_taken_whatever_it_covers(bag):
    path = bag(amcl(5.4), by_tf())
    named = DriveTopics(pose="/amcl_pose")
    assert doctor(path, named).stage("pose").topic == "/amcl_pose"
    with Drive(path, named) as drive:
        seen = list(drive)
    assert sum(o.T_map_base is not None for o in seen) / len(seen) == pytest.approx(0.73, abs=0.01)


@pytest.mark.parametrize("until_s", [14.0, 15.4])  # TF covers less, or not clearly more
def test_a_topic_that_covers_as_much_as_tf_stays(bag, until_s):
    stage = doctor(bag(amcl(5.4), by_tf(until_s))).stage("pose")
    assert stage.topic == "/amcl_pose" and f"covers {until_s / 20:.0%} of the recording" in stage.sentence
    assert "/amcl_pose is taken" in stage.sentence


def test_well_covered_topics_need_no_tf(bag):
    stage = doctor(bag(amcl(0), by_tf())).stage("pose")
    assert stage.sentence == "101 poses on /amcl_pose cover 100% of the images"


def test_odometry_that_ends_early_yields_to_tf(bag):
    odometry = [
        ("/odom", odometry_msg(planar_transform(t, 5, 0), at(t)), at(t)) for t in np.arange(0, END_S / 2 + 1e-9, 0.1)
    ]
    path = bag(odometry, tf("odom", "base_link", lambda t: t))
    stage = doctor(path).stage("odometry")
    assert stage.verdict == "OK" and "TF (odom -> base_link) covers 100% of the recording, /odom 50%" in stage.sentence
    assert "--odom-topic /odom takes the topic" in stage.sentence
    with Drive(path) as drive:
        assert all(o.T_odom_base is not None for o in drive)


def test_fixes_stay_since_their_frame_is_that_of_every_drive(bag):
    fixes = [("/fix", navsat_msg(48 + t * 1e-5, 11, 0, at(t)), at(t)) for t in np.arange(0, END_S / 2, 0.5)]
    path = bag(fixes, by_tf())
    stage = doctor(path).stage("pose")
    assert stage.topic == "/fix" and "/fix is taken" in stage.sentence
    still = [("/fix", navsat_msg(48, 11, 0, at(t)), at(t)) for t in np.arange(0, END_S, 0.5)]
    path.rename(path.with_name("moving"))
    with Drive(bag(still, by_tf())) as drive:  # without a course the fixes give no pose at all
        assert drive.datum is None and all(o.T_map_base is not None for o in drive)


def test_cover_by_hand():
    def naive(stamps_s, max_gap_s):
        return sum(b - a for a, b in zip(stamps_s, stamps_s[1:], strict=False) if b - a <= max_gap_s)

    rng = np.random.default_rng(2)
    for _ in range(20):
        parts = [np.unique(rng.integers(0, 10**11, rng.integers(1, 40))) for _ in range(2)]
        track = PoseTrack([Trajectory(p, np.tile(np.eye(4), (len(p), 1, 1))) for p in parts], [0, 1])
        expected = sum(naive((p * 1e-9).tolist(), 2.5) for p in parts)
        assert track.covered_s(2.5) == pytest.approx(expected)
    assert PoseTrack().covered_s(1.0) == 0
