"""Whole drives through the recogniser: what it accepts, what it does when the world misbehaves."""

import numpy as np
import pytest
from recognition_worlds import DIM, World, correct, drive, keyframes, run

from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.recognition import DecisionConfig, Recogniser, RecognitionConfig

RADIUS = 10.0
SLAM = RecognitionConfig(place_radius=RADIUS, loop_min_gap_s=5.0, loop_min_travel_m=20.0)


@pytest.fixture(scope="module")
def world():
    return World(11)


@pytest.fixture(scope="module")
def frames(world):
    return keyframes(drive(world, [(0, 0, 300), (1, 0, 200)], step_m=2))


def dusk(world, pieces, **options):
    return drive(world, pieces, condition=1, change=0.8, noise=0.4, start_s=1000, **options)


def accepted(answers):
    return np.array([r.status == "accepted" for r in answers])


@pytest.mark.parametrize("odometry", [True, False])
def test_another_light_and_a_stretch_off_the_map(world, frames, odometry, calibration):
    query = dusk(world, [(0, 50, 280), (2, 0, 200), (1, 20, 180)])
    answers = run(Recogniser(frames, calibration), query, odometry)
    right, on_map = correct(answers, query, frames)
    yes = accepted(answers)
    assert right[on_map].mean() > 0.95 and yes[on_map].mean() > 0.8
    assert right[yes].mean() > 0.98 and yes[~on_map].mean() < 0.03
    for r in answers:
        assert sum(h.probability for h in r.hypotheses) + r.p_unknown == pytest.approx(1.0)
        assert [h.probability for h in r.hypotheses] == sorted((h.probability for h in r.hypotheses), reverse=True)
    off = [r for r, on in zip(answers, on_map, strict=True) if not on][40:]
    assert np.mean([r.status == "unknown" and r.reason == "off_map" for r in off]) > 0.9


def test_hypotheses_are_distinct_places(world, frames, either_calibration):
    for r in run(Recogniser(frames, either_calibration), dusk(world, [(0, 100, 160)])):
        p = np.array([h.T_map_base[:3, 3] for h in r.hypotheses])
        gaps = np.linalg.norm(p[:, None] - p[None], axis=-1)[np.triu_indices(len(p), 1)]
        assert (gaps > 2 * RADIUS).all()
        for h in r.hypotheses:
            assert h.keyframe_id == frames.ids[h.row] and h.stamp_ns == frames.stamps_ns[h.row]
        assert list(r.retrieval) == sorted(r.retrieval, key=lambda pair: -pair[1]) and len(r.retrieval) == 25


def test_a_place_that_looks_like_another_is_ambiguous_until_the_robot_has_moved_on(calibration):
    world = World(12)
    world.alias[1] = (0, 100.0, 200.0)  # the middle of street 1 repeats street 0
    frames = keyframes(drive(world, [(0, 0, 300), (1, 0, 300)], step_m=2))
    inside = dusk(world, [(1, 110, 180)])
    lost = run(Recogniser(frames, calibration), inside)
    assert not accepted(lost).any()
    assert sum(r.reason == "ambiguous" for r in lost) > 5
    streets = [sorted(round(h.T_map_base[1, 3] / 1000) for h in r.hypotheses[:2]) for r in lost[5:]]
    assert np.mean([pair == [0, 1] for pair in streets]) > 0.9
    entering = dusk(world, [(1, 40, 180)])
    followed = run(Recogniser(frames, calibration), entering)
    right, _ = correct(followed, entering, frames)
    assert right[30:].mean() > 0.98 and accepted(followed)[-60:].mean() > 0.8


@pytest.mark.parametrize("odometry", [True, False])
def test_a_kidnapped_robot_is_found_again(world, frames, odometry, either_calibration):
    query = dusk(world, [(0, 20, 120), (1, 60, 160), (0, 200, 290)])
    answers = run(Recogniser(frames, either_calibration), query, odometry)
    right, _ = correct(answers, query, frames)
    for jump in (100, 200):
        assert right[jump + 20 : jump + 60].all()
        wrong = accepted(answers)[jump : jump + 20] & ~right[jump : jump + 20]
        assert wrong.sum() <= 6


def test_a_standing_robot_gathers_no_confidence_from_the_same_picture(world, frames, calibration):
    """Off the map, before a view that happens to resemble something: a thousand copies of it are still one view."""
    rng = np.random.default_rng(0)
    view = world.see(2, np.array([33.0]), 1, 0.8, 0.4)[0].astype(np.float32)
    view = 0.92 * view + 0.33 * frames.descriptors[40].astype(np.float32)
    for odometry in (planar_transform(5, 0, 0), None):
        recogniser = Recogniser(frames, calibration)
        stated = []
        for i in range(300):
            noisy = view + 0.005 * rng.normal(size=DIM)
            T = None if odometry is None else odometry @ planar_transform(*rng.normal(0, 0.01, 2), 0)
            answer = recogniser.recognise((i + 1) * 33_000_000, noisy / np.linalg.norm(noisy), T)
            assert answer.status != "accepted"
            stated.append(answer.best.probability if answer.best else 0.0)
        assert max(stated) < stated[0] + 0.1 and stated[0] > 0.05


