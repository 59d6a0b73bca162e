"""Live poses answer as a recorded trajectory does, forget what is old, and wake who waits."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors.poses.buffer import PoseBuffer
from vpr_ros.sensors.poses.trajectory import Trajectory

SECOND, MILLI = 10**9, 10**6


def pose(i):
    return planar_transform(0.3 * i, -0.1 * i, 0.4 * i)


def covariance(i):
    return None if i % 3 == 0 else np.eye(6) * (0.0 if i % 3 == 1 else i)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=40),
    st.lists(st.integers(-2, 4300), min_size=1, max_size=20),
    st.sampled_from([0.05, 0.3, 1.0]),
)
def test_answers_are_those_of_a_trajectory(shifts, asked, max_gap_s):
    """Samples 100 ms apart on average, in disorder of up to 0.8 s, with repeated stamps."""
    stamps = [SECOND + 100 * MILLI * i + 20 * MILLI * (s - 20) for i, s in enumerate(shifts)]
    buffer, jumps = PoseBuffer(), 0
    for i, stamp in enumerate(stamps):
        jumps += buffer.add(stamp, pose(i), covariance(i))
    assert jumps == 0
    filled = np.array([np.full((6, 6), np.nan) if covariance(i) is None else covariance(i) for i in range(len(stamps))])
    recorded = Trajectory(np.array(stamps), np.array([pose(i) for i in range(len(stamps))]), filled)
    assert len(buffer) == len(recorded) and buffer.newest_ns == recorded.stamps_ns[-1]
    for t in [*stamps, *(SECOND + a * MILLI for a in asked)]:
        live, offline = buffer.at(t, max_gap_s), recorded.at(t, max_gap_s)
        assert (live is None) == (offline is None)
        assert live is None or np.array_equal(live, offline)
        live, offline = buffer.covariance_at(t), recorded.covariance_at(t)
        assert (live is None) == (offline is None) and (live is None or np.array_equal(live, offline))


def test_empty_and_after_clear():
    buffer = PoseBuffer()
    assert buffer.at(1) is None and buffer.covariance_at(1) is None and buffer.newest_ns is None
    buffer.add(5, np.eye(4))
    buffer.clear()
    assert buffer.at(5) is None and len(buffer) == 0


def test_horizon_and_count_bound_the_memory():
    buffer = PoseBuffer(horizon_s=2.0)
    for i in range(1000):
        buffer.add(SECOND + i * 10 * MILLI, pose(i))
    assert len(buffer) == 201 and buffer.at(SECOND) is None and buffer.at(SECOND + 9985 * MILLI) is not None
    buffer = PoseBuffer(max_count=50)
    for i in range(1000):
        buffer.add(SECOND + i, pose(i))
    assert len(buffer) == 50 and buffer.newest_ns == SECOND + 999


def test_a_jump_back_begins_another_time():
    buffer = PoseBuffer()
    for i in range(5):
        buffer.add((10 + i) * SECOND, pose(i))
    assert not buffer.add(13 * SECOND, pose(9))  # exactly one second is disorder
    assert buffer.add(2 * SECOND, pose(7))
    assert len(buffer) == 1 and buffer.newest_ns == 2 * SECOND and buffer.at(12 * SECOND) is None
    assert np.array_equal(buffer.at(2 * SECOND), pose(7))


def test_a_single_stamp_far_ahead_does_not_spoil_the_stream():
    buffer = PoseBuffer()
    buffer.add(SECOND, pose(0))
    buffer.add(10**18, pose(1))
    for i in range(3):
        buffer.add(SECOND + i * 100 * MILLI, pose(i))
    assert buffer.at(SECOND + 150 * MILLI) is not None


def never():
    return False


def later(call, after_s=0.05):
    timer = threading.Timer(after_s, call)
    timer.start()
    return timer


def test_waiting_ends_when_the_stamp_is_reached():
    buffer = PoseBuffer()
    buffer.add(SECOND, pose(0))
    assert buffer.wait_for(SECOND, never, 5.0)
    begin = time.monotonic()
    later(lambda: buffer.add(2 * SECOND, pose(1)))
    assert buffer.wait_for(SECOND + 1, never, 5.0) and time.monotonic() - begin < 2


@pytest.mark.parametrize("end", ["timeout", "expired", "wake"])
def test_waiting_is_bounded(end):
    buffer, expired = PoseBuffer(), threading.Event()
    timeout_s = 0.05 if end == "timeout" else 10.0
    if end == "expired":
        later(expired.set)
    if end == "wake":
        later(buffer.wake)
    begin = time.monotonic()
    assert not buffer.wait_for(SECOND, expired.is_set, timeout_s)
    assert 0.03 < time.monotonic() - begin < 5


def test_a_wake_of_the_past_does_not_end_a_new_wait():
    buffer = PoseBuffer()
    buffer.wake()
    later(lambda: buffer.add(SECOND, pose(0)))
    assert buffer.wait_for(SECOND, never, 5.0)


def test_writers_and_readers_in_several_threads():
    buffer, errors, done = PoseBuffer(horizon_s=0.5), [], threading.Event()

    def read():
        while not done.is_set():
            newest = buffer.newest_ns
            T = buffer.at(newest - 5 * MILLI) if newest else None
            if T is not None and not np.isfinite(T).all():
                errors.append(T)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(3000):
        buffer.add(SECOND + (i + (i % 3) * 2) * 2 * MILLI, pose(i))
    done.set()
    for thread in threads:
        thread.join()
    assert not errors and len(buffer) <= 252
