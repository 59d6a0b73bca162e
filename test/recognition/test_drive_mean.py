"""The mean of a drive: what it is, and what taking it out of queries and keyframes does to whole drives."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama, take
from recognition_worlds import DIM, World, drive, keyframes, label_by_pose, run

from vpr_ros.calibration import LabelledSequence, fit_calibration, self_matches
from vpr_ros.calibration.replay import replay
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.observation import Observation
from vpr_ros.place_map import DriveStatistics, GateConfig, PlaceMap
from vpr_ros.place_map.statistics import PRIOR_FRAMES, centred
from vpr_ros.recognition import Calibration, Localizer, Mapper, MapperConfig, Recogniser, RecognitionConfig
from vpr_ros.recognition.drive_mean import DriveMean

RAW, CENTRED = RecognitionConfig(drive_mean_frames=0), RecognitionConfig(drive_mean_frames=60)
RADIUS = 10.0


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def tinted(one, seed, strength=2.0):
    """The drive under a light that adds one vector to all its descriptors."""
    tint = strength * unit(np.random.default_rng(seed).normal(size=DIM))
    return replace(one, descriptors=unit(one.descriptors.astype(np.float64) + tint).astype(np.float16))


def first_right(answers, query, frames):
    """Whether the first keyframe of each frame's own retrieval lies within the radius."""
    row_of = {int(k): row for row, k in enumerate(frames.ids)}
    rows = [row_of[r.retrieval[0][0]] for r in answers]
    return np.linalg.norm(frames.T_map_base[rows, :3, 3] - query.T_map_base[:, :3, 3], axis=1) <= RADIUS


def naive_mean(prior, seen, memory):
    """Each earlier descriptor by its weight and by what was new since, one by one."""
    top, bottom = PRIOR_FRAMES * prior, PRIOR_FRAMES
    for i, (descriptor, content) in enumerate(seen):
        since = sum(later for _, later in seen[i + 1 :])
        top = top + content * math.exp(-since / memory) * descriptor
        bottom += content * math.exp(-since / memory)
    return top / bottom


def test_running_mean_equals_the_sum_over_all_frames():
    rng = np.random.default_rng(0)
    prior = rng.normal(size=DIM)
    mean, seen = DriveMean(prior, 20.0), []
    np.testing.assert_allclose(mean.mean, prior, rtol=1e-6)
    for _ in range(60):
        seen.append((rng.normal(size=DIM), float(rng.choice([0.0, 0.3, 1.0]))))
        mean.update(*seen[-1])
        np.testing.assert_allclose(mean.mean, naive_mean(prior, seen, 20.0), rtol=1e-4, atol=1e-6)
    assert mean.frames < 20 and mean.from_prior == pytest.approx(np.linalg.norm(mean.mean - prior), rel=1e-4)
    mean.reset(prior)
    np.testing.assert_allclose(mean.mean, prior, rtol=1e-6)


def test_the_frames_own_descriptor_in_the_mean_would_change_its_length_alone():
    rng = np.random.default_rng(1)
    query, total, weight = rng.normal(size=DIM), rng.normal(size=DIM), 7.5
    without, within = query - total / weight, query - (total + query) / (weight + 1)
    np.testing.assert_allclose(unit(without), unit(within))


@pytest.mark.parametrize("parts", [(6,), (4, 2)])
def test_centring_takes_the_constant_out_and_keeps_the_length_of_each_part(parts):
    rng = np.random.default_rng(2)
    rows, constant = rng.normal(size=(5, 6)), rng.normal(size=6)
    rows[3] = constant  # tells nothing but the constant: stays as it is
    found = centred(rows, constant, parts)
    for row, got in zip(rows, found, strict=True):
        start = 0
        for length in parts:
            before, after = row[start : start + length], got[start : start + length]
            rest = before - constant[start : start + length]
            plain = before if np.abs(rest).max() < 1e-6 else rest / np.linalg.norm(rest) * np.linalg.norm(before)
            np.testing.assert_allclose(after, plain, rtol=1e-5)
            start += length
    np.testing.assert_array_equal(centred(rows[0], constant, parts), found[0])


