"""The figures that say how close a run came to other answers, re-derived frame by frame."""

import math

import numpy as np
import pytest
from simulated_run import simulate

from vpr_ros.evaluation.margins import acceptance_threshold, margins
from vpr_ros.evaluation.matches import RunInfo


@pytest.fixture(scope="module")
def run():
    return simulate(seed=3, spacing_m=4.0)


def test_counts_are_those_of_a_plain_loop(run):
    found = margins(run.records, 0.6, run.truth)
    above = sure = between = right = 0
    stated, off = [], {}
    for q, record in enumerate(run.records):
        p, on_map = record.best.probability, len(run.truth.positives[q]) > 0
        above += p >= 0.6
        if run.truth.known[q] and not on_map:
            off[q] = p
            sure += p > 0.8
        if run.truth.known[q] and 0.3 <= p < 0.9:
            between += 1
            stated.append(p)
            right += record.best.keyframe_id in run.truth.positives[q]
    assert 0 < right < between and off and above
    assert (found.above, found.offmap_sure, found.between, found.between_right) == (above, sure, between, right)
    assert found.between_stated == pytest.approx(sum(stated) / len(stated))
    assert found.offmap_highest == max(off.values()) and off[found.offmap_highest_frame] == found.offmap_highest
    assert (found.frames, found.off_map, found.known) == (len(run.records), len(off), int(run.truth.known.sum()))


def test_sentences_hold_the_figures(run):
    found = margins(run.records, 0.6, run.truth)
    threshold, offmap, sure, between = found.sentences()
    assert f"{found.above} of {found.frames} frames" in threshold and "0.6" in threshold
    assert f"{found.offmap_highest:.3f} (frame {found.offmap_highest_frame}), against a threshold of 0.6" in offmap
    assert f"{found.offmap_sure} of {found.off_map}" in sure
    share = found.between_right / found.between
    assert between == (
        f"Stated 0.3–0.9: {found.between} frames, mean stated p {found.between_stated:.2f}, "
        f"right share {share:.2f} ({found.between_right} right)."
    )


def test_nothing_is_said_of_what_is_not_known(run):
    without_truth = margins(run.records, 0.6)
    assert len(without_truth.sentences()) == 1 and math.isnan(without_truth.offmap_highest)
    assert margins(run.records, None).sentences() == []
    assert margins([], 0.95, run.truth.select([])).sentences() == []
    assert margins([], None).to_dict()["offmap_highest"] is None
    on_map = np.flatnonzero(run.truth.on_map)
    assert "ff the map" not in " ".join(
        margins([run.records[q] for q in on_map], 0.6, run.truth.select(on_map)).sentences()
    )


def test_the_threshold_is_the_one_of_the_run():
    config = {"recognition": {"decision": {"accept_probability": 0.7}}}
    assert acceptance_threshold(RunInfo(config=config)) == 0.7
    run = RunInfo(config=config, extra={"accepted_from": {"plain": 0.8, "odometry": 0.9}})
    assert acceptance_threshold(run) == 0.8
    run.config["topics"] = {"image": "/image", "odom": "/odom"}
    assert acceptance_threshold(run) == 0.9
    for other in ({}, {"recognition": None}, {"recognition": {"decision": {"accept_probability": "high"}}}):
        assert acceptance_threshold(RunInfo(config=other)) is None
