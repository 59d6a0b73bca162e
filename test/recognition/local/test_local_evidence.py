"""Local evidence: which candidates are matched, what is read of them, and that it is weighed beside similarity."""

import json

import numpy as np
import pytest
from local_streets import features_at, pictures_of
from recognition_worlds import World, correct, drive, keyframes, label_by_pose, run

from vpr_ros.calibration import LabelledSequence
from vpr_ros.calibration.comparisons import Comparisons
from vpr_ros.calibration.fitting import fit, fit_local
from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalFeatures
from vpr_ros.recognition import Calibration, Recogniser
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.local import comparing
from vpr_ros.recognition.local.comparing import LocalEvidence
from vpr_ros.recognition.local.readings import KINDS, NOTHING, PER_PLACE, Counts, choose_candidates, local_readings

RADIUS = 10.0


def test_candidates_are_the_best_with_room_for_rivals():
    rng = np.random.default_rng(0)
    places = rng.integers(0, 6, 30)
    distinct = places[:, None] != places[None]
    order = rng.permutation(30)
    chosen = choose_candidates(order, distinct, 8)
    expected, taken = [], dict.fromkeys(range(6), 0)
    for row in order:
        if len(expected) < 8 and taken[places[row]] < PER_PLACE:
            expected.append(row)
            taken[places[row]] += 1
    assert chosen.tolist() == expected
    assert choose_candidates(order, np.zeros((30, 30), bool), 8).tolist() == order[:PER_PLACE].tolist()


def test_readings_are_those_of_a_loop_over_candidates():
    rng = np.random.default_rng(1)
    k, matched = 12, np.array([3, 0, 7, 9])
    places = rng.integers(0, 3, k)
    places[matched] = [0, 0, 1, 2]
    distinct = places[:, None] != places[None]
    counts = Counts(np.array([40.0, 12, 7, 30]), np.array([25.0, 0, 3, 9]), np.array([300.0, 200, 300, 300]))
    found = local_readings(counts, matched, distinct)
    for row in range(k):
        if row not in matched:
            assert found[row].tolist() == [NOTHING] * (KINDS - 1) + [1.0]
            continue
        i = matched.tolist().index(row)
        rivals = [j for j in range(len(matched)) if places[matched[j]] != places[row]]
        lead = [np.log1p(n[i]) - max(np.log1p(n[j]) for j in rivals) for n in (counts.inliers, counts.matches)]
        assert np.allclose(found[row], [np.log1p(counts.inliers[i]), *lead, -np.log(counts.capacity[i]), 0.0])
    alone = local_readings(counts, matched, np.zeros((k, k), bool))
    for column, n in ((1, counts.inliers), (2, counts.matches)):
        least = min(np.log1p(one) for one in n)
        assert np.allclose(alone[matched][:, column], [np.log1p(one) - least for one in n])
    (single,) = local_readings(
        Counts(*([one[:1] for one in (counts.matches, counts.inliers, counts.capacity)])),
        np.array([0]),
        np.zeros((1, 1), bool),
    )
    assert single[1] == single[2] == 0, "alone, a lead says nothing"


def retrieval(k: int, distinct: np.ndarray) -> Retrieval:
    return Retrieval(np.arange(k), np.linspace(0.9, 0.5, k), np.zeros((k, 3)), 1.0, distinct)


def test_what_cannot_be_compared_leaves_the_retrieval_as_it_is():
    told = []

    def keyframe(number):
        if number == 3:
            raise VprError("the features of keyframe 3 are damaged")
        return None if number == 4 else features_at(1, 6.0 * number)

    local = LocalEvidence("xfeat", keyframe, 4, tell=lambda event, sentence: told.append((event, sentence)))
    one, order, ids = retrieval(4, ~np.eye(4, dtype=bool)), np.arange(4), np.array([1, 2, 3, 4])
    assert local.weigh(one, ids, order, lambda: None) is one
    found = local.weigh(one, ids, order, lambda: features_at(1, 6.0))
    assert found.local is not None and found.local[:, -1].tolist() == [0, 0, 1, 1]
    assert found.local[0, 1] > 0 > found.local[1, 1]
    assert told == [("unreadable", "the features of keyframe 3 are damaged"), ("matched", "")]
    nothing = LocalEvidence("xfeat", lambda number: None, 4)
    assert nothing.weigh(one, ids, order, lambda: features_at(1, 6.0)) is one


class Clock:
    """A clock that stands still unless somebody works."""

    def __init__(self):
        self.now_s, self.making_s, self.reading_s = 100.0, 0.0, 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def make(self) -> LocalFeatures:
        self.now_s += self.making_s
        return features_at(1, 6.0)

    def read(self, number: int) -> LocalFeatures:
        self.now_s += self.reading_s
        return features_at(1, 6.0 * number)


@pytest.fixture
def budgeted(monkeypatch):
    """budgeted(making_s, reading_s): events of a frame of four candidates, what was matched, and seconds it took."""
    told, clock = [], Clock()
    monkeypatch.setattr(comparing, "time", clock)
    local = LocalEvidence("xfeat", clock.read, 4, 0.15, lambda event, sentence: told.append((event, sentence)))
    number = 0

    def frame(making_s: float, reading_s: float):
        nonlocal number
        told.clear()
        clock.making_s, clock.reading_s, began_s = making_s, reading_s, clock.now_s
        ids = 4 * number + np.arange(4)  # of other keyframes each time: none is known yet
        number += 1
        one = retrieval(4, ~np.eye(4, dtype=bool))
        found = local.weigh(one, ids, np.arange(4), clock.make)
        compared = 0 if found.local is None else int((found.local[:, -1] == 0).sum())
        return [event for event, _ in told], compared, clock.now_s - began_s, " ".join(s for _, s in told)

    return frame


