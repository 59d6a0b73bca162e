import json
from dataclasses import replace

import numpy as np
import pytest
from recognition_worlds import DIM, World, believed, correct, drive, keyframes, label_by_pose, run

from vpr_ros.calibration import LabelledSequence, fit_calibration, hide_stretch, self_matches
from vpr_ros.errors import VprError
from vpr_ros.place_map import PartedIndex
from vpr_ros.recognition import Calibration, Recogniser, choose_calibration
from vpr_ros.recognition.calibration import MAX_LOG_RARITY, EvidenceModel
from vpr_ros.recognition.evidence import Background, Novelty, retrieval_features
from vpr_ros.recognition.monotone import MonotoneMap, sigmoid
from vpr_ros.recognition.yardstick import UntemperedOdds, Yardstick

POSTERIORS = np.r_[1e-9, np.linspace(0.001, 0.999, 40), 1 - 1e-9]


def expected_calibration_error(p, hit, bins=10):
    total = 0.0
    for low in np.arange(bins) / bins:
        inside = (p >= low) & ((p < low + 1 / bins) | ((low + 1 / bins >= 1) & (p == 1)))
        if inside.any():
            total += inside.mean() * abs(p[inside].mean() - hit[inside].mean())
    return total


def unseen_cities():
    for seed, change, noise in ((201, 0.9, 0.45), (202, 1.2, 0.55), (203, 0.7, 0.4)):
        world = World(seed)
        frames = keyframes(drive(world, [(0, 0, 240), (1, 0, 160)], step_m=2))
        pieces = [(0, 30, 150), (2, 0, 120), (1, 10, 130)]
        yield frames, drive(world, pieces, condition=1, change=change, noise=noise, start_s=1000)


@pytest.mark.parametrize("odometry", [True, False])
def test_probabilities_hold_in_unseen_cities(calibration, odometry):
    p, hit, on_map, yes = [], [], [], []
    for frames, query in unseen_cities():
        answers = run(Recogniser(frames, calibration), query, odometry)
        right, on = correct(answers, query, frames)
        p += [r.best.probability if r.best else 0.0 for r in answers]
        yes += [r.status == "accepted" for r in answers]
        hit += right.tolist()
        on_map += on.tolist()
    p, hit, on_map, yes = map(np.array, (p, hit, on_map, yes))
    assert expected_calibration_error(p, hit) < 0.05
    assert hit[yes].mean() >= 0.98 and yes[on_map].mean() > 0.8 and yes[~on_map].mean() <= 0.02


def test_without_a_calibration_probabilities_are_not_too_high(calibration):
    for frames, query in unseen_cities():
        default = run(Recogniser(frames, Calibration.default(10.0)), query)
        right, _ = correct(default, query, frames)
        p = np.array([r.best.probability if r.best else 0.0 for r in default])
        assert p.mean() <= right.mean() + 0.02
        yes = np.array([r.status == "accepted" for r in default])
        assert not yes.any() or right[yes].mean() > 0.98


def test_probability_rises_with_the_posterior_and_places_sum_to_one_at_most(calibration):
    for tuning in (calibration.odometry, calibration.plain, Calibration.default().plain):
        p = np.array([tuning.probability([believed(x)])[0] for x in POSTERIORS])
        assert (np.diff(p) >= -1e-12).all() and p.min() >= 0 and p.max() <= 1
        assert tuning.probability([believed(0.5), believed(0.5)]).sum() <= 1 + 1e-12
    assert Calibration.default().plain.probability([believed(0.96)])[0] < 0.9


def test_json_round_trip(calibration):
    text = json.dumps(calibration.to_dict())
    assert Calibration.from_dict(json.loads(text)) == calibration
    assert calibration.source == "checkpoint" and calibration.n_off_map > 0


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"version": 99}, "update vpr_ros"),
        ({"source": "a dream"}, "a dream"),
        ({"radius": -1}, "out of range"),
        ({"evidence": {}}, "damaged"),
        ({"plain": {"temper": 0, "posterior": {}}}, "temper"),
        ({"odometry": 5}, "damaged"),
    ],
)
def test_damaged_calibrations_are_refused(damage, sentence):
    with pytest.raises(VprError, match=sentence):
        Calibration.from_dict({**Calibration.default().to_dict(), **damage})
    with pytest.raises(VprError, match="damaged"):
        Calibration.from_dict([1, 2])


