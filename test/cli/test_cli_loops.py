"""`vpr_ros loops` on a bag of laps with a real network, real registrations and a drift that is known."""

import json
import sys

import numpy as np
import pytest
from command_line import assert_sentence
from loop_bags import write_loop_bag
from loop_graphs import ate_m

from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.offline.loops.bag import LoopsConfig, straighten_bag
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors import Trajectory

pytest.importorskip("small_gicp")

ACCEPT = 0.5  # an untrained network is never very sure
FRAMES = 75
BY_LIDAR = ("--accept-probability", ACCEPT, "--verify", "lidar", "--set", "local_features=none")


@pytest.fixture(scope="module")
def lap_bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("laps") / "laps"
    return path, *write_loop_bag(path, FRAMES)


@pytest.fixture(scope="module")
def straight(lap_bag, checkpoint, tmp_path_factory):
    from command_line import run

    pytest.importorskip("gtsam"), pytest.importorskip("evo")
    out = tmp_path_factory.mktemp("straight") / "out"
    return run("loops", lap_bag[0], "-o", out, "-c", checkpoint, *BY_LIDAR), out


def test_a_drive_that_comes_back_is_straightened(straight, lap_bag):
    result, out = straight
    assert result.exit_code == 0, result.output
    _, true, odometry = lap_bag
    before, after = (Trajectory.from_tum(out / name) for name in ("odometry.tum", "trajectory.tum"))
    assert len(after) == FRAMES
    np.testing.assert_allclose(before.T, odometry, atol=1e-6)
    errors = ate_m(before.T, true), ate_m(after.T, true)
    assert errors[1] < 0.6 * errors[0]
    assert f"{errors[0]:.2f} m before, {errors[1]:.2f} m after" in result.output
    told = json.loads((out / "loops.json").read_text())
    assert told["ate_m"]["after"]["rmse"] == pytest.approx(errors[1], abs=1e-4) and not told["interrupted"]
    lines = [json.loads(line) for line in (out / "loop_closures.jsonl").read_text().splitlines()]
    agreed = sum(line["accepted"] for line in lines)
    assert told["verifications"] == {"tried": len(lines), "agreed": agreed} and agreed > 5
    assert (out / "loops.g2o").read_text().count("EDGE_SE3:QUAT") == FRAMES - 1 + agreed
    assert len((out / "loops.txt").read_text().splitlines()) == 3 + told["accepted"]
    assert (out / "loops.png").read_bytes()[:4] == b"\x89PNG"
    assert not (out / "unfinished.txt").exists()


def test_the_straightened_poses_go_into_its_map(straight, vpr):
    _, out = straight
    result = vpr("poses", out / "map.vpr", out / "trajectory.tum")
    assert result.exit_code == 0 and "0 cleared" in result.output, result.output
    with PlaceMap.open(out / "map.vpr") as place_map:
        keyframes = place_map.keyframes()
    after = Trajectory.from_tum(out / "trajectory.tum")
    np.testing.assert_allclose(keyframes.T_map_base, after.at_many(keyframes.stamps_ns)[0], atol=1e-6)


def test_an_interrupted_drive_without_gtsam_leaves_its_loops_and_graph(lap_bag, checkpoint, tmp_path, monkeypatch):
    from vpr_ros.runtime.opening import load_extractor

    def progress(done, total):
        assert total == FRAMES
        if done == 70:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "gtsam", None)
    decision = DecisionConfig(accept_probability=ACCEPT)
    core = PipelineConfig(
        map_path=tmp_path / "map.vpr",
        checkpoint=checkpoint,
        recognition=RecognitionConfig(decision=decision),
        verify="lidar",
        local_features="none",
    )
    result = straighten_bag(lap_bag[0], tmp_path, load_extractor(core), LoopsConfig(core), progress)
    assert result.driven.interrupted and len(result.driven.frames) < FRAMES
    assert result.straightened is None and result.graph is not None and result.graph.count("metric") > 0
    (hint,) = result.hints
    assert "pip install 'vpr_ros[slam]'" in hint and "loops.g2o is written, trajectory.tum is not" in hint
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["loop_closures.jsonl", "loops.g2o", "loops.json", "loops.txt", "loops_vertices.csv", "map.vpr"]
    assert json.loads((tmp_path / "loops.json").read_text())["interrupted"]


def test_what_a_bag_lacks_is_one_sentence(vpr, checkpoint, tmp_path, monkeypatch):
    bare, blind = tmp_path / "bare", tmp_path / "blind"
    write_loop_bag(bare, 4, odometry=False, clouds=False, truth=False)
    write_loop_bag(blind, FRAMES, clouds=False, truth=False)
    out = tmp_path / "out"
    assert_sentence(vpr("loops", bare, "-o", out, "-c", checkpoint), "has no odometry", "--odom-topic")
    call = ("loops", blind, "-o", out, "-c", checkpoint)
    assert_sentence(vpr(*call, "--truth", out.parent, "--truth-topic", "/b"), "exclude each other")
    assert_sentence(vpr(*call, "--truth", tmp_path / "none.tum"), "none.tum", "does not exist")
    assert_sentence(vpr(*call, "--truth-topic", "/none"), "/none")
    assert not out.exists()
    result = vpr(*call, *BY_LIDAR)
    assert result.exit_code == 0 and "could be verified: nothing can be compared" in result.output, result.output
    result = vpr(*call, *BY_LIDAR, "--verify", "none", "--force")
    assert "nothing was verified, and a match alone has no measured pose" in result.output
    assert not (out / "loops.g2o").exists() and len((out / "loops.txt").read_text().splitlines()) > 6


def test_a_truth_that_is_asked_for_needs_evo(lap_bag, vpr, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "evo.core.metrics", None)
    call = ("loops", lap_bag[0], "-o", tmp_path / "out", "-c", checkpoint, "--truth-topic", "/ground_truth/pose")
    assert_sentence(vpr(*call), "need evo", "pip install 'vpr_ros[slam]'")
