"""Stamps of streams: what is nearest to a stamp, what may follow it, and what of a stream arrives."""

import numpy as np
import pytest

from vpr_ros.sensors.arrived_stamps import ArrivedStamps
from vpr_ros.sensors.stamps import Slips, StampOrder, begins_anew, nearest

SECOND = 10**9


def test_nearest_readings_come_nearest_first():
    rng = np.random.default_rng(4)
    of = np.unique(rng.integers(0, 400, 60))
    asked = rng.integers(-50, 450, 80)
    for count in (1, 5, 20, 200):
        found = nearest(asked, of, count)
        for stamp, row in zip(asked, found, strict=True):
            expected = sorted(range(len(of)), key=lambda i: (abs(int(of[i]) - int(stamp)), of[i]))[:count]
            assert row.tolist() == expected


def arrived(stamps) -> ArrivedStamps:
    out = ArrivedStamps()
    for stamp in stamps:
        out.add(int(stamp))
    return out


@pytest.mark.parametrize("kept", [1.0, 0.6, 0.27])
def test_what_is_lost_of_a_camera_is_seen_by_its_stamps(kept):
    rng = np.random.default_rng(2)
    sent = 1000 * SECOND + (np.arange(400) * SECOND / 30 + rng.normal(0, 1e-3 * SECOND, 400)).astype(np.int64)
    came = sent[rng.random(400) < kept]
    rate_hz, share = arrived(came).share()
    last = came[-100:]  # what is kept
    true = (len(last) - 1) / np.sum((sent > last[0]) & (sent <= last[-1]))
    assert rate_hz == pytest.approx(30, rel=0.1) and share == pytest.approx(true, rel=0.1)


def test_nothing_is_claimed_of_few_messages_and_of_a_stream_without_a_step():
    assert ArrivedStamps().share() is None
    assert arrived(np.arange(15) * SECOND).share() is None
    irregular = 1000 * SECOND + np.cumsum(np.random.default_rng(0).uniform(0.03, 0.3, 100) * SECOND)
    assert arrived(irregular).share() is None
    assert arrived(np.zeros(50)).share() is None
    assert arrived(np.arange(60) * SECOND // 10).share() == (pytest.approx(10), 1.0)


def test_after_a_restarted_clock_the_losses_are_counted_anew():
    stamps = arrived([*range(1000 * SECOND, 1050 * SECOND, SECOND), *range(0, 20 * SECOND, SECOND)])
    assert stamps.share() is None and stamps.last_ns == 19 * SECOND


@pytest.mark.parametrize("ahead_s", [60, 3600, 10**8])
def test_a_clock_that_was_set_ahead_or_a_pause_is_no_loss(ahead_s):
    steady = np.arange(30) * SECOND // 4
    assert arrived([*steady, *(steady + ahead_s * SECOND)]).share() == (pytest.approx(4), 1.0)
    assert arrived(np.arange(30) * 20 * SECOND).share() == (pytest.approx(0.05), 1.0)  # a slow sensor


class Ordered:
    """What a StampOrder makes of stamps in seconds."""

    def __init__(self, stamps_s, end=True):
        self.refused, self.jumps, self.passed = [], [], []
        order = StampOrder(lambda problem, _: self.refused.append(problem), lambda jump, _: self.jumps.append(jump))
        for stamp in stamps_s:
            self.passed += order.take(round(stamp * SECOND), stamp)
        if end:
            self.passed += order.end()


def camera(count=40, start=1000.0):
    return [start + i / 10 for i in range(count)]


@pytest.mark.parametrize("wrong_by_s", [95_896_921, -95_896_921, 3600, -3600, 60, -60, 6, -5, -1.5])
def test_single_images_of_another_time_are_left_out(wrong_by_s):
    """Every tenth image from another epoch made one session of 95,896,921 s."""
    stamps = camera()
    slipped = [s + wrong_by_s if i % 10 == 4 else s for i, s in enumerate(stamps)]
    seen = Ordered(slipped)
    assert seen.passed == [s for i, s in enumerate(stamps) if i % 10 != 4]
    assert seen.refused == ["image stamp slipped"] * 4 and not seen.jumps


@pytest.mark.parametrize(
    "by_s, jump",
    [
        (95_896_921, "clock jumped ahead"),
        (3600, "clock jumped ahead"),
        (60, None),  # a pause
        (-5, "clock jumped back"),
        (-60, "clock jumped back"),
        (-3600, "clock jumped back"),
    ],
)
def test_a_clock_that_is_set_is_followed_and_loses_no_image(by_s, jump):
    stamps = [*camera(20), *(s + by_s for s in camera(20, 1002.0))]
    seen = Ordered(stamps)
    assert seen.passed == stamps and not seen.refused
    assert seen.jumps == ([jump] if jump else [])


def test_a_looped_bag_a_time_lapse_and_a_slow_camera_lose_nothing():
    for stamps in (camera(20) * 3, [900.0 * i for i in range(1, 20)], [6.0 * i for i in range(1, 20)]):
        seen = Ordered(stamps)
        assert seen.passed == stamps and not seen.refused
    lapse = [900.0 * i for i in range(1, 10)]
    assert Ordered(lapse * 2).passed == lapse * 2


def test_zero_repeated_and_disordered_stamps_are_refused_by_name():
    stamps = [1000, 1000.1, 1000.1, 1000.5, 1000.3, 0, 1000.6]
    seen = Ordered(stamps)
    assert seen.passed == [1000, 1000.1, 1000.5, 1000.6]
    assert seen.refused == ["image stamp repeated", "image stamp went backwards", "image stamp zero"]
    assert not Ordered([0, 0, 0]).passed


def test_two_cameras_on_one_topic_are_never_mixed():
    stamps = [s for pair in zip(camera(), camera(start=5000.0), strict=True) for s in pair]
    seen = Ordered(stamps)
    assert seen.passed == camera() and seen.refused == ["image stamp slipped"] * 40 and not seen.jumps


def test_the_last_image_may_follow_a_pause_but_not_come_from_another_time():
    assert Ordered([1000, 1010]).passed == [1000, 1010] and Ordered([1000, 1010], end=False).passed == [1000]
    for other in (1000 - 5, 1000 + 3600):
        seen = Ordered([1000, other])
        assert seen.passed == [1000] and seen.refused == ["image stamp slipped"]


def test_poses_may_be_a_little_out_of_order():
    slipped = []
    slips = Slips(lambda stamp, last: slipped.append((stamp, last)))
    passed = []
    for stamp in (10.0, 10.2, 10.1, 99.0, 10.3, 2.0, 2.1, 1.9, 2.2):
        passed += [item for _, item in slips.take(round(stamp * SECOND), stamp)]
    assert passed == [10.0, 10.2, 10.1, 10.3, 2.0, 2.1, 1.9, 2.2]
    assert slipped == [(99 * SECOND, round(10.2 * SECOND))]


def test_what_is_another_drive():
    assert begins_anew(10 * SECOND, 10 * SECOND - 1) and begins_anew(0, 601 * SECOND)
    assert not begins_anew(0, 600 * SECOND) and not begins_anew(5, 5)