def test_the_maps_own_calibration_goes_before_the_checkpoints(calibration):
    own, shipped = replace(calibration, source="labelled drive"), calibration
    assert choose_calibration(own.to_dict(), shipped.to_dict(), 10.0).source == "labelled drive"
    assert choose_calibration(None, shipped.to_dict(), 10.0).source == "checkpoint"
    nothing = choose_calibration(None, None, 7.0)
    assert nothing.source == "default" and nothing.radius == 7.0


def test_self_matches_may_lower_a_probability_and_never_raise_one(calibration):
    world = World(31)
    world.alias[1] = (0, 0.0, 200.0)  # a city that repeats itself: self-matches see false ones
    loop = [(0, 0, 200), (1, 0, 200), (2, 0, 60), (0, 0, 100)]
    frames = keyframes(drive(world, loop, step_m=2, rate_hz=2))
    sequence = self_matches(frames, 10.0)
    assert any(len(rows) for rows in sequence.truth[-40:]) and not any(len(rows) for rows in sequence.truth[:200])
    own = fit_calibration([sequence], 10.0, source="self-matches", base=calibration)
    assert own.source == "self-matches" and own.evidence == calibration.evidence
    assert Calibration.from_dict(own.to_dict()) == own
    for mode in (True, False):
        base = np.array([calibration.tuning(mode).probability([believed(x)])[0] for x in POSTERIORS])
        now = np.array([own.tuning(mode).probability([believed(x)])[0] for x in POSTERIORS])
        assert (now <= base + 1e-12).all() and (now < base - 0.05).any()
        assert now[-1] > 0.2 * base[-1]  # it is a correction, not a veto


def test_self_matches_of_a_drive_without_repetition_change_little(calibration):
    world = World(32)
    frames = keyframes(drive(world, [(0, 0, 200), (1, 0, 60), (0, 0, 200)], step_m=2, rate_hz=2, noise=0.4))
    own = fit_calibration([self_matches(frames, 10.0)], 10.0, source="self-matches", base=calibration)
    before, after = (c.odometry.probability([believed(0.999)])[0] for c in (calibration, own))
    assert before - 0.1 < after <= before


def test_self_matches_need_poses():
    frames = keyframes(drive(World(33), [(0, 0, 100)], step_m=2), poses=False, odometry=False)
    with pytest.raises(VprError, match="self-matches need poses"):
        self_matches(frames, 10.0)


def test_too_little_to_calibrate_on_is_refused(labelled):
    one = labelled[0]
    few = LabelledSequence(one.keyframes, one.descriptors[:9], one.stamps_ns[:9], one.T_odom_base[:9], one.truth[:9])
    with pytest.raises(VprError, match="9 queries"):
        fit_calibration([few], 10.0)
    nowhere = replace(one, truth=[np.empty(0, dtype=int)] * len(one.truth))
    with pytest.raises(VprError, match="0 of them on the map"):
        fit_calibration([nowhere], 10.0)
    with pytest.raises(VprError, match="as many stamps"):
        replace(one, stamps_ns=one.stamps_ns[:-1])


def test_hiding_a_stretch_takes_its_true_keyframes_out_of_the_map(labelled):
    one = labelled[0]
    hidden = hide_stretch(one, 20, 60)
    assert all(len(rows) == 0 for rows in hidden.truth[20:60])
    before = [set(one.keyframes.ids[rows].tolist()) for rows in one.truth]
    after = [set(hidden.keyframes.ids[rows].tolist()) for rows in hidden.truth]
    gone = set(one.keyframes.ids.tolist()) - set(hidden.keyframes.ids.tolist())
    assert gone and all(b - gone == a for b, a in zip(before, after, strict=True))


