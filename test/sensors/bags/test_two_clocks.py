"""Streams that arrive together and are stamped by two clocks: named in seconds, and corrected where that is told."""

import numpy as np
import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import (
    Drive,
    DriveConfig,
    cloud_msg,
    compressed_image_msg,
    doctor,
    navsat_msg,
    odometry_msg,
    pose_msg,
    tf_msg,
)
from vpr_ros.sensors.clocks import Clock, clock_offset

SECOND = 10**9
TENTH = SECOND // 10
START = 1_700_000_000 * SECOND
SPEED_MPS = 5.0
BEHIND_NS = 32 * TENTH  # the robot's computer is behind the camera's
GREY = np.full((12, 16, 3), 90, np.uint8)


def pose_at(time_ns):
    return planar_transform(SPEED_MPS * (time_ns - START) * 1e-9, 0, 0)


def images(count=100, late_ns=0):
    return [("/camera", compressed_image_msg(GREY, t), t + late_ns) for t in (START + i * TENTH for i in range(count))]


MESSAGES = {
    "odometry": lambda T, t: ("/odom", odometry_msg(T, t)),
    "odometry tf": lambda T, t: ("/tf", tf_msg([("odom", "base_link", T)], t)),
    "pose": lambda T, t: ("/pose", pose_msg(T, t)),
    "pose tf": lambda T, t: ("/tf", tf_msg([("map", "base_link", T)], t)),
    "gnss": lambda T, t: ("/fix", navsat_msg(48.0, 11.0 + T[0, 3] / 74625.0, 500.0, t)),
    "clouds": lambda T, t: ("/points", cloud_msg(np.array([[30.0 - T[0, 3], 0, 0]]), t, frame_id="base_link")),
}


def stamped(kind, behind_ns=BEHIND_NS, count=210, drift=0.0):
    """(topic, message, time of receipt) at 20 Hz of where the robot was at that time, stamped `behind_ns` too early."""
    times = [START + i * SECOND // 20 for i in range(-4, count)]
    return [(*MESSAGES[kind](pose_at(t), t - behind_ns - round(drift * (t - START))), t) for t in times]


def bag(make_bag, *parts, name="bag"):
    return make_bag(sorted((m for part in parts for m in part), key=lambda m: m[2]), name=name)


@pytest.mark.parametrize(
    ("kind", "stage", "option"),
    [
        ("odometry", "odometry", "odom"),
        ("odometry tf", "odometry", "odom"),
        ("pose", "pose", "pose"),
        ("pose tf", "pose", "pose"),
        ("gnss", "pose", "pose"),
    ],
)
def test_poses_of_another_clock_are_named_and_corrected(make_bag, kind, stage, option):
    """Odometry stamped 3.2 s behind: 97 % covered, doctor OK, and every pose 16 m off at 5 m/s."""
    path = bag(make_bag, images(), stamped(kind))
    verdict = doctor(path).stage(stage)
    assert verdict.verdict == "WARN" and "is stamped 3.20 s behind /camera" in verdict.sentence
    assert f"--{option}-offset-s +3.20" in verdict.sentence

    def errors_m(config):
        with Drive(path, config=config) as drive:
            poses = [(o.stamp_ns, o.T_odom_base if option == "odom" else o.T_map_base) for o in drive]
            found = [T[:3, 3] - pose_at(t)[:3, 3] for t, T in poses if T is not None]
            assert len(found) > 60
            offset = found[0] if kind == "gnss" and config else np.zeros(3)  # east of the first fix
            return np.linalg.norm(np.array(found) - offset, axis=1), drive.notes

    wrong, notes = errors_m(None)
    assert kind == "gnss" or np.allclose(wrong, 16.0, atol=1e-6)
    assert any("3.20 s behind /camera" in note and "every pose is that far off" in note for note in notes)
    right, notes = errors_m(DriveConfig(**{f"{option}_offset_s": 3.2}))
    assert right.max() < 0.02
    assert any("are moved by +3.2 s" in note for note in notes) and not any("behind" in note for note in notes)
    corrected = doctor(path, config=DriveConfig(**{f"{option}_offset_s": 3.2})).stage(stage)
    assert corrected.verdict == "OK" and "are moved by +3.2 s" in corrected.sentence


def test_clouds_of_another_clock(make_bag):
    """A LiDAR on atomic time is 37 s ahead."""
    ahead = -37 * SECOND
    path = bag(make_bag, images(), stamped("odometry", 0), stamped("clouds", ahead))
    verdict = doctor(path).stage("points")
    assert verdict.verdict == "WARN" and "/points is stamped 37.00 s ahead of the images" in verdict.sentence
    assert "--points-offset-s -37.00" in verdict.sentence
    config = DriveConfig(load_clouds=True, points_offset_s=-37.0)
    assert doctor(path, config=config).stage("points").verdict == "OK"
    with Drive(path, config=config) as drive:
        clouds = [(o.cloud, pose_at(o.stamp_ns)) for o in drive]
    assert all(np.allclose(c[0], [30.0 - T[0, 3], 0, 0], atol=1e-4) for c, T in clouds if c is not None)
    assert sum(c is not None for c, _ in clouds) > 95


def test_images_that_are_sent_late_and_simulated_time_are_no_second_clock(make_bag):
    late = bag(make_bag, images(late_ns=3 * TENTH), stamped("odometry", 0), name="late")
    assert doctor(late).stage("odometry").verdict == "OK"
    replayed = [
        (topic, msg, START + 10**6 * SECOND + 3 * (t - START)) for topic, msg, t in [*images(), *stamped("odometry", 0)]
    ]
    assert doctor(bag(make_bag, replayed, name="replayed")).stage("odometry").verdict == "OK"


def test_a_clock_that_runs_away_is_told_with_both_ends(make_bag):
    path = bag(make_bag, images(), stamped("odometry", SECOND, drift=0.1))
    sentence = doctor(path).stage("odometry").sentence
    assert "1.50 s behind /camera (-1.12 s at first, -1.87 s at last)" in sentence and "right midway only" in sentence


def test_single_late_messages_and_missing_stamps_do_not_count():
    received = np.arange(40) * TENTH + START
    stamps = received - BEHIND_NS
    stamps[::7] -= 9 * SECOND
    stamps[5] = 0
    offset = clock_offset(Clock.of(stamps, received), Clock.of(received, received))
    assert (
        offset.offset_s == pytest.approx(-3.2) and offset.apart and offset.phrase("/camera") == "3.20 s behind /camera"
    )
    ahead = clock_offset(Clock.of(received, received), Clock.of(received - BEHIND_NS, received))
    assert ahead.phrase("/camera") == "3.20 s ahead of /camera"
    assert clock_offset(Clock.of((), ()), Clock.of(received, received)) is None
    apart = Clock.of(stamps, received + 60 * SECOND)  # never received together: nothing can be said
    assert clock_offset(apart, Clock.of(received, received)) is None
