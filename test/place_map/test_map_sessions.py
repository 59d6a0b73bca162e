"""What became of each drive: what it added, what the map knew already, what was removed again."""

import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.place_map import PlaceMap, info, merge, prune


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


def test_info_tells_of_each_session_what_it_added_and_what_it_takes(new_map, drive):
    place_map = new_map()
    drive(place_map, 6)
    drive(place_map, 4, start_ns=10**12)
    place_map.pass_over(2, 1, np.eye(place_map.dim)[0])
    prune(place_map, min_spacing_m=1.5)
    knew = place_map.start_session("knew everything")
    place_map.pass_over(knew, 1, np.eye(place_map.dim)[0])
    told = info(place_map)
    sessions = told["sessions"]
    assert [(s["keyframes"], s["added"], s["known"]) for s in sessions] == [(3, 6, 0), (2, 4, 1), (0, 0, 1)]
    keyframes = place_map.keyframes()
    for one in sessions:
        ids = keyframes.ids[keyframes.sessions == one["id"]].tolist()
        pictures = sum(len(place_map.thumbnail(i)) for i in ids)
        assert one["bytes"] == ({"descriptors": 2 * 16 * len(ids), "thumbnails": pictures} if ids else {})
    assert sum(sum(s["bytes"].values()) for s in sessions) == sum(part["bytes"] for part in told["parts"].values())