def test_statistics_add_up_in_any_order_and_few_frames_have_little_of_a_constant():
    rows = np.random.default_rng(3).normal(size=(300, DIM)).astype(np.float16)
    one = DriveStatistics.none(DIM)
    assert not one.mean.any() and not one.constant.any()
    for row in rows:
        one = one.plus(row, 1.0)
    np.testing.assert_array_equal(one.total, DriveStatistics.of(rows[::-1]).total)
    np.testing.assert_allclose(one.mean, rows.astype(float).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(one.constant, one.mean * 300 / 310, atol=1e-6)
    few = DriveStatistics.of(rows[:1])
    assert unit(centred(rows[0], few.constant, (DIM,))) @ unit(rows[0].astype(float)) == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def world():
    return World(61)


@pytest.fixture(scope="module")
def frames(world):
    return keyframes(drive(world, [(0, 0, 300), (1, 0, 200)], step_m=2))


@pytest.fixture(scope="module")
def dusk(world):
    return tinted(drive(world, [(0, 20, 200)], condition=1, change=0.8, noise=0.8, start_s=1000), 7)


@pytest.mark.parametrize("odometry", [True, False])
def test_another_light_costs_less(frames, dusk, odometry):
    found = [first_right(run(Recogniser(frames, config=c), dusk, odometry), dusk, frames) for c in (RAW, CENTRED)]
    assert found[0].mean() < 0.8 and found[1].mean() > found[0].mean() + 0.15


def test_the_first_frame_is_compared_without_the_maps_constant(world, frames):
    """At once as good as without any light of its own: what all places share is in keyframes and query alike."""
    query = drive(world, [(0, 20, 200)], condition=1, change=0.8, noise=0.8, start_s=1000)
    right = []
    for config in (RAW, CENTRED):
        found = []
        for i in range(0, len(query.s), 3):
            answer = Recogniser(frames, config=config).recognise(1, query.descriptors[i], query.T_odom_base[i])
            found.append(first_right([answer], replace(query, T_map_base=query.T_map_base[[i]]), frames)[0])
        right.append(np.mean(found))
    assert right[1] >= right[0] and right[1] > 0.7


@pytest.mark.parametrize("odometry", [True, False])
def test_a_robot_that_stands_still_does_not_subtract_what_it_sees(frames, dusk, odometry):
    """Two hundred frames on one spot, then on: as if it had not stood."""
    rng = np.random.default_rng(5)
    moving, standing = Recogniser(frames, config=CENTRED), Recogniser(frames, config=CENTRED)
    half = 90
    for recogniser in (moving, standing):
        for i in range(half):
            T = dusk.T_odom_base[i] if odometry else None
            recogniser.recognise(int(dusk.stamps_ns[i]), dusk.descriptors[i], T)
    before, stood = standing.drive_mean.mean.copy(), []
    for k in range(200):
        noisy = unit(dusk.descriptors[half - 1].astype(float) + 0.003 * rng.normal(size=DIM))
        T = dusk.T_odom_base[half - 1] @ planar_transform(*rng.normal(0, 0.01, 2), 0) if odometry else None
        stood.append(standing.recognise(int(dusk.stamps_ns[half - 1]) + (k + 1) * 100_000_000, noisy, T))
    assert np.linalg.norm(standing.drive_mean.mean - before) < 0.02
    assert stood[-1].retrieval[0][1] > 0.9 * stood[0].retrieval[0][1]  # it still sees what it stands before
    later = 200 * 100_000_000
    pairs = []
    for i in range(half, len(dusk.s)):
        T = dusk.T_odom_base[i] if odometry else None
        a = moving.recognise(int(dusk.stamps_ns[i]), dusk.descriptors[i], T)
        b = standing.recognise(int(dusk.stamps_ns[i]) + later, dusk.descriptors[i], T)
        pairs.append(a.retrieval[0][0] == b.retrieval[0][0])
    assert np.mean(pairs) > 0.95


def test_without_counting_content_a_standing_robot_would_go_blind(frames, dusk):
    """What the rule is for: the same frames, all counted in full, leave nothing of the view."""
    mean = DriveMean(np.zeros(DIM), 60.0)
    for _ in range(200):
        mean.update(dusk.descriptors[5].astype(np.float32), 1.0)
    view = dusk.descriptors[5].astype(np.float32)
    assert np.linalg.norm(view - mean.mean) < 0.2


@pytest.mark.parametrize("odometry", [True, False])
def test_a_drive_that_starts_inside_a_tunnel_recovers(world, frames, odometry):
    outside = tinted(drive(world, [(0, 0, 290), (1, 0, 190)], condition=1, change=0.8, noise=0.8, start_s=1000), 7)
    rng, inside = np.random.default_rng(8), 40
    dark = 3.0 * unit(rng.normal(size=DIM))  # a world of its own that no keyframe shows
    tunnel = unit(dark + world.see(5, np.arange(inside), 1, 0.5, 0.3).astype(float)).astype(np.float16)
    whole = replace(outside, descriptors=np.concatenate([tunnel, outside.descriptors[inside:]]))
    raw, own = (first_right(run(Recogniser(frames, config=c), whole, odometry), whole, frames) for c in (RAW, CENTRED))
    without = first_right(run(Recogniser(frames, config=CENTRED), outside, odometry), outside, frames)
    assert own[inside : inside + 30].mean() >= raw[inside : inside + 30].mean() - 0.1  # the tunnel's mean does no harm
    assert own[inside + 30 : 200].mean() > raw[inside + 30 : 200].mean()  # soon the drive's own light is known
    assert own[200:].mean() > without[200:].mean() - 0.02  # and then it is as if there had been no tunnel


def test_who_forgets_the_mean(frames, dusk):
    recogniser = Recogniser(frames, config=CENTRED)
    fresh = recogniser.drive_mean.mean.copy()
    for recall in (lambda: recogniser.reset("carried elsewhere"), lambda: recogniser.new_drive("another drive")):
        run(recogniser, dusk)
        learned = recogniser.drive_mean.mean.copy()
        assert recogniser.drive_mean.from_prior > 0.2
        recall()
        kept = np.array_equal(recogniser.drive_mean.mean, learned)
        assert kept != np.array_equal(recogniser.drive_mean.mean, fresh)
        assert kept == ("carried" in recogniser._note)
    run(recogniser, dusk)
    recogniser.recognise(int(dusk.stamps_ns[0]), dusk.descriptors[0], dusk.T_odom_base[0])  # the bag is played again
    assert recogniser.drive_mean.frames == 1.0


def test_each_session_is_compared_without_its_own_light(world):
    """Two drives of one map in different lights: a query in either light finds the places of both."""
    a = tinted(drive(world, [(0, 0, 150)], step_m=2), 21)
    b = tinted(drive(world, [(1, 0, 150)], step_m=2, condition=2, seed=2, start_s=500), 22)
    frames = keyframes(a, b)
    for light in (21, 22):
        pieces = [(0, 10, 140), (1, 10, 140)]
        query = tinted(drive(world, pieces, condition=1, change=0.5, noise=0.6, start_s=1000), light)
        raw, own = (first_right(run(Recogniser(frames, config=c), query), query, frames) for c in (RAW, CENTRED))
        assert own[20:].mean() > 0.8 and own.mean() > raw.mean() + 0.2


def stream(recogniser, once, first_id=0):
    """Streaming slam; every frame becomes a keyframe."""
    answers = []
    for i in range(len(once.s)):
        answers.append(recogniser.recognise(int(once.stamps_ns[i]), once.descriptors[i], once.T_odom_base[i]))
        pose, odom = once.T_map_base[i], once.T_odom_base[i]
        recogniser.insert(first_id + i, 1, int(once.stamps_ns[i]), once.descriptors[i], odom, pose)
    return answers


def test_in_slam_mode_early_keyframes_are_as_findable_as_late_ones(world):
    """All keyframes of the drive are brought up to date as its mean becomes known, the first ones too."""
    slam = replace(CENTRED, place_radius=RADIUS, loop_min_gap_s=5.0)
    lap = [(0, 0, 60), (1, 0, 150), (2, 0, 60)]
    once = tinted(drive(world, [*lap, *lap], step_m=2, rate_hz=5, noise=0.8), 9)
    recogniser = Recogniser(None, config=slam, dim=DIM)
    answers = stream(recogniser, once)
    n = len(once.s) // 2
    found = np.array([abs(r.retrieval[0][0] - i) <= 5 for i, r in enumerate(answers[n:])])
    assert found[:30].mean() > 0.9 and found[-30:].mean() > 0.9
    similar = np.array([dict(r.retrieval).get(i, np.nan) for i, r in enumerate(answers[n:])])
    assert np.nanmean(similar[:30]) > 0.9 * np.nanmean(similar[-30:])


def test_when_the_drive_is_over_nothing_tells_the_map_from_one_that_was_loaded_whole(world, dusk):
    once = tinted(drive(world, [(0, 0, 200)], step_m=2, rate_hz=5), 9)
    slam = replace(CENTRED, place_radius=RADIUS, loop_min_gap_s=5.0)
    grown = Recogniser(None, config=slam, dim=DIM)
    stream(grown, once)
    grown.end_session()
    whole = Recogniser(replace(keyframes(once), ids=np.arange(len(once.s))), config=slam)
    np.testing.assert_array_equal(grown.drive_mean.mean, whole.drive_mean.mean)
    for a, b in zip(run(grown, dusk), run(whole, dusk), strict=True):
        assert a.retrieval == b.retrieval and a.status == b.status
        assert [h.keyframe_id for h in a.hypotheses[:1]] == [h.keyframe_id for h in b.hypotheses[:1]]
        assert a.p_unknown == pytest.approx(b.p_unknown, abs=1e-4)


def make_map(path, extractor):
    return PlaceMap.create(
        path,
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        parts=extractor.parts,
        preprocessing={},
        place_radius_m=4.0,
    )


def test_a_drive_that_was_mapped_in_slam_mode_is_the_same_from_its_file(tmp_path):
    wall, extractor = panorama(6), PixelExtractor()
    recognition = replace(CENTRED, loop_min_gap_s=5.0, loop_min_travel_m=10.0)
    config = MapperConfig(gate=GateConfig(distance_m=1.0), recognition=recognition, slam=True)
    queries = list(observations(wall, np.arange(20, 60, 0.5), light=0.6, start_ns=10**12, noise=8))
    with make_map(tmp_path / "slam.vpr", extractor) as place_map:
        mapper = Mapper(extractor, place_map, "first", config, calibration=Calibration.default(4.0))
        for o in observations(wall, np.arange(0, 80, 0.5)):
            take(mapper, extractor, o)
        mapper.begin_session("second")
        mapper.paused = True
        live = [take(mapper, extractor, o).recognition for o in queries]
    with PlaceMap.open(tmp_path / "slam.vpr") as place_map:
        localizer = Localizer(extractor, place_map, recognition, Calibration.default(4.0))
        offline = [take(localizer, extractor, o) for o in queries]
    for a, b in zip(live, offline, strict=True):
        assert a.retrieval == b.retrieval and a.status == b.status
        assert a.p_unknown == pytest.approx(b.p_unknown, abs=1e-4)


@pytest.mark.parametrize("poses", [True, False])
def test_what_every_nth_keeps_of_a_standing_robot_is_not_in_the_sessions_mean(tmp_path, poses):
    wall, extractor = panorama(7), PixelExtractor()
    statistics = []
    for name, metres in (
        ("moving", np.arange(0, 80, 2.0)),
        ("standing", np.r_[np.arange(0, 40, 2.0), [40.0] * 200, np.arange(40, 80, 2.0)]),
    ):
        with make_map(tmp_path / f"{name}.vpr", extractor) as place_map:
            mapper = Mapper(extractor, place_map, name, MapperConfig(gate=GateConfig(every_n=1)))
            for o in observations(wall, metres, odometry=poses):
                take(mapper, extractor, o)
            assert len(place_map) == len(metres)
            statistics.append(place_map.statistics()[1])
    moving, standing = statistics
    assert moving.frames > 30 and abs(standing.frames - moving.frames) < 3
    assert np.linalg.norm(standing.mean - moving.mean) < 0.05


def test_a_calibration_says_what_it_was_fitted_for_and_the_recogniser_follows_it(labelled, calibration, frames):
    fitted = fit_calibration(labelled, RADIUS, source="checkpoint")
    assert (fitted.drive_mean_frames, calibration.drive_mean_frames) == (60.0, 0.0)
    for one in (fitted, calibration):
        assert Calibration.from_dict(one.to_dict()) == one
    old = {k: v for k, v in calibration.to_dict().items() if k != "drive_mean_frames"} | {"version": 1}
    assert Calibration.from_dict(old).drive_mean_frames == 0.0
    with pytest.raises(VprError, match="drive_mean_frames"):
        Calibration.from_dict(calibration.to_dict() | {"drive_mean_frames": -0.5})
    assert Recogniser(frames, Calibration.from_dict(old)).drive_mean is None
    assert Recogniser(frames, fitted).drive_mean.memory_frames == 60
    assert Recogniser(frames, fitted, RAW).drive_mean is None
    assert Recogniser(frames, calibration, RecognitionConfig(drive_mean_frames=25)).drive_mean.memory_frames == 25
    with pytest.raises(ValueError, match="drive_mean_frames"):
        RecognitionConfig(drive_mean_frames=-1)


def test_self_matches_keep_to_what_their_base_was_fitted_for(calibration):
    frames = keyframes(drive(World(32), [(0, 0, 200), (0, 0, 100)], step_m=2, rate_hz=2))
    own = fit_calibration([self_matches(frames, RADIUS)], RADIUS, "self-matches", CENTRED, base=calibration)
    assert own.drive_mean_frames == 0.0


def test_calibration_sees_the_similarities_that_recognition_sees(world, frames, dusk):
    truth = label_by_pose(frames, dusk.T_map_base, RADIUS)
    sequence = LabelledSequence(frames, dusk.descriptors, dusk.stamps_ns, dusk.T_odom_base, truth)
    best = {}
    for config in (RAW, CENTRED):
        own = fit_calibration([sequence], RADIUS, config=config)
        fitted_on = [step.retrieval for step in replay(sequence, own, replace(config, place_radius=RADIUS)).steps]
        recogniser = Recogniser(frames, own)
        for found, stamp_ns, query, T in zip(
            fitted_on, dusk.stamps_ns, dusk.descriptors, dusk.T_odom_base, strict=True
        ):
            seen, _, _ = recogniser.observe(int(stamp_ns), query, T)
            np.testing.assert_array_equal(found.features, seen.features)
        best[config] = np.mean([found.similarities[0] for found in fitted_on])
        answers = run(Recogniser(frames, own), dusk)
        assert sum(r.status == "accepted" for r in answers) > 100
    assert abs(best[CENTRED] - best[RAW]) > 0.05


def test_frames_that_were_refused_leave_the_mean_alone(frames, dusk):
    recogniser = Recogniser(frames, config=CENTRED)
    run(recogniser, dusk)
    before = recogniser.drive_mean.mean.copy()
    for bad in (np.zeros(DIM), np.full(DIM, np.nan)):
        with pytest.raises(VprError):
            recogniser.recognise(int(dusk.stamps_ns[-1]) + 10**9, bad)
    np.testing.assert_array_equal(recogniser.drive_mean.mean, before)


def test_observations_of_true_poses_change_nothing(tmp_path):
    """The mean counts odometry, never a pose in the map."""
    wall, extractor = panorama(8), PixelExtractor()
    with make_map(tmp_path / "a.vpr", extractor) as place_map:
        mapper = Mapper(extractor, place_map, "first", MapperConfig(gate=GateConfig(distance_m=1.0)))
        for o in observations(wall, np.arange(0, 40, 0.5)):
            take(mapper, extractor, o)
        queries = list(observations(wall, np.arange(5, 30, 0.5), start_ns=10**12))
        lies = [
            Observation(o.stamp_ns, o.image, o.T_odom_base, planar_transform(-i, 5, 2)) for i, o in enumerate(queries)
        ]
        plain, lied = (Localizer(extractor, place_map, CENTRED) for _ in range(2))
        assert [take(plain, extractor, o).retrieval for o in queries] == [
            take(lied, extractor, o).retrieval for o in lies
        ]