def test_reversing_follows_odometry_backwards(world, frames, either_calibration):
    there = drive(world, [(0, 60, 160)], condition=1, change=0.8, noise=0.4, start_s=1000)
    back = drive(world, [(0, 160, 100)], condition=1, change=0.8, noise=0.4, start_s=1020, seed=4)
    back.T_odom_base[:] = there.T_odom_base[-1] @ np.stack([planar_transform(x, 0, 0) for x in -np.arange(60.0)])
    recogniser = Recogniser(frames, either_calibration)
    run(recogniser, there)
    answers = run(recogniser, back)
    right, _ = correct(answers, back, frames)
    assert right.mean() > 0.95 and accepted(answers).mean() > 0.8


def test_two_sessions_support_each_other(world, either_calibration):
    a = drive(world, [(0, 0, 200)], step_m=2)
    b = drive(world, [(0, 1, 200)], step_m=2, condition=3, change=0.5, seed=2, start_s=500)
    frames = keyframes(a, b)
    query = dusk(world, [(0, 30, 150)])
    answers = run(Recogniser(frames, either_calibration), query)
    right, _ = correct(answers, query, frames)
    assert right[5:].all() and accepted(answers)[20:].mean() > 0.9


def test_a_map_without_poses_counts_frames(world):
    frames = keyframes(drive(world, [(0, 0, 300)], step_m=2), poses=False, odometry=False)
    query = dusk(world, [(0, 40, 240)], step_m=2)
    recogniser = Recogniser(frames, config=RecognitionConfig(place_radius=2))
    answers = run(recogniser, query, odometry=False)
    rows = np.array([r.best.row for r in answers])
    assert (np.abs(rows - (20 + np.arange(100)))[10:] <= 2).mean() > 0.9
    assert all(h.T_map_base is None for r in answers for h in r.hypotheses)
    for r in answers:
        taken = sorted(h.row for h in r.hypotheses)
        assert (np.diff(taken) > 4).all()


def test_loops_of_the_current_drive_are_found_and_recent_places_never(world, either_calibration):
    """Streaming slam: the drive passes street 0 twice; the keyframes just left behind are not searched."""
    once = drive(world, [(0, 0, 200), (1, 0, 100), (0, 0, 200)], step_m=2, rate_hz=5, noise=0.4)
    recogniser = Recogniser(None, either_calibration, SLAM, dim=DIM)
    answers = []
    for i in range(len(once.s)):
        answers.append(recogniser.recognise(int(once.stamps_ns[i]), once.descriptors[i], once.T_odom_base[i]))
        recogniser.insert(i, 1, int(once.stamps_ns[i]), once.descriptors[i], once.T_odom_base[i], once.T_map_base[i])
    assert answers[0].reason == "no_map" and answers[5].reason == "too_recent"
    for i, r in enumerate(answers):
        for keyframe_id, _ in r.retrieval:
            assert once.stamps_ns[i] - once.stamps_ns[keyframe_id] >= 5e9
    second = answers[150:]
    assert not accepted(answers[:150]).any()
    hits = [(i, r.match.keyframe_id) for i, r in enumerate(second) if r.match]
    assert len(hits) > 60 and all(abs(i - k) <= 5 for i, k in hits)


def test_a_robot_waiting_in_slam_mode_meets_no_old_place(world, either_calibration):
    first = drive(world, [(0, 0, 60)], step_m=2, rate_hz=5)
    recogniser = Recogniser(None, either_calibration, SLAM, dim=DIM)
    for i in range(30):
        stamp_ns, T_odom = int(first.stamps_ns[i]), first.T_odom_base[i]
        recogniser.insert(i, 1, stamp_ns, first.descriptors[i], T_odom, first.T_map_base[i])
        recogniser.recognise(stamp_ns + 1, first.descriptors[i], T_odom)
    for i in range(200):  # forty seconds on one spot
        stamp_ns = int(first.stamps_ns[-1]) + (i + 1) * 200_000_000
        answer = recogniser.recognise(stamp_ns, first.descriptors[-1], first.T_odom_base[-1])
        assert answer.status != "accepted"
    assert first.s[-1] - first.s[len(recogniser) - 1] >= 18  # the next one is within 20 m
    recogniser.end_session()
    assert len(recogniser) == 30


