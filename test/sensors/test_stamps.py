"""One rule for the stamps of images, offline and live."""

import pytest

from vpr_ros.sensors.stamps import StampOrder

SECOND = 10**9


def run(stamps):
    """What became of each stamp: True, 'jump' or the reason of the refusal."""
    order, outcomes = StampOrder(), []
    for stamp in stamps:
        refusal = order.refusal(stamp)
        outcomes.append(refusal[0] if refusal else "jump" if order.take(stamp) else True)
    return outcomes


@pytest.mark.parametrize(
    "stamps, outcomes",
    [
        ([SECOND, 2 * SECOND, 2 * SECOND + 1], [True, True, True]),
        ([SECOND, SECOND, SECOND + 1], [True, "image stamp repeated", True]),
        ([0, SECOND, 0, 2 * SECOND], ["image stamp zero", True, "image stamp zero", True]),
        ([5 * SECOND, 4 * SECOND, 5 * SECOND + 1], [True, "image stamp went backwards", True]),  # one second exactly
        ([5 * SECOND, 4 * SECOND - 1, 4 * SECOND], [True, "jump", True]),
        ([9 * SECOND, SECOND, SECOND, 10 * SECOND], [True, "jump", "image stamp repeated", True]),
    ],
)
def test_which_stamps_go_on(stamps, outcomes):
    assert run(stamps) == outcomes


def test_sentences_name_the_stamps():
    order = StampOrder()
    assert "driver sets none" in order.refusal(0)[1]
    order.take(2 * SECOND)
    assert "amid stamped ones" in order.refusal(0)[1]
    assert order.refusal(2 * SECOND)[1] == "image repeats the stamp 2.000000 s"
    assert "from 2.000000 s to 1.500000 s" in order.refusal(3 * SECOND // 2)[1]


def test_an_unreadable_image_counts_for_nothing_and_reset_begins_anew():
    order = StampOrder()
    assert order.refusal(SECOND) is None and order.refusal(SECOND) is None  # judged, not taken
    order.take(SECOND)
    order.reset()
    assert order.refusal(1) is None and not order.take(1)
