from dataclasses import replace

import numpy as np
import pytest
from crossing_drives import crossing_of
from scanned_streets import drive_on

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.align.graph import align_drives
from vpr_ros.offline.align.judging import judge, refuse

pytest.importorskip("gtsam")

LINE = np.array([(0, 0), (300, 0)])
FIRST, SECOND = drive_on(LINE, 0, 290), drive_on(LINE, 10, 280, beside_m=0.5)  # 2 m apart


def held(crossing):
    return judge(align_drives(crossing), crossing.second)


def test_it_says_how_many_hold_where_none_are_and_what_is_left():
    rows = [n for n in range(len(SECOND)) if not 40 <= n < 60 and n < 100]
    crossing = crossing_of(FIRST, SECOND, rows)
    hold = held(crossing)
    np.testing.assert_allclose(hold.gaps_m, [(78, 120), (198, 268)], atol=1e-6)
    assert hold.covered_m == pytest.approx(268 - 42 - 70) and hold.length_m == pytest.approx(268)
    assert "80 of 80 constraints hold, along 156 of 268 m" in hold.sentence
    assert hold.gap_sentence == "no constraint along metres 78 to 120, 198 to 268"
    assert 0 < hold.error_m[0] < hold.error_m[1] < 0.2
    assert hold.reached[:124].all() and not hold.reached[126:].any()  # 50 m beyond the last one
    refuse(hold, crossing.first, ("a", "b"))


def test_no_gaps_are_said_too():
    hold = held(crossing_of(FIRST, SECOND, range(0, len(SECOND), 2)))
    assert len(hold.gaps_m) == 0 and hold.gap_sentence == "no gaps" and hold.reached.all()


def test_sixteen_of_37_are_not_good():
    crossing = crossing_of(FIRST, SECOND, range(0, 37 * 3, 3))
    rng = np.random.default_rng(0)
    constraints = list(crossing.constraints)
    for n in rng.permutation(37)[:21]:
        wrong = constraints[n].T_first_second @ planar_transform(*rng.uniform(-20, 20, 2), 0.0)
        constraints[n] = replace(constraints[n], T_first_second=wrong)
    crossing = replace(crossing, constraints=tuple(constraints))
    hold = held(crossing)
    with pytest.raises(VprError, match=r"a and b cannot .*only 1\d of 37 constraints hold together within 0.5 m"):
        refuse(hold, crossing.first, ("a", "b"))


def test_too_few_and_too_little_covered_are_refused():
    few = crossing_of(FIRST, SECOND, range(0, 90, 10))
    with pytest.raises(VprError, match="only 9 constraints between them, 10 are needed"):
        refuse(held(few), few.first, ("a", "b"))
    short = crossing_of(FIRST, SECOND, range(10, 24))
    with pytest.raises(VprError, match="cover 26 of 268 m of the second, 54 m are needed"):
        refuse(held(short), short.first, ("a", "b"))


def test_parts_without_constraints_are_gaps():
    crossing = crossing_of(FIRST, SECOND, range(100))
    part = (np.arange(len(SECOND)) >= 110).astype(int)
    hold = held(replace(crossing, second=replace(crossing.second, part=part)))
    np.testing.assert_allclose(hold.gaps_m, [(198, 218), (220, 268)], atol=1e-6)
    assert hold.length_m == pytest.approx(266) and hold.covered_m == pytest.approx(198)


def test_a_stretch_of_wrong_constraints_shows_by_the_odometry_at_its_ends():
    crossing = crossing_of(FIRST, SECOND, range(len(SECOND)))
    constraints = list(crossing.constraints)
    for n in range(50, 90):
        moved = constraints[n].T_first_second @ planar_transform(8.0, 0.0, 0.0)
        constraints[n] = replace(constraints[n], T_first_second=moved)
    hold = held(replace(crossing, constraints=tuple(constraints)))
    beginning = np.array([(a, b) for a, b, _ in hold.bends if a < 140])
    end = np.array([(a, b) for a, b, _ in hold.bends if a >= 140])
    assert beginning.min() <= 100 <= beginning.max() + 2 and end.min() - 2 <= 178 <= end.max()
    assert sum(by for _, _, by in hold.bends) > 8
    assert "odometry disagrees with the constraints along metres" in hold.bend_sentence
    assert held(crossing).bend_sentence == ""