def test_inserting_gives_the_same_answers_as_a_finished_map(world, frames, either_calibration):
    grown = Recogniser(None, either_calibration, RecognitionConfig(place_radius=RADIUS), dim=DIM)
    for i in range(len(frames)):
        pose, odom = frames.T_map_base[i], frames.T_odom_base[i]
        grown.insert(int(frames.ids[i]), 1, int(frames.stamps_ns[i]), frames.descriptors[i], odom, pose)
    grown.end_session()
    query = dusk(world, [(0, 50, 90)])
    whole = run(Recogniser(frames, either_calibration), query)
    for a, b in zip(whole, run(grown, query), strict=True):
        assert [h.keyframe_id for h in a.hypotheses[:1]] == [h.keyframe_id for h in b.hypotheses[:1]]
        assert a.retrieval == b.retrieval


def test_the_same_drive_gives_the_same_answers(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 90), (2, 0, 20)])
    once, again = (run(Recogniser(frames, either_calibration), query) for _ in range(2))
    assert [MatchRecord.from_recognition(r) for r in once] == [MatchRecord.from_recognition(r) for r in again]


def test_a_clock_that_jumps_back_starts_anew(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 80)])
    recogniser = Recogniser(frames, either_calibration)
    first = run(recogniser, query)
    again = run(recogniser, query)
    assert "clock went back" in again[0].note and not again[1].note
    assert [r.hypotheses[0].probability for r in again] == [r.hypotheses[0].probability for r in first]


def test_a_jump_of_the_odometry_is_noted_and_survived(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 150)])
    query.T_odom_base[60:] = planar_transform(700, -200, 1.0) @ query.T_odom_base[60:]
    answers = run(Recogniser(frames, either_calibration), query)
    assert "odometry_jump" in answers[60].note and sum(bool(r.note) for r in answers) == 1
    right, _ = correct(answers, query, frames)
    assert right[20:].mean() > 0.95


def test_a_long_silence_without_odometry_forgets(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 80)])
    query.stamps_ns[15:] += 60_000_000_000
    answers = run(Recogniser(frames, either_calibration), query, odometry=False)
    assert "no image and no odometry" in answers[15].note
    assert not any(r.note for r in run(Recogniser(frames, either_calibration), query))


def test_unusable_frames_are_refused_and_leave_the_filter_alone(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 80)])
    clean, dirty = Recogniser(frames, either_calibration), Recogniser(frames, either_calibration)
    expected = run(clean, query)
    got = []
    for i in range(len(query.s)):
        broken = query.descriptors[i].copy()
        broken[3] = np.nan
        for bad in (broken, np.zeros(DIM), query.descriptors[i][:-1]):
            with pytest.raises(FrameError):
                dirty.recognise(int(query.stamps_ns[i]), bad, query.T_odom_base[i])
        got.append(dirty.recognise(int(query.stamps_ns[i]), query.descriptors[i], query.T_odom_base[i]))
        with pytest.raises(FrameError, match="two images have the stamp"):
            dirty.recognise(int(query.stamps_ns[i]), query.descriptors[i], query.T_odom_base[i])
    assert [MatchRecord.from_recognition(r) for r in got] == [MatchRecord.from_recognition(r) for r in expected]


def test_poses_that_are_not_finite_count_as_lost_odometry(world, frames, either_calibration):
    query = dusk(world, [(0, 50, 120)])
    query.T_odom_base[::7] = np.nan
    answers = run(Recogniser(frames, either_calibration), query)
    right, _ = correct(answers, query, frames)
    assert right[20:].mean() > 0.95


def test_confirmation_by_several_frames(world, frames, either_calibration):
    strict = RecognitionConfig(place_radius=RADIUS, decision=DecisionConfig(min_consistent_frames=4))
    query = dusk(world, [(0, 50, 120)])
    plain, slow = (
        run(Recogniser(frames, either_calibration), query),
        run(Recogniser(frames, either_calibration, strict), query),
    )
    assert any(r.reason == "unconfirmed" for r in slow) or accepted(plain)[:3].sum() == 0
    assert accepted(slow).sum() <= accepted(plain).sum() and accepted(slow)[-40:].mean() > 0.9


def test_an_empty_map_says_so():
    empty = Recogniser(None, dim=DIM)
    answer = empty.recognise(1, np.ones(DIM) / np.sqrt(DIM))
    assert (answer.status, answer.reason, answer.p_unknown, answer.hypotheses) == ("unknown", "no_map", 1.0, ())
    with pytest.raises(VprError, match="dimension"):
        Recogniser(None)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_tiny_maps_work(world, n):
    d = drive(world, [(0, 0, 2 * n)], step_m=2)
    frames = keyframes(d)
    assert isinstance(frames, Keyframes) and len(frames) == n
    recogniser = Recogniser(frames)
    for i in range(n):
        answer = recogniser.recognise(i + 1, d.descriptors[i])
        assert 0 <= answer.p_unknown <= 1 and len(answer.retrieval) == n
