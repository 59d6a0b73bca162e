import sys
from dataclasses import replace

import numpy as np
import pytest
from crossing_drives import crossing_of, near_errors_m
from scanned_streets import drive_on

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, planar_transform
from vpr_ros.offline.align.graph import align_drives

pytest.importorskip("gtsam")

LINE = np.array([(0, 0), (150, 0), (150, 120)])
FIRST, SECOND = drive_on(LINE, 0, 260), drive_on(LINE, 20, 250, beside_m=0.7)


def test_the_second_drive_follows_the_drift_of_the_first():
    crossing = crossing_of(FIRST, SECOND, range(0, len(SECOND), 2))
    found = align_drives(crossing)
    np.testing.assert_array_equal(found.first, crossing.first.T)
    assert np.percentile(near_errors_m(FIRST, SECOND, found.first, found.second), 90) < 0.2
    one = crossing.constraints[0]  # what a single rigid transform, here the one at the beginning, makes of them
    rigid = found.first[one.first] @ one.T_first_second @ invert(crossing.second.T[one.second]) @ crossing.second.T
    assert near_errors_m(FIRST, SECOND, found.first, rigid).max() > 3
    assert found.errors_m.max() < 0.2 and found.errors_rad.max() < 0.02


def test_between_two_constraints_far_apart_odometry_tells_the_way():
    rows = [n for n in range(len(SECOND)) if n < 25 or n >= 60]  # 70 m without any, round the corner
    found = align_drives(crossing_of(FIRST, SECOND, rows))
    errors = near_errors_m(FIRST, SECOND, found.first, found.second)
    assert np.percentile(errors, 90) < 0.5 and errors.max() < 1.5


def test_wrong_constraints_do_not_pull():
    crossing = crossing_of(FIRST, SECOND, range(len(SECOND)))
    wrong = np.random.default_rng(1).permutation(len(SECOND))[:20]
    constraints = list(crossing.constraints)
    for n in wrong:
        shifted = constraints[n].T_first_second @ planar_transform(6.0, -2.0, 0.3)
        constraints[n] = replace(constraints[n], T_first_second=shifted)
    found = align_drives(replace(crossing, constraints=tuple(constraints)))
    assert near_errors_m(FIRST, SECOND, found.first, found.second).max() < 0.3
    assert set(np.flatnonzero(found.errors_m > 1.0)) == set(wrong)


def test_a_first_drive_that_comes_back_is_corrected_only_where_it_may_move():
    """Up and down one street: its own odometry puts the way back metres beside the way there."""
    first = np.concatenate([drive_on(LINE, 0, 200), drive_on(LINE, 200, 0, beside_m=1.5)])
    second = drive_on(LINE, 10, 190, beside_m=0.5)
    crossing = crossing_of(first, second, range(0, len(second), 2))
    there = crossing.constraints
    back = [replace(c, first=len(first) - 1 - c.first) for c in there[1::2]]
    back = [replace(c, T_first_second=invert(first[c.first]) @ second[c.second]) for c in back]
    crossing = replace(crossing, constraints=(*there, *back))
    held, moved = align_drives(crossing), align_drives(crossing, move_first=True)
    assert near_errors_m(first, second, held.first, held.second).max() > 1.5
    assert near_errors_m(first, second, moved.first, moved.second).max() < 0.6
    np.testing.assert_allclose(moved.first[0], crossing.first.T[0], atol=1e-4)


def test_only_the_part_of_the_first_drive_with_most_constraints_is_the_frame():
    crossing = crossing_of(FIRST, SECOND, range(len(SECOND)))
    part = (np.arange(len(FIRST)) >= 90).astype(int)
    broken = crossing.first.T.copy()
    broken[90:] = planar_transform(300, 50, 1.0) @ broken[90:]
    found = align_drives(replace(crossing, first=replace(crossing.first, T=broken, part=part)))
    assert max(c.first for c in found.constraints) < 90 and len(found.constraints) > 70
    assert np.isnan(found.first[90:]).all() and np.isfinite(found.first[:90]).all()
    assert near_errors_m(FIRST[:90], SECOND, found.first[:90], found.second).max() < 0.3


def test_a_part_of_the_second_drive_without_constraints_has_no_pose():
    crossing = crossing_of(FIRST, SECOND, range(50))
    part = (np.arange(len(SECOND)) >= 60).astype(int)
    found = align_drives(replace(crossing, second=replace(crossing.second, part=part)))
    assert np.isfinite(found.second[:60]).all() and np.isnan(found.second[60:]).all()


def test_without_gtsam_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gtsam", None)
    with pytest.raises(VprError, match=r"need gtsam .*pip install 'vpr_ros\[slam\]'"):
        align_drives(crossing_of(FIRST[:9], SECOND[:5], [0, 1]))


def test_a_graph_needs_constraints():
    with pytest.raises(VprError, match="needs constraints"):
        align_drives(crossing_of(FIRST[:9], SECOND[:5], []))
