"""From a wanted precision to a threshold: the table against its definition written out, and on drives not fitted on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from recognition_worlds import World, correct, drive, keyframes, label_by_pose, run
from scipy.stats import beta

from vpr_ros.calibration import LabelledSequence, fit_calibration, thresholds
from vpr_ros.calibration.replay import outcomes_of, replay
from vpr_ros.calibration.thresholds import MOST_WEIGHT, PROBABILITIES, Judged, judge, threshold_table
from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition import Calibration, Recogniser
from vpr_ros.recognition.threshold import NEVER, Accepted, ThresholdTable

AS_THEY_ARE = RecognitionConfig(drive_mean_frames=0)


def city(seed, off_m=100):
    """A map of a city and a drive in another season that leaves it for a while; every second city repeats itself."""
    world = World(seed)
    if seed % 2:
        world.alias[1] = (0, 0.0, 200.0)
    rng = np.random.default_rng(seed)
    frames = keyframes(drive(world, [(0, 0, 240), (1, 0, 160)], step_m=2))
    change, noise = rng.uniform(0.8, 1.6), rng.uniform(0.4, 0.8)
    pieces = [(0, 40, 200), (2, 0, off_m), (1, 20, 140)]
    query = drive(world, pieces, condition=1, change=change, noise=noise, start_s=1000)
    return frames, query


def labelled_city(seed):
    frames, query = city(seed)
    truth = label_by_pose(frames, query.T_map_base, 10.0)
    return LabelledSequence(frames, query.descriptors, query.stamps_ns, None, truth)


@pytest.fixture(scope="module")
def calibration():
    return fit_calibration([labelled_city(seed) for seed in range(401, 409)], 10.0, "checkpoint", AS_THEY_ARE)


@pytest.fixture(scope="module")
def held_out(calibration):
    """Of cities not fitted on: probabilities of acceptable answers (else 0), whether right, whether on the map."""
    columns = []
    for seed in range(501, 507):
        frames, query = city(seed)
        recogniser = Recogniser(frames, calibration, RecognitionConfig(decision=DecisionConfig(accept_probability=0.0)))
        answers = run(recogniser, query, odometry=False)
        p = [r.best.probability if r.status == "accepted" else 0.0 for r in answers]
        columns.append((np.array(p), *correct(answers, query, frames)))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def judged(seed, stretches=40, frames=30, mistakes=0.05, together=0.0, off=0.5):
    """Stretches of answers; in a share `together` of those with mistakes every frame is one."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(stretches), frames)
    on = rng.uniform(size=len(number)) >= off
    alone = rng.uniform(size=len(number)) < mistakes * (1 - together)
    wrong = alone | np.repeat(rng.uniform(size=stretches) < mistakes * together, frames)
    p = np.clip(rng.uniform(0.2, 1.0, len(number)), 0, 1)
    return Judged(p, rng.uniform(size=len(p)) < 0.9, ~wrong & on, on, number)


def written_out(one, least):
    """The row of a table, frame by frame."""
    n_on = sum(one.on_map.tolist())
    weight_off = min(MOST_WEIGHT, n_on / (len(one.on_map) - n_on))
    accepted, right, frames, hits = {}, {}, 0, 0
    for p, passes, hit, on, stretch in zip(
        one.probabilities, one.acceptable, one.right, one.on_map, one.stretches, strict=True
    ):
        if passes and p >= least:
            weight = 1.0 if on else weight_off
            accepted[stretch] = accepted.get(stretch, 0.0) + weight
            right[stretch] = right.get(stretch, 0.0) + weight * hit
            frames, hits = frames + 1, hits + hit
    s, total = len(accepted), sum(accepted.values())
    mean = total / s
    estimate = (sum(right.values()) + 0.5 * mean) / (total + mean)
    # One stretch of middling size more: with even chances all of it is wrong, or nothing.
    squares = [(right[k] - estimate * accepted[k]) ** 2 for k in accepted]
    squares += [0.5 * (0 - estimate * mean) ** 2, 0.5 * (mean - estimate * mean) ** 2]
    variance = sum(squares) / (total + mean) ** 2 * (s + 1) / s
    n = min(frames, estimate * (1 - estimate) / variance)
    x = n * sum(right.values()) / total
    low = beta.ppf(0.025, x, n - x + 1) if x > 0 else 0.0
    high = beta.ppf(0.975, x + 1, n - x) if x < n else 1.0
    return Accepted(least, frames, hits, s, estimate, low, high)


@pytest.mark.parametrize("together", [0.0, 0.8])
def test_table_equals_its_definition_written_out(together):
    one = judged(3, together=together, off=0.2)
    table = threshold_table(one)
    assert [row.probability for row in table.rows] == list(PROBABILITIES)
    assert (table.on_map, table.off_map) == (one.on_map.sum(), (~one.on_map).sum())
    for row in table.rows:
        np.testing.assert_allclose(row, written_out(one, row.probability), atol=1e-4)


