"""Descriptors of two parts, cells and a global vector: what nominates a place, and how the evidence is weighed."""

from dataclasses import replace

import numpy as np
import pytest
from recognition_worlds import World, drive, keyframes, label_by_pose, run

from vpr_ros.calibration import LabelledSequence, fit_calibration
from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.summary import FEWEST_KEYFRAMES
from vpr_ros.recognition import Calibration, Localizer, Recogniser, RecognitionConfig
from vpr_ros.recognition.evidence import MIN_SPREAD, WIDE_SPREAD

PARTS, WEIGHTS = (64, 64), (0.8, 0.2)
RAW = RecognitionConfig(drive_mean_frames=0)
RADIUS = 10.0


def joined(cells, whole):
    """Descriptors of two parts, each of unit length before it is weighed."""
    blocks = [np.sqrt(w) * part.astype(float) for w, part in zip(WEIGHTS, (cells, whole), strict=True)]
    return np.concatenate(blocks, axis=1).astype(np.float16)


def two_part_drive(worlds, pieces, blind=None, **options):
    """A drive whose two parts are two worlds' views of one path; the part `blind` sees nothing of it."""
    drives = [drive(world, pieces, **options) for world in worlds]
    views = [one.descriptors for one in drives]
    if blind is not None:
        noise = np.random.default_rng(len(pieces) + blind).normal(size=views[blind].shape)
        views[blind] = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return replace(drives[0], descriptors=joined(*views))


@pytest.fixture(scope="module")
def worlds():
    return World(71), World(72)


@pytest.fixture(scope="module")
def frames(worlds):
    return keyframes(two_part_drive(worlds, [(0, 0, 400), (1, 0, 300)], step_m=2))


@pytest.fixture(scope="module")
def queries(worlds):
    """One drive that only the cells know again, one that only the global vector does."""
    options = dict(condition=1, change=0.6, noise=0.5, start_s=1000)
    return [two_part_drive(worlds, [(0, 20, 200), (2, 0, 60), (1, 20, 150)], blind, **options) for blind in (1, 0)]


def labelled(frames, query, parts=PARTS):
    truth = label_by_pose(frames, query.T_map_base, RADIUS)
    return LabelledSequence(frames, query.descriptors, query.stamps_ns, query.T_odom_base, truth, parts=parts)


def shares(frames, query, answers_of):
    """Of the queries on the map: how often a right keyframe is among the candidates."""
    truth = label_by_pose(frames, query.T_map_base, RADIUS)
    return np.mean([np.isin(answers_of(q), rows).any() for q, rows in enumerate(truth) if len(rows)])


@pytest.mark.parametrize("blind", [0, 1])
def test_what_one_part_sees_is_among_the_candidates_whatever_the_other_says(frames, queries, blind):
    query = queries[1 - blind]
    config = replace(RAW, top_k=20)

    def candidates(parts):
        recogniser = Recogniser(frames, config=config, parts=parts)
        found = [recogniser.observe(int(t), d)[0].rows for t, d in zip(query.stamps_ns, query.descriptors, strict=True)]
        return shares(frames, query, lambda q: found[q])

    assert candidates(PARTS) >= candidates(None) - 0.01
    assert candidates(PARTS) > 0.9


def test_features_against_a_plain_loop(frames, queries):
    query, rows = queries[0], frames.descriptors.astype(float)
    recogniser = Recogniser(frames, config=replace(RAW, top_k=20), parts=PARTS)
    for q in range(0, 60, 15):
        found = recogniser.observe(int(query.stamps_ns[q]), query.descriptors[q])[0]
        asked = query.descriptors[q].astype(float)
        assert found.features.shape == (len(found.rows), 5)
        blocks = [(slice(0, 128), 1.0), (slice(0, 64), WEIGHTS[0]), (slice(64, 128), WEIGHTS[1])]
        for column, (part, share) in zip((1, 3, 4), blocks, strict=True):
            ordinary = rows[:, part] @ asked[part]
            middle = np.median(ordinary)
            spread = max(share * MIN_SPREAD, 1.4826 * np.median(np.abs(ordinary - middle)))
            expected = (ordinary[found.rows] - middle) / spread
            np.testing.assert_allclose(found.features[:, column], expected, atol=0.02, rtol=0.01)
        np.testing.assert_allclose(found.similarities, rows[found.rows] @ asked, atol=1e-3)
        assert (np.diff(found.similarities) <= 0).all()


def test_a_small_map_is_cautious_in_each_part(frames, queries):
    few = frames.select(np.arange(FEWEST_KEYFRAMES - 1))
    found = Recogniser(few, config=RAW, parts=PARTS).observe(1, queries[0].descriptors[0])[0]
    z_most = 1.0 / WIDE_SPREAD
    assert np.abs(found.features[:, 3:]).max() <= 2 * z_most + 1e-6


