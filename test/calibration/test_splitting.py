"""Maps without poses against themselves: every second keyframe asks, the others answer, thirds are hidden in turn."""

from dataclasses import replace

import numpy as np
import pytest
from recognition_worlds import World, believed, drive, keyframes, run

from vpr_ros.calibration import LabelledSequence, fit_calibration, hide_stretch, self_matches, split_matches
from vpr_ros.calibration.labelling import path_of
from vpr_ros.calibration.splitting import LEAST_KEYFRAMES, MOST_IN_VIEW, frames_in_view
from vpr_ros.configuration import RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition import Calibration, Recogniser

POSTERIORS = np.r_[1e-9, np.linspace(0.001, 0.999, 40), 1 - 1e-9]
AS_THEY_ARE = RecognitionConfig(drive_mean_frames=0)


def unposed(*drives):
    return keyframes(*drives, poses=False, odometry=False)


def street(seed, length_m=300, **seen):
    return drive(World(seed), [(0, 0, length_m)], step_m=2, **seen)


@pytest.fixture(scope="module")
def base():
    """Fitted on a labelled drive without poses through another city, which leaves the map."""
    found = []
    for seed in (101, 102):
        world = World(seed)
        frames = unposed(drive(world, [(0, 0, 300)], step_m=2))
        query = drive(world, [(0, 0, 240), (2, 0, 120)], condition=1, change=0.8, noise=0.5, step_m=2, start_s=1000)
        near = [np.flatnonzero(np.abs(np.arange(150) - i) <= 5) if i < 120 else np.empty(0, int) for i in range(180)]
        found.append(LabelledSequence(frames, query.descriptors, query.stamps_ns, None, near))
    return fit_calibration(found, 5.0, "checkpoint", AS_THEY_ARE)


def test_half_of_the_keyframes_ask_the_other_half():
    frames = unposed(street(1))
    (whole, *hidden), radius = split_matches(frames, 4.0)
    assert radius == 2.0 and len(hidden) == 3 and path_of(whole.keyframes) is None
    assert whole.keyframes.ids.tolist() == frames.ids[::2].tolist()
    assert whole.stamps_ns.tolist() == frames.stamps_ns[1::2].tolist()
    number = {int(one): i for i, one in enumerate(frames.ids)}
    for q, rows in enumerate(whole.truth):
        expected = [row for row, one in enumerate(whole.keyframes.ids) if abs(number[int(one)] - (2 * q + 1)) <= 4]
        assert rows.tolist() == expected
    off = np.array([[len(rows) == 0 for rows in one.truth] & one.known for one in hidden])
    assert (off.sum(axis=0) == 1).all()  # every query is off the map once
    assert [one.counts()[0] for one in hidden] == [0, 0, 0] and whole.counts() == (75, 0)


def test_nothing_of_a_hidden_stretch_is_in_view():
    frames = unposed(street(2))
    view = frames_in_view(frames.descriptors)
    assert 2 <= view < len(frames) // MOST_IN_VIEW
    number = {int(one): i for i, one in enumerate(frames.ids)}
    (_, *hidden), _ = split_matches(frames, 2.0)
    for one in hidden:
        kept = np.array([number[int(i)] for i in one.keyframes.ids])
        for q, rows in enumerate(one.truth):
            if one.known[q] and not len(rows):
                assert np.abs(kept - (2 * q + 1)).min() >= view
            elif one.known[q]:
                assert all(abs(kept[row] - (2 * q + 1)) <= 2 for row in rows)