def test_frames_that_err_together_are_fewer_observations():
    apart, together = (threshold_table(judged(5, mistakes=0.08, together=t, off=0.0)).rows[0] for t in (0.0, 1.0))
    assert together.high - together.low > 2 * (apart.high - apart.low)
    faultless = threshold_table(judged(6, mistakes=0.0, off=0.0)).rows[0]
    assert faultless.right == faultless.frames and faultless.high == 1.0
    assert faultless.precision == pytest.approx(1 - 0.5 / 41, abs=1e-3)  # forty stretches, and half a wrong one
    assert faultless.low == pytest.approx(0.025 ** (1 / 41), abs=0.01)  # as of so many observations


def test_interval_covers_the_true_precision():
    inside = [
        row.low <= 1 - 0.06 <= row.high
        for seed in range(300)
        for row in threshold_table(judged(seed, stretches=30, mistakes=0.06, together=0.5, off=0.0)).rows[:1]
    ]
    assert np.mean(inside) >= 0.93


def test_false_accepts_off_the_map_count_as_much_as_its_frames():
    rng = np.random.default_rng(0)
    n = 3000
    on = np.arange(n) % 3 > 0  # a third off the map
    sure = Judged(np.full(n, 0.97), np.ones(n, dtype=bool), on, on, np.arange(n) // 30)
    half = threshold_table(sure).rows[0]
    assert half.precision == pytest.approx(0.5, abs=0.01)  # all accepted, and off the map all of that is wrong
    silent = replace(sure, acceptable=on)
    assert threshold_table(silent).rows[0].precision > 0.99
    few = replace(sure, acceptable=on | (rng.uniform(size=n) < 0.02))
    assert 0.96 < threshold_table(few).rows[0].precision < 0.98
    assert threshold_table(few).threshold(0.99).shown is False


@pytest.mark.parametrize("wanted", [0.9, 0.95, 0.98, 0.99])
def test_precision_is_reached_in_cities_not_fitted_on(calibration, held_out, wanted):
    threshold = calibration.plain.threshold(wanted)
    p, right, on = held_out
    yes = p >= threshold.probability
    assert yes.sum() > 100 and right[yes].mean() >= wanted - 0.01
    weights = np.where(on, 1.0, on.sum() / (~on).sum())  # as if half of the way were off the map
    assert (weights * right)[yes].sum() / weights[yes].sum() >= wanted - 0.03


def test_threshold_is_no_higher_than_it_need_be(calibration, held_out):
    p, right, _ = held_out
    low, high = (calibration.plain.threshold(wanted).probability for wanted in (0.8, 0.98))
    assert low < high
    assert right[p >= low].mean() < right[p >= high].mean()
    assert (p >= low).sum() > 1.2 * (p >= high).sum()


def test_threshold_rises_with_the_wanted_precision(calibration):
    for table in (calibration.plain.thresholds, *(threshold_table(judged(s, together=0.5)) for s in range(20))):
        found = [table.threshold(wanted).probability for wanted in np.linspace(0.01, 0.9999, 400)]
        assert (np.diff(found) >= 0).all()


def row(probability, frames, right, precision, low, high):
    return Accepted(probability, frames, right, max(1, frames // 30), precision, low, high)


def test_too_few_frames_fall_back_on_the_probability_itself():
    few = ThresholdTable((row(0.5, 90, 80, 0.8, 0.6, 0.95), row(0.9, 60, 60, 0.83, 0.3, 1.0)), 100, 30)
    found = few.threshold(0.99)
    assert (found.probability, found.shown, found.reachable) == (0.99, False, 0.83)
    assert (
        "cannot be shown" in found.sentence and "at most 0.830" in found.sentence and "longer drive" in found.sentence
    )
    shown = few.threshold(0.8)
    assert (shown.probability, shown.shown, shown.recall) == (0.5, True, 0.8)
    assert "80 of 90" in shown.sentence and "0.600 to 0.950" in shown.sentence and "3 stretches" in shown.sentence


def test_what_the_drives_contradict_is_not_believed():
    top = row(0.995, 20, 20, 0.75, 0.2, 1.0)
    wrong = (row(0.5, 900, 700, 0.77, 0.7, 0.8), row(0.99, 600, 540, 0.89, 0.85, 0.93))
    assert ThresholdTable((*wrong, top), 1000, 300).threshold(0.98).probability == 0.995
    never = ThresholdTable(wrong, 1000, 300).threshold(0.98)
    assert never.probability == NEVER and not never.shown
    assert "nothing is accepted" in never.sentence and "0.890 at best" in never.sentence
    assert ThresholdTable((), 0, 0).threshold(0.9).probability == 0.9


def test_a_short_drive_says_how_little_it_shows():
    one = labelled_city(402)
    few = replace(one, descriptors=one.descriptors[:90], stamps_ns=one.stamps_ns[:90], truth=one.truth[:90])
    found = fit_calibration([few], 10.0, config=AS_THEY_ARE).plain.threshold(0.99)
    assert not found.shown and found.reachable < 0.95 and found.probability >= 0.99


def test_a_repeated_drive_counts_where_it_has_been_put_off_the_map():
    world = World(35)
    frames = keyframes(drive(world, [(0, 0, 300)], step_m=2))
    query = drive(world, [(0, 10, 280)], condition=1, change=0.8, noise=0.4, start_s=1000)
    truth = label_by_pose(frames, query.T_map_base, 10.0)
    fitted = fit_calibration([LabelledSequence(frames, query.descriptors, query.stamps_ns, None, truth)], 10.0)
    assert fitted.plain.thresholds.on_map == 270 and 90 <= fitted.plain.thresholds.off_map <= 92
    assert fitted.n_queries - fitted.n_off_map == 270 and fitted.n_off_map == fitted.plain.thresholds.off_map
    assert fitted.plain.thresholds.rows[0].stretches <= 9


def test_counted_is_what_the_recogniser_accepts(calibration, monkeypatch):
    """With one evidence for both folds, and maps that no data move, the passes must agree frame by frame."""
    monkeypatch.setattr(thresholds, "fit_reading", lambda tuning, outcomes, used: tuning)
    sequence = labelled_city(403)
    base = replace(calibration, plain=Calibration.default(10.0).plain)
    config = replace(AS_THEY_ARE, place_radius=10.0)
    outcomes = outcomes_of([replay(sequence, base, config)], [base.evidence] * 2, base.plain.temper, False)
    got = judge(outcomes, base.plain, config.decision)
    for least in (0.3, 0.6, 0.9):
        rules = DecisionConfig(accept_probability=least)
        recogniser = Recogniser(sequence.keyframes, base, replace(config, decision=rules))
        answers = [
            recogniser.recognise(int(t), v) for t, v in zip(sequence.stamps_ns, sequence.descriptors, strict=True)
        ]
        yes = np.array([answer.status == "accepted" for answer in answers])
        counted = got.acceptable & (got.probabilities >= least)
        assert yes.sum() > 20 and (yes == counted).all()


def test_table_is_small_and_survives_json(calibration):
    text = json.dumps(calibration.to_dict())
    assert Calibration.from_dict(json.loads(text)) == calibration
    tables = [json.dumps(calibration.tuning(mode).thresholds.to_dict()) for mode in (True, False)]
    assert sum(map(len, tables)) <= 2048


def test_old_calibrations_load_and_know_no_precision(calibration):
    old = calibration.to_dict()
    for mode in ("odometry", "plain"):
        del old[mode]["thresholds"]
    loaded = Calibration.from_dict({**old, "version": 2})
    assert loaded.evidence == calibration.evidence and loaded.plain.thresholds is None
    with pytest.raises(VprError, match="older version.*vpr_ros calibrate"):
        loaded.plain.threshold(0.99)
    frames, _ = city(403)
    with pytest.raises(VprError, match="vpr_ros calibrate"):
        Recogniser(frames, loaded, RecognitionConfig(decision=DecisionConfig(accept_precision=0.99)))
    assert Recogniser(frames, loaded).accept_probabilities == (0.95, 0.95)


@pytest.mark.parametrize("damage", [{"right": [9]}, {"low": [float("nan")]}, {"probability": [1.5]}, {"frames": []}])
def test_damaged_tables_are_refused(damage):
    table = ThresholdTable((row(0.5, 8, 8, 0.8, 0.6, 1.0),), 10, 0).to_dict() | damage
    data = Calibration.default().to_dict()
    with pytest.raises(VprError, match="damaged"):
        Calibration.from_dict({**data, "plain": {**data["plain"], "thresholds": table}})


def test_a_recogniser_accepts_from_the_threshold_of_its_precision_on(calibration):
    frames, query = city(503)
    wanted = DecisionConfig(accept_precision=0.9)
    recogniser = Recogniser(frames, calibration, RecognitionConfig(decision=wanted))
    least = calibration.plain.threshold(0.9).probability
    assert recogniser.accept_probabilities == (least, calibration.odometry.threshold(0.9).probability)
    by_probability = Recogniser(
        frames, calibration, RecognitionConfig(decision=DecisionConfig(accept_probability=least))
    )
    a, b = run(recogniser, query, odometry=False), run(by_probability, query, odometry=False)
    assert [r.status for r in a] == [r.status for r in b] and {"accepted", "rejected"} <= {r.status for r in a}
    recogniser.set_decision(DecisionConfig(accept_probability=0.99))
    assert recogniser.accept_probabilities == (0.99, 0.99)


@pytest.mark.parametrize("wanted", [0.0, 1.0, -0.5, float("nan")])
def test_a_precision_is_between_nothing_and_everything(calibration, wanted):
    with pytest.raises(ValueError, match="between 0 and 1"):
        DecisionConfig(accept_precision=wanted)
    with pytest.raises(VprError, match="between 0 and 1"):
        calibration.plain.threshold(wanted)


def test_a_precision_and_a_probability_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        DecisionConfig(accept_probability=0.9, accept_precision=0.99)
