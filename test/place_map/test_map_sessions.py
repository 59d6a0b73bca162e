"""What became of each drive: what it added, what the map knew already, what was removed again."""

import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.place_map import PlaceMap, merge, prune


def test_passing_over_lasts_and_moves_the_mean(new_map, drive):
    place_map = new_map()
    session = drive(place_map, 3)
    before, version = place_map.statistics()[session], place_map.version
    view = np.eye(place_map.dim)[0]
    place_map.pass_over(session, 10**15, view, 0.5)
    place_map.pass_over(session, 10**15 + 1, view)
    place_map.close()
    with PlaceMap.open(place_map.path, writable=True) as again:
        after = again.statistics()[session]
        assert again.passed_over == {session: 2} and len(again) == 3 and again.version == version
        assert after.frames == before.frames + 1.5
        np.testing.assert_allclose(after.total, before.total + 1.5 * view)
        with pytest.raises(FrameError, match="not finite"):
            again.pass_over(session, 10**16, view * np.nan)
        with pytest.raises(VprError, match="no session 7"):
            again.pass_over(7, 10**16, view)


def test_removals_are_counted_and_merged_maps_keep_the_counts(new_map, drive, tmp_path):
    one, two = new_map("one.vprmap"), new_map("two.vprmap")
    for start in (1, 2):
        drive(one, 6, start_ns=start * 10**12)
        drive(two, 5, start_ns=start * 10**12, seed=3)
    one.pass_over(2, 1, np.eye(one.dim)[0])
    prune(one, min_spacing_m=1.5)
    prune(two, drop_sessions=[2])  # nothing that could be counted is left of it
    prune(two, min_spacing_m=3.5)
    assert one.removed == {1: 3, 2: 3}
    one.close(), two.close()
    merge(tmp_path / "both.vprmap", [two.path, one.path])
    with PlaceMap.open(tmp_path / "both.vprmap") as both:
        assert both.removed == {1: 3, 2: 3, 3: 3} and both.passed_over == {3: 1}
