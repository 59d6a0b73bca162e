"""Live TF answers as the TF of a bag does: same samples, same gaps, nothing extrapolated."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpr_ros.errors import VprError
from vpr_ros.geometry import make_transform, planar_transform
from vpr_ros.sensors import tf_msg
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.bags.pose_sources import tf_track
from vpr_ros.sensors.poses.link_times import Links
from vpr_ros.sensors.poses.tf import TransformTree

SECOND, MILLI = 10**9, 10**6


def tree_and_links(streams, static=()):
    """A bag's tree and live links of the same messages: streams are (parent, child, stamps)."""
    tree, anywhere = TransformTree(max_gap_s=1.0), TransformTree(max_gap_s=1e9)
    links = Links(lambda target, source, stamp: lookup(anywhere, target, source, stamp))
    for parent, child in static:
        for t in (tree, anywhere):
            t.add(tf_msg([(parent, child, make_transform((0.3, 0.1, 1.5)))], 0), static=True)
        links.add(parent, child, 0, static=True)
    for parent, child, stamps in streams:
        for i, stamp in enumerate(stamps):
            T = planar_transform(0.1 * i, 0.2 * len(child), 0.05 * i)
            for t in (tree, anywhere):
                t.add(tf_msg([(parent, child, T)], stamp), static=False)
            links.add(parent, child, stamp, static=False)
    return tree, links


def lookup(tree, target, source, stamp):
    try:
        return tree.lookup(target, source, stamp)
    except VprError:
        return None


def spaced(step_ms, count, kept):
    return [SECOND + step_ms * MILLI * i for i in range(count) if i not in kept]


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.integers(0, 79), max_size=15),
    st.sets(st.integers(0, 12), max_size=8),
    st.lists(st.integers(-100, 4500), min_size=1, max_size=25),
)
def test_poses_are_those_of_a_bag(fast_lost, slow_lost, asked):
    """A fast and a slow link in a chain, both with losses that open gaps longer than a second."""
    fast, slow = spaced(50, 80, fast_lost), spaced(300, 13, slow_lost)
    tree, links = tree_and_links([("odom", "base", fast), ("map", "odom", slow)], [("base", "camera")])
    track = tf_track(tree, "map", "camera")
    for stamp in [*fast[::7], *slow, *(SECOND + a * MILLI for a in asked)]:
        trajectory = track.segment(0)
        recorded = trajectory.at(stamp, 1.0) if trajectory else None
        live = links.at("map", "camera", stamp, 1.0)
        assert (live is None) == (recorded is None), (stamp - SECOND) / MILLI
        assert live is None or np.allclose(live, recorded, atol=1e-9)


def test_unknown_unconnected_and_fixed_frames():
    _, links = tree_and_links([("odom", "base", spaced(50, 5, ()))], [("base", "camera"), ("other", "island")])
    assert links.connected("odom", "camera") and not links.connected("odom", "island")
    assert links.fixed("base", "camera") and links.fixed("camera", "camera")
    assert not links.fixed("odom", "base") and not links.fixed("base", "nowhere") and not links.fixed("x", "x")
    assert links.newest_ns("odom", "camera") == SECOND + 200 * MILLI
    for target, source in (("base", "camera"), ("odom", "nowhere"), ("odom", "island")):
        assert links.newest_ns(target, source) is None and links.at(target, source, SECOND, 1.0) is None
    links.add("camera", "odom", 0, static=True)  # a circle: two publishers disagree
    links.at("odom", "camera", SECOND, 1.0)  # whatever it says, it ends


def test_waiting_is_over_when_every_link_covers_the_stamp():
    arrivals = Arrivals()
    links = Links(lambda *_: np.eye(4), arrivals)
    links.add("map", "odom", SECOND, False)
    links.add("odom", "base", SECOND, False)
    assert not links.reached("map", "base", SECOND)  # which of the two is the faster one is not known yet
    links.add("odom", "base", SECOND + 50 * MILLI, False)
    assert not links.reached("map", "base", SECOND + 20 * MILLI)  # the slow link ends before the sample after it
    threading.Timer(0.05, lambda: links.add("map", "odom", SECOND + 300 * MILLI, False)).start()
    begin = time.monotonic()
    assert arrivals.wait_until(lambda: links.reached("map", "base", SECOND + 20 * MILLI), lambda: False, 5.0)
    assert time.monotonic() - begin < 3
    assert not links.reached("map", "base", SECOND + 60 * MILLI)


def test_jumps_back_and_the_horizon():
    links = Links(lambda *_: np.eye(4), horizon_s=2.0)
    for i in range(100):
        links.add("odom", "base", 10 * SECOND + i * 100 * MILLI, False)
    assert links.at("odom", "base", 10 * SECOND + 50 * MILLI, 1.0) is None  # forgotten
    assert links.at("odom", "base", 19 * SECOND, 1.0) is not None
    links.add("map", "odom", 12 * SECOND, False)
    assert links.jumps_back("odom", "base", SECOND) and not links.jumps_back("odom", "base", 19 * SECOND)
    links.add("odom", "base", SECOND, False)
    assert links.newest_ns("odom", "base") == SECOND and links.newest_ns("map", "base") is None
    assert not links.forget_after(SECOND) and links.forget_after(SECOND - 1)
    assert links.newest_ns("odom", "base") is None


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 1, 0, 2, 2)])
def test_disorder_and_repeats(order):
    links = Links(lambda target, source, stamp: planar_transform(stamp / SECOND, 0, 0))
    for i in order:
        links.add("odom", "base", SECOND + i * 100 * MILLI, False)
    assert links.at("odom", "base", SECOND + 150 * MILLI, 0.1)[0, 3] == pytest.approx(1.15)
    assert links.at("odom", "base", SECOND + 250 * MILLI, 0.1) is None