def test_a_drive_that_never_leaves_the_map_still_learns_what_off_map_looks_like():
    world = World(35)
    frames = keyframes(drive(world, [(0, 0, 300)], step_m=2))
    query = drive(world, [(0, 10, 280)], condition=1, change=1.0, noise=0.5, start_s=1000)
    truth = label_by_pose(frames, query.T_map_base, 10.0)
    fitted = fit_calibration([LabelledSequence(frames, query.descriptors, query.stamps_ns, None, truth)], 10.0)
    assert fitted.n_off_map > 80 and fitted.odometry == fitted.plain
    away = drive(world, [(2, 0, 150)], condition=1, change=1.0, noise=0.5, start_s=2000)
    answers = run(Recogniser(frames, fitted), away, odometry=False)
    assert np.mean([r.status == "accepted" for r in answers]) < 0.05


def test_evidence_features_equal_a_loop():
    rng = np.random.default_rng(0)
    similarities = np.sort(rng.uniform(0.2, 0.9, 6))[::-1]
    place = [0, 0, 1, 1, 0, 2]
    distinct = np.array([[a != b for b in place] for a in place])
    features = retrieval_features(similarities, distinct, 0.3, 0.1, whole_map=False)
    for i in range(6):
        rival = max(similarities[j] for j in range(6) if place[j] != place[i])
        expected = [similarities[i], (similarities[i] - 0.3) / 0.1, (similarities[i] - rival) / 0.1]
        np.testing.assert_allclose(features[i], expected)
    alone = retrieval_features(similarities, np.zeros((6, 6), dtype=bool), 0.25, 0.1, whole_map=False)
    np.testing.assert_allclose(alone[:, 2], (similarities - min(similarities.min(), 0.25)) / 0.1)
    only = retrieval_features(similarities, np.zeros((6, 6), dtype=bool), 0.25, 0.1, whole_map=True)
    assert (only[:, 2] == 0).all()


def test_likelihood_ratio_of_a_larger_map_is_larger_up_to_a_bound():
    model = EvidenceModel(MonotoneMap(0.0, ((0.0, 1.0),), ((0.0, 1.0),)), hit_rate=0.9)
    features = np.zeros((50, 1))
    small, floor = model.log_ratios(features, 200)
    assert small[0] == pytest.approx(np.log(0.9 / (50 / 200))) and floor == pytest.approx(np.log(0.1 / 0.75))
    whole, nothing = model.log_ratios(features, 50)
    assert whole[0] == pytest.approx(np.log(0.9)) and nothing == 0.0
    assert model.log_ratios(features, 10**7)[0][0] == pytest.approx(np.log(0.9) + MAX_LOG_RARITY)


def test_background_is_robust_to_the_true_place():
    rng = np.random.default_rng(1)
    ordinary = rng.normal(0.3, 0.05, 500)
    sample = np.zeros((520, DIM))
    sample[:500, 0], sample[500:, 0] = ordinary, 0.95
    background = Background()
    background.refresh(PartedIndex((DIM,)).build(sample.astype(np.float16)))
    middle, spread = background.level(np.eye(DIM, dtype=np.float32)[0])
    assert middle == pytest.approx(0.3, abs=0.01) and spread == pytest.approx(0.05, abs=0.007)


def test_novelty_pays_once_for_jitter_and_in_full_for_a_new_view():
    rng = np.random.default_rng(2)
    novelty = Novelty()
    view = np.eye(DIM)[0]
    assert novelty.update(view, 0.6) == 1.0
    paid = 0.0
    for _ in range(2000):
        jitter = view + 0.01 * rng.normal(size=DIM)
        paid += novelty.update(jitter / np.linalg.norm(jitter), 0.6)
    assert paid < 0.03
    assert novelty.update(np.eye(DIM)[1], 0.6) == pytest.approx(1.0)
    assert sigmoid(np.array(0.0)) == 0.5


def test_novelty_per_metre_does_not_depend_on_the_frame_rate():
    angle = 0.9
    totals = []
    for n in (30, 300):
        novelty = Novelty()
        views = [np.r_[np.cos(a), np.sin(a)] for a in np.linspace(0, 6 * angle, n)]
        totals.append(sum(novelty.update(v, 0.4) for v in views))
    assert totals[0] == pytest.approx(totals[1], rel=0.15) and totals[0] > 3


