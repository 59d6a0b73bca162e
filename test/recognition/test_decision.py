import numpy as np
import pytest
from recognition_worlds import World, drive, keyframes

from vpr_ros.geometry import planar_transform
from vpr_ros.recognition.decision import REASONS, Decision, DecisionConfig
from vpr_ros.recognition.filter import TopologicalFilter
from vpr_ros.recognition.motion import MotionConfig, MotionTracker
from vpr_ros.recognition.places import FrameEvidence, distinct_places
from vpr_ros.recognition.topology import Topology

CONFIG = DecisionConfig(accept_probability=0.9, min_margin=0.2, unknown_probability=0.5)


@pytest.mark.parametrize(
    ("probabilities", "status", "reason"),
    [
        ([0.95, 0.02], "accepted", "accepted"),
        ([0.9], "accepted", "accepted"),
        ([0.7, 0.1], "rejected", "low_probability"),
        ([0.5, 0.4], "rejected", "ambiguous"),
        ([0.3, 0.1], "unknown", "off_map"),
        ([], "unknown", "off_map"),
    ],
)
def test_status_and_reason(probabilities, status, reason):
    got = Decision(CONFIG).decide(np.array(probabilities), continues=False)
    assert got[:2] == (status, reason) and got[2].startswith(REASONS[reason][:-1])


def test_a_place_that_the_frame_itself_does_not_show_is_not_accepted():
    sure = np.array([0.99])
    assert Decision(CONFIG).decide(sure, True, supported=False)[:2] == ("rejected", "unsupported")
    assert Decision(DecisionConfig(require_support=False)).decide(sure, True, supported=False)[0] == "accepted"


def test_margin_counts_even_for_a_probable_place():
    strict = DecisionConfig(accept_probability=0.55, min_margin=0.3)
    assert Decision(strict).decide(np.array([0.6, 0.35]), False)[1] == "ambiguous"
    assert Decision(strict).decide(np.array([0.6, 0.25]), False)[0] == "accepted"


def test_confirmation_starts_over_when_the_place_changes():
    decision = Decision(DecisionConfig(min_consistent_frames=3))
    sure = np.array([0.97])
    got = [decision.decide(sure, continues)[1] for continues in (False, True, True, True, False, True, True)]
    assert got == ["unconfirmed", "unconfirmed", "accepted", "accepted", "unconfirmed", "unconfirmed", "accepted"]


def test_places_sum_their_keyframes_and_never_overlap():
    frames = keyframes(drive(World(6), [(0, 0, 200), (1, 0, 200)], step_m=2))
    top = Topology(frames, radius=10.0)
    rng = np.random.default_rng(0)
    for trial in range(20):
        belief = TopologicalFilter(top)
        belief.update(rng.choice(top.n, 30, replace=False), rng.normal(3, 2, 30), -0.5)
        frame = FrameEvidence({int(row): float(rng.normal(3, 2)) for row in rng.choice(top.n, 30, replace=False)}, -0.5)
        places = distinct_places(belief, frame, max_places=100, ignore_below=0.0)
        every = belief.belief(np.arange(top.n))
        p = frames.T_map_base[:, :3, 3]
        taken, order = [], np.argsort(-every, kind="stable")
        for row in order:  # highest keyframe first, none within twice the radius of one already taken
            if row in belief.rows and all(np.linalg.norm(p[row] - p[other]) > 20.0 for other in taken):
                taken.append(row)
        expected = {int(r): sum(every[j] for j in range(top.n) if np.linalg.norm(p[j] - p[r]) <= 10.0) for r in taken}
        assert {place.row: pytest.approx(place.posterior) for place in places} == expected
        for place in places:
            gaps = np.linalg.norm(p - p[place.row], axis=1)
            assert place.vicinity == pytest.approx(every[gaps <= 20.0].sum())
            assert place.before == pytest.approx((gaps <= 20.0).sum() / (2 * top.n))
            said = [frame.log_ratios.get(row, -0.5) for row in np.flatnonzero(gaps <= 10.0).tolist()]
            assert place.evidence == max(said)
        assert sum(place.posterior for place in places) <= 1 + 1e-9
        assert len(distinct_places(belief, frame, max_places=3)) == 3, trial


def tracker():
    return MotionTracker(MotionConfig(max_speed_mps=20, jump_slack_m=1.0), turn_weight_m=1.0)


def test_shifts_are_handed_out_once_enough_has_gathered_and_add_up():
    motion, shifts, steps = tracker(), 0.0, 0.0
    for i in range(101):
        m = motion.update(i * 100_000_000, planar_transform(0.3 * i, 0, 0), shift_from_m=2.0)
        shifts += m.shift_m or 0.0
        steps += m.step_m or 0.0
    assert shifts == pytest.approx(29.4, abs=1e-6) and steps == pytest.approx(30.0)


def test_reversing_is_negative_turning_is_forward_and_jitter_is_nothing():
    motion = tracker()
    motion.update(0, planar_transform(0, 0, 1.0), 1.0)
    back = planar_transform(0, 0, 1.0) @ planar_transform(-1.5, 0, 0)
    assert motion.update(10**9, back, 1.0).shift_m == pytest.approx(-1.5)
    assert motion.update(2 * 10**9, back @ planar_transform(-0.1, 0, 1.2), 1.0).shift_m == pytest.approx(1.3)
    rng, still, total = np.random.default_rng(0), tracker(), 0.0
    for i in range(3000):
        m = still.update(i * 33_000_000, planar_transform(*rng.normal(0, 0.01, 2), 0), 1.0)
        assert m.shift_m is None
        total += m.step_m or 0.0
    assert total < 0.1


def test_absent_broken_and_jumping_odometry():
    motion = tracker()
    assert motion.update(0, None, 1.0).step_m is None
    assert motion.update(1, np.full((4, 4), np.nan), 1.0).step_m is None
    assert motion.update(2, planar_transform(0, 0, 0), 1.0).step_m is None
    assert motion.update(10**9, planar_transform(3, 0, 0), 1.0).shift_m == pytest.approx(3.0)
    jump = motion.update(2 * 10**9, planar_transform(300, 0, 0), 1.0)
    assert jump.step_m is None and "odometry_jump of 297.0 m" in jump.note
    assert motion.update(3 * 10**9, planar_transform(304, 0, 0), 1.0).shift_m == pytest.approx(4.0)
