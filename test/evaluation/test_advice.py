"""What a run that accepted almost nothing, or everything, is told to try."""

import pytest

from vpr_ros.evaluation.advice import advice, all_accepted, few_accepted
from vpr_ros.evaluation.matches import MatchRecord, RunInfo
from vpr_ros.recognition.types import ScoredKeyframe


def record(status, reason, best, p_unknown=0.1):
    hypotheses = (ScoredKeyframe(7, best, 0.5),) if best is not None else ()
    accepted = (7, best) if status == "accepted" else (None, None)
    return MatchRecord(1, status, reason, p_unknown, *accepted, hypotheses)


def accepted(n, best=0.97):
    return [record("accepted", "accepted", best)] * n


def rejected(n, reason="low_probability", best=0.7):
    return [record("rejected", reason, best)] * n


def unknown(n):
    return [record("unknown", "off_map", 0.05, 0.95)] * n


def run(calibration: str | None = "checkpoint", odom=None, accepted_from=0.95, decision=None):
    return RunInfo(
        map="/maps/town.vpr",
        bag="/bags/second drive",
        config={"topics": {"odom": odom}, "recognition": {"decision": decision or {}}},
        extra={"calibration": calibration, "accepted_from": {"plain": accepted_from, "odometry": accepted_from}},
    )


def test_a_usual_run_is_told_nothing():
    assert advice(accepted(50) + rejected(20) + unknown(30), run()) == []
    assert advice(accepted(10) + unknown(90), run()) == []  # a tenth is enough
    assert advice(accepted(100), run()) == []  # a drive that stays on the map, with a calibration of some worth
    assert advice([], run()) == [] and advice(rejected(9), run()) == []  # too short to say anything


def test_a_run_that_accepts_almost_nothing_hears_why_and_what_to_try():
    said = advice(accepted(4, 0.961) + rejected(60, best=0.7) + rejected(10, best=0.8) + unknown(26), run())
    assert "Only 4 of 100 frames" in said[0] and "on 70, is low_probability" in said[0]
    assert "0.96 at most" in said[0] and "half of them 0.70" in said[0] and "0.95 is needed" in said[0]
    assert "`vpr_ros calibrate /maps/town.vpr --drive '/bags/second drive' --truth frames:2`" in said[1]
    assert "--accept-probability 0.70 is reached by half of the 70 rejected frames" in said[2] and "--config" in said[2]
    with_odometry = advice(rejected(20), run(odom="/odom"))
    assert "--map-bag" in with_odometry[1] and "frames:2" not in with_odometry[1]


def test_a_lower_threshold_is_only_named_where_it_would_help():
    assert not any("--accept-probability" in s for s in advice(unknown(20), run()))
    assert not any("--accept-probability" in s for s in advice(rejected(20, best=0.4), run()))
    # Rejected in spite of their probability: another rule was not kept.
    assert not any("--accept-probability" in s for s in advice(rejected(20, "ambiguous", 0.97), run()))


def test_a_precision_in_force_is_lowered_instead():
    said = advice(rejected(20), run(decision={"accept_precision": 0.99}))
    assert any("--precision 0.99" in s for s in said) and not any("--accept-probability" in s for s in said)


@pytest.mark.parametrize(
    "reason, remedy",
    [
        ("ambiguous", "min_margin"),
        ("unsupported", "top_k"),
        ("unconfirmed", "min_consistent_frames"),
        ("too_recent", "--map"),
        ("no_map", "vpr_ros info /maps/town.vpr"),
    ],
)
def test_the_most_frequent_reason_has_its_own_remedy(reason, remedy):
    assert any(remedy in s for s in advice(rejected(20, reason, 0.96) + unknown(5), run()))


def test_a_calibration_of_the_map_itself_is_told_apart():
    said = advice(unknown(20), run("self-matches"))
    assert "--reset" in said[1] and "--drive" in said[1]
    said = advice(unknown(20), run("labelled drive"))
    assert "labelled drive" in said[1] and "vpr_ros calibrate" not in said[1]


def test_a_run_that_accepts_everything_by_a_calibration_of_nothing_is_warned():
    for source in ("default", None):
        said = advice(accepted(40), run(source))
        assert "40 of 40 frames were accepted" in said[0] and "does not have" in said[0]
        assert "vpr_ros calibrate" in said[1]
    assert all_accepted(accepted(40) + unknown(1), run("default")) == []
    said = all_accepted(accepted(40), run(accepted_from=0.02))
    assert "0.02 was enough" in said[0] and "--precision" in said[1]


def test_frames_of_which_it_is_known_that_they_lay_on_the_map_are_called_so():
    assert "0 of 20 frames on the map" in few_accepted(rejected(20), run(), "frames on the map")[0]


def test_runs_of_other_versions_are_read_as_far_as_they_say_something():
    bare = RunInfo(map="", bag="", config={"topics": None, "recognition": 3}, extra={"accepted_from": None})
    said = advice(rejected(20), bare)
    assert "0.95 is needed" in said[0] and "vpr_ros calibrate MAP --drive BAG" in said[1]
    odd = [record("rejected", "a word of another version", None)] * 20
    assert "a word of another version;" in advice(odd, run())[0]
