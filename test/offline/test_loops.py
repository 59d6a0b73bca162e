"""Loop closures as files, read back with a parser of this test's own: pairs, vertices, edges, what they compose to."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.geometry import invert, make_transform, planar_transform
from vpr_ros.observation import Observation
from vpr_ros.offline.loops import LoopFrame, build_graph, loop_frame, write_loops
from vpr_ros.place_map import Keyframes
from vpr_ros.recognition import Hypothesis, Recognition
from vpr_ros.runtime.answer import Answer
from vpr_ros.verification import Verified

S = 10**9
QUERY_NS, MAP_NS = 1_700_000_500 * S + 123, 1_700_000_000 * S + 7
RADIUS_M = 10.0
T_MAP_ODOM = planar_transform(100.0, -40.0, 0.8)  # where the mapped drive's odometry began
TRULY = [planar_transform(2.0 * i, 0.1 * i, 0.05 * i) for i in range(6)]  # poses along both drives


def keyframes(map_poses=True, odometry=True, sessions=(1,) * 6, poses=TRULY):
    """Six keyframes with ids 11, 12, ...; the map frame is not that of their odometry."""
    nan = np.full((len(poses), 4, 4), np.nan)
    n = len(poses)
    return Keyframes(
        np.arange(11, 11 + n),
        np.array(sessions, np.int64),
        MAP_NS + np.arange(n) * S,
        np.array([T_MAP_ODOM @ T for T in poses]) if map_poses else nan,
        np.array(poses) if odometry else nan,
        np.zeros((n, 0), np.float16),
    )


def drive(accepted=(1, 3), odometry=True):
    """Six frames of a drive whose odometry began elsewhere; frame i was accepted at keyframe 11 + i."""
    start = planar_transform(-7.0, 3.0, -1.9)
    return [
        LoopFrame(
            QUERY_NS + i * S,
            start @ T if odometry else None,
            11 + i if i in accepted else None,
            0.9 + i / 100 if i in accepted else 0.0,
        )
        for i, T in enumerate(TRULY)
    ]


def metric(frame, T=None):
    """The frame with a registration."""
    T = planar_transform(0.5, -0.2, 0.1) if T is None else T
    covariance = np.diag([0.04, 0.09, 0.01, 1e-4, 2e-4, 3e-4])
    return replace(frame, T_keyframe_query=T, covariance=covariance)


def read_g2o(path):
    """{vertex: 4x4}, [(first, second, 4x4, information 6x6)] of a file, by its definition."""
    vertices, edges = {}, []
    for line in path.read_text().splitlines():
        tag, *words = line.split()
        if tag == "VERTEX_SE3:QUAT":
            assert len(words) == 8 and int(words[0]) not in vertices
            vertices[int(words[0])] = pose(words[1:])
        else:
            assert tag == "EDGE_SE3:QUAT" and len(words) == 2 + 7 + 21
            information, values = np.zeros((6, 6)), iter(map(float, words[9:]))
            for i in range(6):
                for j in range(i, 6):
                    information[i, j] = information[j, i] = next(values)
            edges.append((int(words[0]), int(words[1]), pose(words[2:9]), information))
    return vertices, edges


def pose(words):
    x = list(map(float, words))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_quat(x[3:]).as_matrix(), x[:3]
    return T


@pytest.fixture
def written(tmp_path):
    def write(frames, keyframes, radius=RADIUS_M):
        return write_loops(tmp_path, frames, keyframes, radius), tmp_path

    return write


def test_pairs_hold_nanoseconds_and_only_what_was_accepted(written):
    files, out = written(drive(odometry=False), keyframes())
    lines = (out / "loops.txt").read_text().splitlines()
    assert all(line.startswith("#") for line in lines[:3]) and "stamp_query stamp_keyframe probability" in lines[1]
    assert lines[3:] == [
        "1700000501.000000123 1700000001.000000007 0.910000",
        "1700000503.000000123 1700000003.000000007 0.930000",
    ]
    assert files.pairs == 2 and files.graph is None and "no odometry" in files.sentence
    assert not (out / "loops.g2o").exists() and not (out / "loops_vertices.csv").exists()


def test_the_graph_has_every_pose_and_step_and_closure_and_they_compose(written):
    files, out = written(drive(), keyframes())
    vertices, edges = read_g2o(out / "loops.g2o")
    # Frames of the drive are 0 to 5, in its order; keyframes 6 to 11.
    assert sorted(vertices) == list(range(12))
    steps = [(a, b) for a, b, *_ in edges[:10]]
    assert steps == [(i, i + 1) for i in range(5)] + [(i, i + 1) for i in range(6, 11)]
    assert [(a, b) for a, b, *_ in edges[10:]] == [(7, 1), (9, 3)]
    for a, b, T, _ in edges[:10]:
        np.testing.assert_allclose(vertices[a] @ T, vertices[b], atol=1e-7)
        np.testing.assert_allclose(T, invert(TRULY[a % 6]) @ TRULY[b % 6], atol=1e-7)
    for i in range(6):
        np.testing.assert_allclose(vertices[6 + i], T_MAP_ODOM @ TRULY[i], atol=1e-7)
        # The drive was laid at its first closure; here it went just where the map did.
        np.testing.assert_allclose(vertices[i], T_MAP_ODOM @ TRULY[i], atol=1e-7)
    for _, _, T, information in edges[10:]:
        np.testing.assert_array_equal(T, np.eye(4))
        sigmas = 1 / np.sqrt(np.diag(information))
        np.testing.assert_allclose(sigmas, [RADIUS_M, RADIUS_M, 4 * RADIUS_M, 0.3, 0.3, 0.5], rtol=1e-6)
        assert (information == np.diag(np.diag(information))).all()
    assert "loops.txt: 2 loop closures" in files.sentence and "12 poses, 10 steps" in files.sentence
    assert files.to_dict() == {"pairs": 2, "vertices": 12, "odometry": 10, "place": 2, "metric": 0}


def test_the_table_says_which_image_a_vertex_is(written):
    _, out = written(drive(), keyframes(sessions=(1, 1, 1, 2, 2, 2)))
    with open(out / "loops_vertices.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(r["vertex"]) for r in rows] == list(range(12))
    assert [int(r["stamp_ns"]) for r in rows] == [QUERY_NS + i * S for i in range(6)] + [
        MAP_NS + i * S for i in range(6)
    ]
    assert [r["keyframe_id"] for r in rows] == [""] * 6 + [str(11 + i) for i in range(6)]
    assert [r["session"] for r in rows] == [""] * 6 + ["1"] * 3 + ["2"] * 3


def test_odometry_is_trusted_less_the_further_it_went(written):
    poses = [planar_transform(0, 0, 0), planar_transform(1, 0, 0), planar_transform(9, 0, 1.0)]
    frames = [LoopFrame(QUERY_NS + i * S, T, 11 + i, 0.9) for i, T in enumerate(poses)]
    _, out = written(frames, keyframes(sessions=(1, 1, 1), poses=poses))
    _, edges = read_g2o(out / "loops.g2o")
    sigmas = [1 / np.sqrt(np.diag(information)) for _, _, _, information in edges[:2]]
    degree = np.radians(1)
    for found, metres, turn in zip(sigmas, (1, 8), (0, 1), strict=True):
        ways = (
            (0.01**2 + 0.1**2 * metres) ** 0.5,
            (0.002**2 + (degree / 2) ** 2 * metres + (2 * degree) ** 2 * turn) ** 0.5,
        )
        np.testing.assert_allclose(found, np.repeat(ways, 3), rtol=1e-6)


def slam_frames(closing=((4, 12), (5, 13))):
    """Six frames of one drive that drifts; frames 0 to 3 became the keyframes 11 to 14, the last two closed loops."""
    frames = [LoopFrame(MAP_NS + i * S, T, keyframe=11 + i if i < 4 else None) for i, T in enumerate(TRULY)]
    for n, keyframe in closing:
        frames[n] = replace(frames[n], keyframe_id=keyframe, probability=0.9)
    return frames


def test_a_drive_that_meets_itself_has_each_frame_once(written):
    frames = slam_frames()
    frames[5] = replace(frames[5], T_keyframe_query=planar_transform(0.5, -0.2, 0.1), covariance=np.eye(6))
    graph = build_graph(frames, keyframes().select(np.arange(4)), RADIUS_M)
    assert graph is not None and graph.fixed.tolist() == [True] + [False] * 5
    assert graph.keyframe_ids.tolist() == [11, 12, 13, 14, -1, -1] and (graph.sessions == -1).all()
    np.testing.assert_allclose(graph.poses, TRULY, atol=1e-12)
    assert [(e.first, e.second, e.kind) for e in graph.edges[5:]] == [(1, 4, "place"), (2, 5, "metric")]
    assert [(e.first, e.second) for e in graph.edges[:5]] == [(i, i + 1) for i in range(5)]
    without = build_graph(frames, keyframes().select(np.arange(4)), RADIUS_M, places=False)
    assert without is not None and [e.kind for e in without.edges[5:]] == ["metric"]


def test_a_drive_that_meets_itself_and_the_map_stands_in_the_map(written):
    """Keyframes 11 to 13 are the map's, 14 to 16 the drive's own; the last frame closes a loop with the first."""
    kept = keyframes(sessions=(1, 1, 1, 2, 2, 2))
    start = planar_transform(50.0, 0.0, 0.3)
    frames = [LoopFrame(QUERY_NS + i * S, start @ TRULY[3 + i], keyframe=14 + i) for i in range(3)]
    frames[1] = metric(replace(frames[1], keyframe_id=12, probability=0.9))
    frames[2] = replace(frames[2], keyframe_id=14, probability=0.9)
    graph = build_graph(frames, kept, RADIUS_M)
    assert graph is not None and graph.keyframe_ids.tolist() == [14, 15, 16, 11, 12, 13]
    assert graph.fixed.tolist() == [False] * 3 + [True] * 3 and graph.parts.tolist() == [0] * 3 + [1] * 3
    np.testing.assert_allclose(graph.poses[3:], kept.T_map_base[:3], atol=1e-12)
    np.testing.assert_allclose(graph.poses[1], kept.T_map_base[1] @ planar_transform(0.5, -0.2, 0.1), atol=1e-9)
    assert [(e.first, e.second, e.kind) for e in graph.edges[4:]] == [(4, 1, "metric"), (0, 2, "place")]


def test_a_drive_cut_by_a_jump_is_joined_by_its_own_loop():
    frames = slam_frames(closing=((4, 12),))
    far = planar_transform(900.0, 0.0, 0.5)
    frames = [f if n < 3 else replace(f, T_odom_base=far @ f.T_odom_base) for n, f in enumerate(frames)]
    graph = build_graph(frames, keyframes().select(np.arange(4)), RADIUS_M)
    assert graph is not None and graph.parts.tolist() == [0] * 3 + [1] * 3
    np.testing.assert_allclose(graph.poses[4], TRULY[1], atol=1e-9)  # at the keyframe that it was recognised at
    np.testing.assert_allclose(invert(graph.poses[3]) @ graph.poses[5], invert(TRULY[3]) @ TRULY[5], atol=1e-9)
    # Nothing holds the second part without it.
    alone = [replace(f, keyframe_id=11 if n == 2 else None) for n, f in enumerate(frames)]
    left = build_graph(alone, keyframes().select(np.arange(4)), RADIUS_M)
    assert left is not None and len(left.poses) == 3


def test_a_registration_gives_the_pose_and_its_covariance_in_the_querys_axes(written):
    frames = drive()
    turned = make_transform([0.5, -0.2, 0.1], Rotation.from_euler("zyx", [2.0, 0.3, -0.2]).as_quat())
    frames[3] = metric(frames[3], turned)
    files, out = written(frames, keyframes())
    vertices, edges = read_g2o(out / "loops.g2o")
    assert files.graph is not None and (files.graph.count("place"), files.graph.count("metric")) == (1, 1)
    (first, second, T, information) = edges[-1]
    assert (first, second) == (9, 3)
    np.testing.assert_allclose(T, turned, atol=1e-7)
    # The drive lies where its registration wants it, though a plain closure came before.
    np.testing.assert_allclose(vertices[9] @ turned, vertices[3], atol=1e-7)
    # Drawn errors in the keyframe's axes, seen from the query, have the inverse of the information as covariance.
    rng, covariance = np.random.default_rng(0), frames[3].covariance
    draws = rng.multivariate_normal(np.zeros(6), covariance, 100_000)
    R = turned[:3, :3]
    seen = np.hstack([draws[:, :3] @ R, draws[:, 3:] @ R])
    np.testing.assert_allclose(np.cov(seen.T), np.linalg.inv(information), atol=2e-3)
    disturbed = make_transform(turned[:3, 3] + draws[0, :3], Rotation.from_rotvec(draws[0, 3:] * 1e-3).as_quat())
    disturbed[:3, :3] = disturbed[:3, :3] @ R
    error = invert(turned) @ disturbed
    np.testing.assert_allclose(error[:3, 3], seen[0, :3], atol=1e-9)
    np.testing.assert_allclose(Rotation.from_matrix(error[:3, :3]).as_rotvec(), seen[0, 3:] * 1e-3, atol=1e-8)


def test_a_jump_of_odometry_cuts_the_drive_and_what_nothing_holds_is_left_out(written):
    frames = drive(accepted=(0, 1))
    far = planar_transform(5000.0, 0.0, 0.0)
    frames = [f if i < 3 else LoopFrame(f.stamp_ns, far @ f.T_odom_base) for i, f in enumerate(frames)]
    _, out = written(frames, keyframes())
    vertices, edges = read_g2o(out / "loops.g2o")
    assert len(vertices) == 3 + 6 and [(a, b) for a, b, *_ in edges[:2]] == [(0, 1), (1, 2)]
    frames[5] = LoopFrame(frames[5].stamp_ns, frames[5].T_odom_base, 12, 0.99)  # now a closure holds the second part
    _, out = written(frames, keyframes())
    vertices, edges = read_g2o(out / "loops.g2o")
    assert len(vertices) == 6 + 6
    assert [(a, b) for a, b, *_ in edges[:4]] == [(0, 1), (1, 2), (3, 4), (4, 5)]
    np.testing.assert_allclose(vertices[5], T_MAP_ODOM @ TRULY[1], atol=1e-7)


def test_frames_without_odometry_and_sessions_that_nobody_met_have_no_vertices(written):
    frames = drive(accepted=(0, 1, 2))
    frames[1] = LoopFrame(frames[1].stamp_ns, None, 12, 0.9)
    files, out = written(frames, keyframes(sessions=(1, 1, 1, 2, 2, 2)))
    vertices, edges = read_g2o(out / "loops.g2o")
    assert files.pairs == 3 and len(vertices) == 5 + 3
    assert [(a, b) for a, b, *_ in edges if a < 5 and b < 5] == [(i, i + 1) for i in range(4)]
    assert [(a, b) for a, b, *_ in edges][-2:] == [(5, 0), (7, 1)]


def test_keyframes_without_odometry_are_joined_by_their_poses_in_the_map(written):
    _, out = written(drive(), keyframes(odometry=False))
    _, edges = read_g2o(out / "loops.g2o")
    assert len(edges) == 12
    for a, b, T, _ in edges[5:10]:
        np.testing.assert_allclose(T, invert(TRULY[a - 6]) @ TRULY[b - 6], atol=1e-7)


@pytest.mark.parametrize(
    "frames, kept, why",
    [
        (drive(accepted=()), keyframes(), "no frame was accepted"),
        ([], keyframes(), "no frame was accepted"),
        (drive(), keyframes(map_poses=False, odometry=False), "the map has no poses"),
        (drive(odometry=False), keyframes(), "the drive has no odometry"),
    ],
)
def test_without_poses_there_are_pairs_only_and_a_reason(written, frames, kept, why):
    files, out = written(frames, kept)
    assert files.graph is None and why in files.sentence and files.to_dict()["no_graph"] == why
    assert [p.name for p in out.iterdir()] == ["loops.txt"]


def test_a_frame_is_kept_with_what_its_answer_says():
    place = Hypothesis(12, 0.97, 0.8, 0, None, 1)
    accepted = Recognition(5, (place,), 0.03, "accepted", "accepted", "", ((12, 0.8),))
    rejected = Recognition(5, (place,), 0.03, "rejected", "ambiguous", "", ((12, 0.8),))
    image, T = np.zeros((8, 8, 3), np.uint8), planar_transform(1, 2, 0.3)
    agreed = Verified(True, "registered", "lidar", T, np.eye(6), 0.9, 0.1)
    refused = Verified(False, "registered", "lidar", T, np.eye(6), 0.1, 0.9)
    full = loop_frame(Answer(Observation(5, image, T_odom_base=T), accepted, 31, "moved", verified=agreed))
    assert (full.stamp_ns, full.keyframe_id, full.probability, full.metric) == (5, 12, 0.97, True)
    assert full.keyframe == 31
    np.testing.assert_array_equal(full.T_odom_base, T)
    assert not loop_frame(Answer(Observation(5, image), accepted, verified=refused)).metric
    # A camera without depth says "the same scene", and where the other one stands only as a direction.
    seen = Verified(True, "same_scene", "camera", R_keyframe_query=np.eye(3), direction=np.array([1.0, 0.0, 0.0]))
    assert not loop_frame(Answer(Observation(5, image), accepted, verified=seen)).metric
    bare = loop_frame(Answer(Observation(5, image, T_odom_base=np.full((4, 4), np.nan)), rejected))
    assert bare == LoopFrame(5)


def test_gtsam_reads_the_graph(written):
    gtsam = pytest.importorskip("gtsam", reason="gtsam is not installed: its reader was not tried")
    frames = drive()
    frames[3] = metric(frames[3])
    _, out = written(frames, keyframes())
    graph, values = gtsam.readG2o(str(out / "loops.g2o"), True)
    assert graph.size() == 12 and values.size() == 12
    for i in range(6):
        np.testing.assert_allclose(values.atPose3(6 + i).matrix(), T_MAP_ODOM @ TRULY[i], atol=1e-6)


def test_graphs_of_nothing_are_none():
    assert build_graph([], keyframes(), RADIUS_M) is None
    assert build_graph(drive(accepted=()), keyframes(), RADIUS_M) is None
    unknown = [LoopFrame(QUERY_NS, np.eye(4), 99, 0.9)]
    assert build_graph(unknown, keyframes(), RADIUS_M) is None
