"""Stamps that travel as float seconds: how far off they are, and that they are found again."""

import math

import numpy as np
import pytest

from vpr_ros.runtime.loop_stamps import NANO, StampIndex, nearest_ns, seconds_of

TODAY_NS = 1_790_000_000 * NANO  # 2026


def stamps(count=20_000):
    return TODAY_NS + np.random.default_rng(0).integers(0, 10**18 // 100, count)


def test_a_float_second_of_today_is_up_to_0_12_us_off():
    assert math.ulp(TODAY_NS / NANO) == 2**-22
    errors = [abs(nearest_ns(seconds_of(stamp)) - int(stamp)) for stamp in stamps()]
    assert max(errors) <= 120 and max(errors) > 100


def test_a_consumer_that_adds_seconds_and_nanoseconds_stays_within_1_us():
    for stamp in stamps(5000).tolist():
        added = float(stamp // NANO) + 1e-9 * (stamp % NANO)
        assert abs(nearest_ns(added) - nearest_ns(seconds_of(stamp))) <= 240


def test_every_stamp_is_found_again_and_no_other():
    index, mine = StampIndex(), sorted(set(stamps(2000).tolist()))
    for stamp in reversed(mine):
        index.add(stamp)
    assert len(index) == len(mine) and index.newest_ns == mine[-1]
    assert all(index.find(seconds_of(stamp)) == stamp for stamp in mine)
    assert index.find(seconds_of(mine[0] - 5000)) is None
    assert index.nearest(seconds_of(mine[0] - 5000)) == mine[0]
    assert index.find(seconds_of(mine[0] - 5000), tolerance_ns=6000) == mine[0]


def test_neighbours_two_microseconds_apart_are_told_apart():
    index = StampIndex()
    index.add(TODAY_NS)
    index.add(TODAY_NS + 2000)
    assert index.find(seconds_of(TODAY_NS + 300)) == TODAY_NS
    assert index.find(seconds_of(TODAY_NS + 1700)) == TODAY_NS + 2000


def test_nothing_is_found_where_nothing_is():
    assert StampIndex().find(1.0) is None and StampIndex().nearest(1.0) is None and StampIndex().newest_ns is None


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_no_time_is_no_stamp(seconds):
    with pytest.raises(ValueError):
        nearest_ns(seconds)
