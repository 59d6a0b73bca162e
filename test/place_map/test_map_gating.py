"""KeyframeGate: distance, heading, novelty, every n-th; standing still writes nothing."""

from collections import Counter

import numpy as np
import pytest

from vpr_ros.geometry import make_transform, planar_transform
from vpr_ros.place_map import GateConfig, KeyframeGate


def seen(T_odom=None, T_map=None):
    return T_odom, T_map


def at(x=0.0, yaw=0.0):
    return planar_transform(x, 0.0, yaw)


def view(angle_rad):
    return np.array([np.cos(angle_rad), np.sin(angle_rad), 0], dtype=np.float16)


def test_distance():
    gate = KeyframeGate(GateConfig(distance_m=2.0))
    kept = [i for i in range(41) if gate.decide(*seen(at(0.5 * i)))[0]]
    assert kept == list(range(0, 41, 4))


def test_heading_about_any_axis():
    gate = KeyframeGate(GateConfig(heading_deg=15.0))
    kept = [i for i in range(0, 91) if gate.decide(*seen(at(yaw=np.radians(i + 0.001 * i))))[0]]
    assert kept == list(range(0, 91, 15))
    gate.reset()
    gate.decide(*seen(at()))
    half = np.radians(20) / 2
    pitched = make_transform([0, 0, 0], [0, np.sin(half), 0, np.cos(half)])
    assert gate.decide(*seen(pitched)) == (True, "turned")


def test_turning_across_the_wrap_is_small():
    gate = KeyframeGate()
    gate.decide(*seen(at(yaw=np.pi - 0.01)))
    assert gate.decide(*seen(at(yaw=-np.pi + 0.01)))[0] is False


def test_standing_still_writes_nothing():
    gate = KeyframeGate()
    rng = np.random.default_rng(0)
    reasons = Counter()
    for _ in range(500):  # jittering odometry, a new view each time
        descriptor = rng.normal(size=3)
        keep, reason = gate.decide(*seen(at(rng.normal() * 0.02, rng.normal() * 0.002)), descriptor)
        reasons[keep, reason] += 1
    assert reasons == {(True, "first frame"): 1, (False, "close to the last keyframe"): 499}


def test_slip_needs_a_new_view_too():
    gate = KeyframeGate(GateConfig(slip_similarity=0.99))
    gate.decide(*seen(at(0)), view(0.0))
    assert gate.decide(*seen(at(5)), view(0.01)) == (False, "same view although odometry moved")
    assert gate.decide(*seen(at(5)), view(0.5)) == (True, "moved")


def test_novelty_without_poses():
    gate = KeyframeGate(GateConfig(novelty_similarity=0.9))
    decisions = [gate.decide(*seen(), view(0.1 * i)) for i in range(11)]
    # cos 0.45 is 0.90: a new view every 0.5 rad
    assert [i for i, (keep, _) in enumerate(decisions) if keep] == [0, 5, 10]
    assert decisions[5][1] == "new view" and decisions[4][1] == "same view as the last keyframe"


def test_every_nth():
    for n in (1, 3):
        gate = KeyframeGate(GateConfig(every_n=n))
        assert [i for i in range(10) if gate.decide(None)[0]] == list(range(0, 10, n))


def test_odometry_is_preferred_and_never_mixed_with_the_map_frame():
    gate = KeyframeGate()
    gate.decide(*seen(at(0), at(1000)))
    assert not gate.decide(*seen(at(0.1), at(1010)))[0]  # the map pose may jump
    assert not gate.decide(*seen(None, at(1001)))[0]  # odometry missing: map against map
    assert gate.decide(*seen(None, at(1003))) == (True, "moved")
    # last keyframe had no odometry: nothing to compare with but the view
    assert gate.decide(*seen(at(0)), None) == (True, "new view")


def test_nan_pose_is_no_pose():
    gate = KeyframeGate()
    gate.decide(*seen(at(0)), view(0))
    assert gate.decide(*seen(np.full((4, 4), np.nan)), view(0.01)) == (False, "same view as the last keyframe")


def test_plain_poses_and_reset():
    gate = KeyframeGate()
    assert [gate.decide(at(x))[0] for x in (0, 1, 2.5)] == [True, False, True]
    gate.reset()
    assert gate.decide(at(2.5)) == (True, "first frame")


def test_bad_config():
    with pytest.raises(ValueError):
        GateConfig(distance_m=0)
    with pytest.raises(ValueError):
        GateConfig(every_n=0)