def test_the_parts_are_calibrated_jointly(worlds, frames, queries):
    """Fitted on drives that one part each knows again, the evidence of either counts where it speaks."""
    together = fit_calibration([labelled(frames, q) for q in queries], RADIUS, config=RAW)
    as_one = fit_calibration([labelled(frames, q, None) for q in queries], RADIUS, config=RAW)
    assert len(together.evidence.map.knots) == 5 and len(as_one.evidence.map.knots) == 3
    assert Calibration.from_dict(together.to_dict()) == together
    rises = [values[-1] - values[0] for values in together.evidence.map.values]
    assert rises[3] > 0.3 and rises[4] > 0.3  # both say something that the whole does not
    options = dict(condition=3, change=0.6, noise=0.5, start_s=1000, seed=9)
    belief = []
    for calibration, parts in ((together, PARTS), (as_one, None)):
        for blind in (1, 0):
            query = two_part_drive(worlds, [(0, 30, 190)], blind, **options)
            truth = label_by_pose(frames, query.T_map_base, RADIUS)
            recogniser, at_truth = Recogniser(frames, calibration, RAW, parts=parts), []
            for q, rows in enumerate(truth):
                recogniser.recognise(int(query.stamps_ns[q]), query.descriptors[q])
                at_truth.append(recogniser.filter.belief(rows).sum())
            belief.append(np.mean(at_truth))
    assert belief[1] > belief[3] + 0.1  # where the light part alone knows the place
    assert belief[0] > belief[2] - 0.1  # and hardly less where the heavy one does


def test_a_calibration_of_one_part_serves_two_and_not_the_other_way(frames, queries):
    one = fit_calibration([labelled(frames, q, None) for q in queries], RADIUS, config=RAW)
    two = fit_calibration([labelled(frames, q) for q in queries], RADIUS, config=RAW)
    answers = run(Recogniser(frames, one, parts=PARTS), queries[0])
    assert any(r.status == "accepted" for r in answers)
    with pytest.raises(VprError, match="5 kinds of evidence .* descriptors give 3"):
        Recogniser(frames, two)
    with pytest.raises(VprError, match="do not make up"):
        Recogniser(frames, parts=(64, 63))


class Fixed:
    """A describer of two parts for a map; no test asks it for a picture's descriptor."""

    name, dim, parts, fingerprint, preprocessing, calibration = "two", 128, PARTS, "d" * 64, {}, None


def test_a_map_knows_its_parts(tmp_path, frames, queries):
    settings = dict(fingerprint="d" * 64, dim=128, preprocessing={}, place_radius_m=RADIUS)
    answers = []
    for name, parts in (("two", PARTS), ("one", None)):
        with PlaceMap.create(tmp_path / f"{name}.vpr", parts=parts, **settings) as place_map:
            session = place_map.start_session("first")
            for row in range(len(frames)):
                poses = frames.T_odom_base[row], frames.T_map_base[row]
                place_map.add(session, int(frames.stamps_ns[row]), frames.descriptors[row], *poses)
        with PlaceMap.open(tmp_path / f"{name}.vpr") as place_map:
            assert place_map.parts == (parts or (128,))
            localizer = Localizer(Fixed(), place_map)
            assert localizer.recogniser.parts == place_map.parts
            answers.append(run(localizer.recogniser, queries[1]))
    whole = run(Recogniser(frames, Calibration.default(RADIUS), parts=PARTS), queries[1])
    assert [r.retrieval[0][1] for r in answers[0]] == [r.retrieval[0][1] for r in whole]
    assert [r.retrieval for r in answers[0]] != [r.retrieval for r in answers[1]]


def test_in_slam_mode_two_parts_are_searched_like_a_finished_map(worlds, queries):
    once = two_part_drive(worlds, [(0, 0, 200)], step_m=2, rate_hz=5)
    config = RecognitionConfig(place_radius=RADIUS, drive_mean_frames=60, loop_min_gap_s=5.0)
    grown = Recogniser(None, config=config, parts=PARTS, dim=128)
    for i in range(len(once.s)):
        grown.recognise(int(once.stamps_ns[i]), once.descriptors[i], once.T_odom_base[i])
        pose, odom = once.T_map_base[i], once.T_odom_base[i]
        grown.insert(i, 1, int(once.stamps_ns[i]), once.descriptors[i], odom, pose)
    grown.end_session()
    whole = Recogniser(replace(keyframes(once), ids=np.arange(len(once.s))), config=config, parts=PARTS)
    for a, b in zip(run(grown, queries[0]), run(whole, queries[0]), strict=True):
        assert a.retrieval == b.retrieval