def test_the_yardstick_measures_by_what_the_drive_has_shown_on_the_map():
    yardstick = Yardstick()
    np.testing.assert_allclose([yardstick.update(9.0, 4.0, 1.0) for _ in range(30)], 0.0, atol=1e-9)
    shortfalls = [yardstick.update(4.0, 3.0, 1.0)[0] for _ in range(20)]
    assert (np.diff(shortfalls[:8]) < 0).all() and -5.0 < shortfalls[-1] < -4.0, "what falls short is no yardstick"
    standing = [yardstick.update(4.0, 3.0, 0.0)[0] for _ in range(500)]
    assert np.ptp(standing) < 0.5, "a standing robot changes nothing"
    yardstick.new_drive()
    assert yardstick.update(4.0, 3.0, 1.0) == (0.0, 0.0)


def test_the_yardstick_follows_a_light_that_changes():
    yardstick = Yardstick()
    for evidence in np.linspace(10.0, 5.0, 400):
        short, _ = yardstick.update(float(evidence), 4.0, 1.0)
        assert short > -2.0


def test_a_belief_that_falls_is_told_and_one_that_rises_is_not():
    yardstick = Yardstick()
    falls = [yardstick.update(9.0, belief, 1.0)[1] for belief in (-4.0, 0.0, 4.0, 4.0, -2.0, -2.0)]
    assert falls[:4] == [0.0] * 4 and falls[4] < -3.0 and falls[4] < falls[5] < 0.0
    yardstick.reset()
    assert yardstick.update(9.0, -4.0, 1.0)[1] == 0.0, "a filter that starts anew has not fallen"


def test_the_way_off_the_map_bounds_the_probability_at_any_frame_rate(calibration):
    for frames in (5, 50):
        odds = UntemperedOdds()
        on_map = [odds.update(9.0, 5 / frames, 0.99 ** (5 / frames)) for _ in range(4 * frames)]
        assert on_map[-1] == on_map[-2] > 4
        seen = [odds.update(9.0, 5 / frames, 0.05 ** (1 / frames)) for _ in range(frames)]
        assert seen[-1] > 3, "what is still seen is on the map"
        lost = [odds.update(0.5, 5 / frames, 0.05 ** (1 / frames)) for _ in range(frames)]
        assert (np.diff(lost) < 0).all() and -3 <= lost[-1] < 0.5
        again = [odds.update(9.0, 5 / frames, 1.0) for _ in range(frames)]
        assert again[-1] > 4, "a robot that returns is believed"
        odds.reset()
        assert odds.update(9.0, 0.0, 1.0) == 0.0
    place = believed(0.999)
    assert calibration.odometry.probability([place])[0] > 0.6
    assert calibration.odometry.probability([replace(place, untempered=lost[-1])])[0] <= sigmoid(np.array(lost[-1]))


def test_calibrations_of_before_are_read_as_they_were(calibration):
    """Up to version 3 one map gave the whole from the posterior within the radius, and the cap was of the same."""
    cap = MonotoneMap(-1.0, ((-4.0, 4.0),), ((0.0, 3.0),))
    posterior = Calibration.default().plain.posterior
    old = {"temper": 0.5, "posterior": posterior.to_dict(), "cap": cap.to_dict()}
    data = {**Calibration.default().to_dict(), "version": 3, "plain": old, "odometry": old}
    loaded = Calibration.from_dict(data).plain
    for x in POSTERIORS:
        at = np.array([[np.log(np.clip(x, 1e-6, 1 - 1e-6) / (1 - np.clip(x, 1e-6, 1 - 1e-6)))]])
        expected = min(sigmoid(posterior(at))[0], sigmoid(cap(at))[0])
        assert loaded.probability([believed(x)])[0] == pytest.approx(expected, abs=1e-9)


def test_others_share_what_is_left_of_the_best_place(calibration):
    places = [believed(0.7), believed(0.2), believed(0.05)]
    p = calibration.plain.probability(places)
    assert p.sum() <= 1 + 1e-12 and (np.diff(p) <= 0).all()
    assert p[1] <= (1 - p[0]) * 0.2 / 0.3 + 1e-9 and p[2] <= (1 - p[0]) * 0.05 / 0.3 + 1e-9
    even = calibration.plain.probability([believed(0.4), believed(0.4)])
    assert even[0] <= 0.5 + 1e-9, "two places that fit alike are told apart by nothing"