def test_candidates_that_do_not_fit_into_the_budget_are_left_out_and_it_is_said(budgeted):
    assert budgeted(0.05, 0.02)[:2] == (["matched"], 4)
    events, compared, took_s, sentence = budgeted(0.05, 0.04)
    assert (events, compared) == (["over budget", "matched"], 2) and took_s < 0.15
    assert "local features: 2 of 4 candidates were matched within 0.15 s" in sentence
    assert budgeted(0.14, 0.04)[:2] == (["over budget"], 0)


def test_a_machine_that_is_too_slow_for_the_budget_goes_without_and_tries_again_now_and_then(budgeted):
    budgeted(0.05, 0.01)
    assert budgeted(0.3, 0.01)[:2] == (["over budget"], 0)
    assert budgeted(0.05, 0.01)[:2] == (["matched"], 4)  # one that was slow is no reason
    taken = [budgeted(0.3, 0.01) for _ in range(2 * comparing.TRIED_AGAIN + 10)]
    assert {(*events, compared) for events, compared, *_ in taken} == {("over budget", 0)}
    assert sum(took_s > 0.15 for *_, took_s, _ in taken) <= 5
    assert "of a picture take 0.30 s here, more than local_budget_s (0.15): raise it, or set" in taken[-1][-1]
    again = [budgeted(0.05, 0.01)[1] for _ in range(comparing.TRIED_AGAIN + 2)]
    assert again[0] == 0 and again[-1] == 4 and again == sorted(again)


def aliased(seed: int) -> World:
    """Two streets that look alike to descriptors for most of their length."""
    world = World(seed)
    world.alias[2] = (1, 20.0, 100.0)
    return world


def labelled(seed: int) -> LabelledSequence:
    world = aliased(seed)
    mapped = drive(world, [(1, 0, 120), (2, 0, 120)], 2.0)
    asked = drive(world, [(1, 0, 120), (2, 0, 120), (7, 0, 80)], 1.5, condition=1, change=0.5)
    frames = keyframes(mapped)
    pictures, numbers = pictures_of([mapped, asked])
    return LabelledSequence(
        frames,
        asked.descriptors,
        asked.stamps_ns,
        asked.T_odom_base,
        label_by_pose(frames, asked.T_map_base, RADIUS),
        comparisons=Comparisons(pictures, numbers[1], numbers[0]),
    )


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit([labelled(1), labelled(2)], RADIUS).calibration


def test_streets_that_look_alike_are_told_apart_by_local_features(calibration):
    world = aliased(3)
    mapped, asked = (
        drive(world, [(1, 0, 120), (2, 0, 120)], 2.0),
        drive(world, [(2, 30, 90)], 1.5, condition=2, change=0.5),
    )
    frames = keyframes(mapped)
    where = dict(zip(frames.ids.tolist(), zip(mapped.street, mapped.s, strict=True), strict=True))
    events = []
    local = LocalEvidence(
        "xfeat", lambda i: features_at(*where[i]), 10, tell=lambda event, sentence: events.append(event)
    )
    with_local, without = Recogniser(frames, calibration, local=local), Recogniser(frames, calibration)
    plain = run(without, asked)
    weighed = [
        with_local.recognise(int(t), v, T, lambda s=s, street=street: features_at(street, s))
        for t, v, T, s, street in zip(
            asked.stamps_ns, asked.descriptors, asked.T_odom_base, asked.s, asked.street, strict=True
        )
    ]
    accepted = [sum(r.status == "accepted" for r in answers) for answers in (plain, weighed)]
    right, _ = correct(weighed, asked, frames)
    assert right[5:].all()
    assert accepted[1] > 0.7 * len(weighed) and accepted[1] > accepted[0]
    assert 1 < events.count("matched") < len(weighed) and events.count("resting") > len(weighed) / 4
    first = [r.retrieval[0][0] for r in weighed[:3]]
    assert all(where[i][0] == 2 for i in first), "a frame's own ranking is that of the weighed evidence"


def test_calibrations_without_local_features_or_of_another_kind_are_not_touched(calibration):
    base = calibration.local
    assert base is not None and base.kind == "xfeat"
    frames = keyframes(drive(World(4), [(1, 0, 60)], 2.0))
    of_other_kind = Recogniser(frames, calibration, local=LocalEvidence("sift", lambda i: None, 10))
    assert of_other_kind.weighing is calibration and of_other_kind.local is None
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration and len(base.evidence.map.knots) == 3 + KINDS
    del again.to_dict()["local"]
    assert Calibration.from_dict({k: v for k, v in calibration.to_dict().items() if k != "local"}).local is None


def test_drives_without_local_features_cannot_be_weighed(calibration):
    bare = LabelledSequence(**{**labelled(5).__dict__, "comparisons": None})
    with pytest.raises(VprError, match="not all drives have some of one kind"):
        fit_local([bare], calibration)
