"""A drive's frames and loops of known truth: straightened, judged by evo, drawn."""

import sys

import cv2
import numpy as np
import pytest
from loop_graphs import ate_m, closures, false_closures, laps

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.loops import LoopFrame, build_graph
from vpr_ros.offline.loops.accuracy import true_error
from vpr_ros.offline.loops.picture import draw_loops
from vpr_ros.offline.loops.straightening import straighten, worth_a_vertex
from vpr_ros.place_map import Keyframes
from vpr_ros.sensors import Trajectory

pytest.importorskip("gtsam")

TRUE, ODOMETRY = laps()
S = 10**9
STAMPS = np.arange(len(TRUE)) * S + 5
T_TRUTH = planar_transform(300.0, -20.0, 2.0)  # of the truth's frame
TRUTH = Trajectory(STAMPS, T_TRUTH @ TRUE)


def drive(edges, odometry=ODOMETRY):
    """Frames whose even ones became keyframes 0, 2, 4, ...; loops are those of `edges` that end at one of these."""
    loops = {edge.second: edge for edge in edges if edge.first % 2 == 0}
    frames = []
    for n, stamp in enumerate(STAMPS.tolist()):
        keyframe = n if n % 2 == 0 else None
        if n in loops:
            edge = loops[n]
            turn = np.kron(np.eye(2), edge.T[:3, :3])  # a verification's covariance is in the keyframe's axes
            covariance = turn @ edge.covariance @ turn.T
            frames.append(LoopFrame(stamp, odometry[n], edge.first, 0.9, edge.T, covariance, keyframe))
        else:
            frames.append(LoopFrame(stamp, odometry[n], keyframe=keyframe))
    return frames


def graph_of(frames):
    rows = [n for n, frame in enumerate(frames) if frame.keyframe is not None]
    own = np.array([frames[n].T_odom_base for n in rows])
    kept = Keyframes(np.array(rows), np.ones(len(rows), int), STAMPS[rows], own, own, np.zeros((len(rows), 0)))
    return build_graph([f for f in frames if worth_a_vertex(f)], kept, 10.0, places=False)


@pytest.fixture(scope="module")
def with_false_loops():
    right = closures(TRUE, every=3)
    wrong = false_closures(TRUE, ODOMETRY, len(right) // 3)
    frames = drive([*right, *wrong])
    graph = graph_of(frames)
    return frames, graph, straighten(frames, graph), {(e.first, e.second) for e in wrong}


def test_every_frame_gets_a_pose_and_false_loops_leave_no_trace(with_false_loops):
    frames, graph, found, wrong = with_false_loops
    assert len(graph.poses) < len(frames) == len(found.before) == len(found.after)
    np.testing.assert_allclose(found.before.T, ODOMETRY, atol=1e-9)
    assert ate_m(found.after.T, TRUE) < 0.1 * ate_m(found.before.T, TRUE)
    ends = graph.stamps_ns[[(edge.first, edge.second) for edge in found.loops]] // S
    assert (~found.trusted).sum() >= 10
    for (first, second), trusted in zip(ends.tolist(), found.trusted, strict=True):
        assert trusted == ((first, second) not in wrong)
    assert found.moved_m == pytest.approx(np.linalg.norm((found.after.T - ODOMETRY)[:, :3, 3], axis=1).max())


def test_a_place_without_measured_pose_does_not_bend_the_graph():
    measured = drive(closures(TRUE, every=3))
    told = [LoopFrame(f.stamp_ns, f.T_odom_base, 0, 0.99, keyframe=f.keyframe) for f in measured[100:150]]
    frames = [*measured[:100], *told, *measured[150:]]
    graph = graph_of(frames)
    assert graph.count("place") == 0 and graph.count("metric") > 20
    assert ate_m(straighten(frames, graph).after.T, TRUE) < 0.1 * ate_m(ODOMETRY, TRUE)


def test_a_jump_of_odometry_is_mended_by_the_loops():
    jumped = ODOMETRY.copy()
    jumped[150:] = planar_transform(800.0, 30.0, 1.0) @ jumped[150:]
    frames = drive(closures(TRUE, every=3), jumped)
    found = straighten(frames, graph_of(frames))
    assert len(found.after) > 295 and ate_m(found.after.T, TRUE[np.isin(STAMPS, found.after.stamps_ns)]) < 0.5


def test_the_error_is_that_of_the_best_rigid_alignment(with_false_loops):
    pytest.importorskip("evo")
    found = with_false_loops[2]
    for trajectory in (found.before, found.after):
        error = true_error(trajectory, TRUTH)
        assert error.poses == len(TRUE)
        assert error.rmse_m == pytest.approx(ate_m(trajectory.T, TRUE), rel=1e-6)
        apart = np.linalg.norm((error.T_truth_estimate @ trajectory.T - TRUTH.T)[:, :3, 3], axis=1)
        assert error.max_m == pytest.approx(apart.max()) and error.median_m == pytest.approx(np.median(apart))
    half = Trajectory(STAMPS[:100] + S // 4, TRUTH.T[:100])  # between samples it is interpolated, outside left out
    assert true_error(found.after, half).poses == 99
    with pytest.raises(VprError, match="only 0 of 300 poses have a true one"):
        true_error(found.after, Trajectory(STAMPS + 10**6 * S, TRUTH.T))


def test_without_evo_the_extra_is_named(with_false_loops, monkeypatch):
    monkeypatch.setitem(sys.modules, "evo.core.metrics", None)
    with pytest.raises(VprError, match=r"need evo .*pip install 'vpr_ros\[slam\]'"):
        true_error(with_false_loops[2].after, TRUTH)


def test_the_picture_shows_loops_of_both_kinds(with_false_loops, tmp_path):
    _, graph, found, _ = with_false_loops
    draw_loops(tmp_path / "loops.png", found, graph)
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "loops.png")), cv2.COLOR_BGR2RGB).reshape(-1, 3).astype(int)
    for colour in ((0x00, 0x9E, 0x73), (0xE0, 0x40, 0x1A), (0x00, 0x72, 0xB2)):  # trusted, not trusted, the drive
        assert (np.abs(picture - colour).max(axis=1) < 30).sum() > 100