def test_frames_in_view_is_its_definition_written_out():
    descriptors = street(3, noise=0.3).descriptors.astype(float)
    n = len(descriptors)
    views = descriptors - descriptors.sum(axis=0) / (n + 10)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    far = [views[i] @ views[i + int(lag)] for lag in np.linspace(n // 3, n // 2, 8) for i in range(n - int(lag))]
    ordinary = np.quantile(far, 0.95)
    lag = 1
    while lag < n // MOST_IN_VIEW and np.median([views[i] @ views[i + lag] for i in range(n - lag)]) > ordinary:
        lag += 1
    assert frames_in_view(descriptors) == lag and 1 < lag
    still = np.tile(descriptors[:1], (120, 1)) + 1e-3 * np.random.default_rng(0).normal(size=(120, 64))
    assert frames_in_view(np.cumsum(np.random.default_rng(1).normal(size=(240, 64)), axis=0)) == 240 // MOST_IN_VIEW
    assert frames_in_view(still) >= 1


def test_a_margin_is_hidden_and_not_known():
    (whole, *_), _ = split_matches(unposed(street(4)), 2.0)
    plain, wide = hide_stretch(whole, 30, 40), hide_stretch(whole, 30, 40, margin=5)
    assert len(wide.keyframes) == len(plain.keyframes) - 10
    assert np.flatnonzero(~wide.known).tolist() == [*range(25, 30), *range(40, 45)] and plain.known.all()
    assert all(len(rows) == 0 for rows in wide.truth[25:45])


def test_a_drive_without_poses_only_lowers_and_more_where_it_repeats_itself(base):
    world = World(31)
    world.alias[1] = (0, 0.0, 200.0)
    ambiguous = unposed(drive(world, [(0, 0, 200), (1, 0, 200), (2, 0, 200)], step_m=2))
    clear = unposed(drive(World(32), [(0, 0, 200), (1, 0, 200), (2, 0, 200)], step_m=2))
    now = {}
    for name, frames in (("ambiguous", ambiguous), ("clear", clear)):
        sequences, radius = split_matches(frames, 5.0)
        own = fit_calibration(sequences, radius, "self-matches", base=base)
        assert own.source == "self-matches" and own.evidence == base.evidence and own.radius == base.radius
        assert Calibration.from_dict(own.to_dict()) == own and own.plain.thresholds == base.plain.thresholds
        assert own.n_queries == 300 and own.n_off_map == 150
        for mode in (True, False):
            before = np.array([base.tuning(mode).probability([believed(x)])[0] for x in POSTERIORS])
            after = np.array([own.tuning(mode).probability([believed(x)])[0] for x in POSTERIORS])
            assert (after <= before + 1e-12).all()
        now[name] = own.plain.probability([believed(0.9995)])[0]
        taken = int(own.note.split("; ")[1].split()[0])
        assert taken > 40 if name == "ambiguous" else taken < 10
    assert now["ambiguous"] < now["clear"] - 0.2
    assert now["clear"] > base.plain.probability([believed(0.9995)])[0] - 0.1


def test_a_limited_map_still_recognises_a_second_drive(base):
    world = World(36)
    frames = unposed(drive(world, [(0, 0, 300)], step_m=2))
    sequences, radius = split_matches(frames, 5.0)
    own = fit_calibration(sequences, radius, "self-matches", base=base)
    query = drive(world, [(0, 20, 280)], step_m=2, condition=1, change=0.6, noise=0.4, start_s=1000)
    yes = [
        np.mean([r.status == "accepted" for r in run(Recogniser(frames, one), query, odometry=False)])
        for one in (base, own)
    ]
    assert yes[0] > 0.8 and yes[1] > 0.8 * yes[0]


def test_only_the_longest_session_is_asked_and_a_short_one_is_refused():
    short, long = street(5, 40), street(5, 200, start_s=500)
    (whole, *_), _ = split_matches(unposed(short, long), 2.0)
    assert set(whole.keyframes.sessions.tolist()) == {2} and len(whole.keyframes) == 50
    few = unposed(street(6, 2 * (LEAST_KEYFRAMES - 1)))
    with pytest.raises(VprError, match=f"{LEAST_KEYFRAMES - 1} keyframes.*labelled second drive"):
        split_matches(few, 2.0)
    with pytest.raises(VprError, match="no keyframes"):
        split_matches(few.select(np.zeros(len(few), dtype=bool)), 2.0)


def test_one_missing_pose_makes_a_path_unknown():
    frames = keyframes(street(7))
    assert path_of(frames) is not None
    T_map, T_odom = frames.T_map_base.copy(), frames.T_odom_base.copy()
    T_map[3] = np.nan
    assert path_of(replace(frames, T_map_base=T_map)) is not None
    T_odom[5] = np.nan
    lost = replace(frames, T_map_base=T_map, T_odom_base=T_odom)
    assert path_of(lost) is None
    with pytest.raises(VprError, match="need poses"):
        self_matches(lost, 10.0)


def test_queries_that_are_not_known_move_the_filter_and_count_nowhere(base):
    (whole, *_), radius = split_matches(unposed(street(8, 400)), 4.0)
    known = np.ones(len(whole.truth), dtype=bool)
    known[40:60] = False
    wrong = [np.array([0]) if 40 <= q < 60 else rows for q, rows in enumerate(whole.truth)]
    fitted = [
        fit_calibration([replace(whole, truth=truth, known=known)], radius, config=AS_THEY_ARE)
        for truth in (whole.truth, wrong)
    ]
    assert fitted[0].evidence.hit_rate == fitted[1].evidence.hit_rate
    assert fitted[0].plain.thresholds.on_map == len(whole.truth) - 20
