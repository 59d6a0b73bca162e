"""GNSS fixes that a receiver cannot mean: before it knows where it is, jumps, unknown altitudes, covariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpr_ros.errors import FrameError
from vpr_ros.geometry import geodetic_to_enu
from vpr_ros.offline.align import align_bags
from vpr_ros.sensors import Drive, doctor, navsat_msg
from vpr_ros.sensors.poses.fixes import LOOSEST_M, FixCollector, position_covariance
from vpr_ros.sensors.poses.plausible import plausible

SECOND = 10**9
NORTH_STEP = 1e-4  # degrees, 11 m


def north(i):
    return 48.0 + NORTH_STEP * i, 11.0, 500.0


def collected(positions, step_ns=SECOND, covariances=None, datum=None):
    """(collector, track) of (latitude, longitude, altitude), one a second."""
    collector = FixCollector(datum)
    for i, position in enumerate(positions):
        covariance = None if covariances is None else covariances[i]
        collector.add(SECOND + i * step_ns, navsat_msg(*position, SECOND + i * step_ns, covariance=covariance))
    return collector, collector.track()


def fixes(positions, covariance=None):
    stamps = [SECOND + i * SECOND for i in range(len(positions))]
    return [("/fix", navsat_msg(*p, t, covariance=covariance), t) for p, t in zip(positions, stamps, strict=True)]


def drive_of(make_bag, image_messages, positions, name="bag"):
    images = [
        (topic, msg, SECOND + i * SECOND)
        for i, (topic, msg, _) in enumerate(image_messages([SECOND + i * SECOND for i in range(len(positions))]))
    ]
    return make_bag(sorted([*images, *fixes(positions)], key=lambda m: m[2]), name=name)


@pytest.mark.parametrize("null", [(0.0, 0.0, 500.0), (1e-6, -2e-6, 500.0), (0.0, 11.0, 500.0), (47.0, 11.0, 500.0)])
def test_fixes_before_the_receiver_knows_its_place_set_no_origin(make_bag, image_messages, null):
    """Three fixes at (0, 0, 500) with status 0 before 48 degrees north made a map of 5,260,787 m."""
    positions = [null] * 3 + [north(i) for i in range(12)]
    path = drive_of(make_bag, image_messages, positions)
    with Drive(path) as drive:
        observations = list(drive)
        assert drive.datum == (48.0, 11.0, 500.0)
        assert sum(drive.skipped.values()) == 3
    xy = np.array([o.T_map_base[:3, 3] for o in observations if o.T_map_base is not None])
    assert len(xy) == 12 and np.abs(xy).max() < 130 and np.linalg.norm(np.diff(xy, axis=0), axis=1).max() < 12
    stage = doctor(path).stage("pose")
    assert stage.verdict == "WARN" and (
        "3 poses are unusable" in stage.sentence or "3 fixes are left out" in stage.sentence
    )
    assert "latitude 0, longitude 0" in stage.sentence or f"latitude {null[0]:.7f}" in stage.sentence


def test_a_glitch_amid_the_drive_is_left_out_and_the_way_back_is_not():
    positions = [north(i) for i in range(30)]
    positions[10] = (48.02, 11.0, 500.0)
    positions[11] = (-48.0, 190.0, 500.0)
    collector, track = collected(positions)
    assert collector.implausible == 2 and len(track) == 28
    assert "where no vehicle gets to" in collector.first_implausible and "1901 m" in collector.first_implausible
    assert np.abs(track.trajectories[0].T[:, 0, 3]).max() < 0.01


def test_a_long_silence_a_looped_bag_and_an_emptied_queue_are_no_jumps():
    tunnel = FixCollector()
    for i in range(20):
        stamp = SECOND + (i + 60 * (i >= 10)) * SECOND
        tunnel.add(stamp, navsat_msg(48.0 + NORTH_STEP * (i + 20 * (i >= 10)), 11.0, 500.0, stamp))
    assert len(tunnel.track()) == 20 and not tunnel.implausible
    looped = FixCollector()
    for lap in range(2):
        for i in range(40):
            looped.add((1 + lap * 40 + i) * SECOND, navsat_msg(*north(i), SECOND + i * SECOND))
    assert [len(t) for t in looped.track().trajectories] == [40, 40] and not looped.implausible
    queue = FixCollector()
    for i in range(30):
        queue.add(SECOND * max(i, 25), navsat_msg(*north(2 * i), SECOND + i * SECOND))
    assert len(queue.track()) == 30 and not queue.implausible


@pytest.mark.parametrize("unknown", [[np.nan, np.nan], [0.0, 0.0], [np.inf, np.nan, 0.0], [-9999.0, -9999.0]])
def test_an_altitude_that_starts_unknown_is_that_of_the_fixes_after_it(unknown):
    """NaN altitude in the first two fixes gave a step of 500 m."""
    positions = [(*north(i)[:2], unknown[i] if i < len(unknown) else 500.0) for i in range(10)]
    collector, track = collected(positions)
    assert collector.datum == (48.0, 11.0, 500.0) and collector.unknown_altitudes == len(unknown)
    assert np.abs(np.diff(track.trajectories[0].T[:, 2, 3])).max() < 0.1


def test_altitudes_that_are_lost_midway_are_bridged_and_heights_of_hills_are_kept():
    altitudes = [500 + 4 * i if not 5 <= i < 8 else np.nan for i in range(15)]
    collector, track = collected([(*north(i)[:2], a) for i, a in enumerate(altitudes)])
    up = track.trajectories[0].T[:, 2, 3]
    assert collector.unknown_altitudes == 3
    np.testing.assert_allclose(up, 4 * np.arange(15), atol=0.01)  # the earth falls by a millimetre in 150 m


def test_fixes_without_any_altitude_lie_at_the_height_of_the_map():
    flat, track = collected([(*north(i)[:2], np.nan) for i in range(5)])
    assert flat.datum == (48.0, 11.0, 0.0) and np.abs(track.trajectories[0].T[:, 2, 3]).max() < 0.01
    _, mapped = collected([(*north(i)[:2], np.nan) for i in range(5)], datum=(48.0, 11.0, 512.0))
    assert np.abs(mapped.trajectories[0].T[:, 2, 3]).max() < 0.01
    sea, _ = collected([(*north(i)[:2], 0.0) for i in range(5)])
    assert sea.unknown_altitudes == 0


def fix_with(covariance, kind):
    msg = navsat_msg(48.0, 11.0, 500.0, SECOND, covariance=covariance)
    msg.position_covariance_type = kind
    return msg


FULL = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 16.0]])


@pytest.mark.parametrize(
    ("covariance", "kind", "expected"),
    [
        (FULL, 3, FULL),
        (FULL, 2, np.diag([4.0, 9.0, 16.0])),  # only the diagonal is known
        (FULL, 1, np.diag([4.0, 9.0, 16.0])),  # approximated, from a dilution of precision
        (FULL, 0, None),  # unknown, whatever stands there
        (FULL, 7, None),
        (np.zeros((3, 3)), 2, None),  # never filled in: not perfect
        (np.diag([-1.0, -1.0, -1.0]), 3, None),
        (np.full((3, 3), np.nan), 3, None),
        (np.diag([4.0, 9.0, np.nan]), 2, np.diag([4.0, 9.0, LOOSEST_M**2])),
        (np.diag([4.0, 9.0, 0.0]), 2, np.diag([4.0, 9.0, LOOSEST_M**2])),
        (np.array([[4.0, 9.0, 0], [9.0, 4.0, 0], [0, 0, 1.0]]), 3, np.diag([4.0, 4.0, 1.0])),  # no covariance at all
    ],
)
def test_covariance_types(covariance, kind, expected):
    found = position_covariance(fix_with(covariance, kind))
    assert (found is None) == (expected is None)
    assert found is None or np.allclose(found, expected)


def test_a_fix_that_by_its_own_word_may_be_anywhere_is_none():
    with pytest.raises(FrameError, match="its own covariance may be 1000 m off"):
        FixCollector().add(1, fix_with(np.diag([1e6, 4.0, 4.0]), 2))
    collector = FixCollector()
    collector.add(1, fix_with(np.diag([1e6, 4.0, 4.0]), 0))  # of unknown type: says nothing
    unsure, track = collected(
        [north(i) if i > 2 else (*north(i)[:2], 480.0) for i in range(8)],
        covariances=[np.diag([4.0, 4.0, 1e6 if i < 3 else 4.0]) for i in range(8)],
    )
    assert unsure.datum == (48.0, 11.0, 500.0) and unsure.unknown_altitudes == 3
    assert track.trajectories[0].covariances[0, 2, 2] == LOOSEST_M**2


def naive_plausible(positions, stamps, speed, slack):
    tracks = []
    for i, p in enumerate(positions):
        able = [
            t
            for t in tracks
            if np.sqrt(((p - positions[t[-1]]) ** 2).sum()) <= slack + speed * max(stamps[i] - stamps[t[-1]], 0) * 1e-9
        ]
        if able:
            longest = max(len(t) for t in able)
            next(t for t in able if len(t) == longest).append(i)
        else:
            tracks.append([i])
    best = max(tracks, key=lambda t: (len(t), t[0]))
    return [i in best for i in range(len(positions))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-40, 40)), min_size=1, max_size=18))
def test_the_largest_set_that_one_vehicle_can_have(jumps):
    positions = np.array([[1000.0 * place + offset, 0.0] for place, offset in jumps])
    stamps = np.arange(len(jumps)) * SECOND
    found = plausible(positions, stamps, stamps, 10.0, 20.0)
    assert found.tolist() == naive_plausible(positions, stamps, 10.0, 20.0)


def test_another_place_than_the_map_is_named(make_bag, image_messages):
    """A map whose origin was set by fixes at (0, 0), or of another town."""
    path = drive_of(make_bag, image_messages, [north(i) for i in range(10)])
    with Drive(path, datum=(0.0, 0.0, 500.0)) as drive:
        list(drive)
        assert any("5261 km from the map's origin (latitude 0.00000, longitude 0.00000)" in n for n in drive.notes)
    with Drive(path, datum=(48.1, 11.0, 500.0)) as drive:
        list(drive)
        assert not drive.notes


def test_align_finds_the_frame_of_the_first_drive_despite_its_first_fixes(make_bag, image_messages):
    lost = [(0.0, 0.0, 500.0)] * 2 + [(46.0, 8.0, 500.0)] * 2
    first = drive_of(make_bag, image_messages, lost + [north(i) for i in range(10)], "first")
    second = drive_of(make_bag, image_messages, lost + [north(i + 3) for i in range(10)], "second")
    result = align_bags(first, second)
    xyz = result.trajectory.T[:, :3, 3]
    np.testing.assert_allclose(xyz[0], geodetic_to_enu(*north(3), north(0)), atol=0.01)
    assert "latitude 48.0000000, longitude 11.0000000, altitude 500.00 m" in result.summary
    assert result.summary.count("4 messages of") == 2 and "where no vehicle gets to" in result.summary
