"""Verified matches: read from files of any age, judged by true poses, and drawn as lines between two pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.report.run_report import ReportInput, render_report
from vpr_ros.evaluation.report.verified import asked_once
from vpr_ros.evaluation.report.verified.drawings import GAP, HEIGHT, pair_picture
from vpr_ros.evaluation.verified import PoseErrors, pose_errors, read_verified
from vpr_ros.geometry import invert, matrix_to_quaternion, planar_transform, yaw_of
from vpr_ros.place_map import Keyframes

T_MAP_KEYFRAMES = np.array([planar_transform(5.0 * i, 1.0, 0.3 * i) for i in range(3)])


def keyframes() -> Keyframes:
    ids = np.array([7, 8, 9])
    return Keyframes(
        ids, np.ones(3, np.int64), ids * 10, T_MAP_KEYFRAMES, T_MAP_KEYFRAMES, np.zeros((3, 0), np.float16)
    )


def written(path, T_keyframe_query):
    """Two lines: a measured pose by camera with keypoints, and a refusal of an older run, which named no method."""
    seven = [*T_keyframe_query[:3, 3], *matrix_to_quaternion(T_keyframe_query[:3, :3])]
    good = {"stamp_ns": 50, "keyframe_id": 8, "accepted": True, "method": "camera", "reason": "posed", "agreement": 0.4}
    good |= {"T_keyframe_query": seven, "covariance": (0.01 * np.eye(6)).ravel().tolist()}
    good |= {"keypoints": [[0, 500, 1000, 500], [250, 250, 750, 750]]}
    old = {"stamp_ns": 60, "keyframe_id": 9, "accepted": False, "reason": "little_agreement", "agreement": 0.1}
    path.write_text("".join(json.dumps(line) + "\n" for line in (good, old)))
    return path


def test_lines_are_read_and_a_damaged_one_is_named(tmp_path):
    T = planar_transform(0.5, -0.2, 0.1)
    good, old = read_verified(written(tmp_path / "a.jsonl", T))
    np.testing.assert_allclose(good.T_keyframe_query, T, atol=1e-12)
    np.testing.assert_allclose(good.keypoints, [[0, 0.5, 1, 0.5], [0.25, 0.25, 0.75, 0.75]])
    assert (old.method, old.accepted, old.T_keyframe_query, len(old.keypoints)) == ("lidar", False, None, 0)
    assert read_verified(tmp_path / "none.jsonl") == []
    (tmp_path / "b.jsonl").write_text('{"stamp_ns": 1}\n')
    with pytest.raises(VprError, match="line 1 is no verification"):
        read_verified(tmp_path / "b.jsonl")


def test_errors_are_those_in_the_keyframes_frame(tmp_path):
    """The truth may live in another frame than the map: only how the query stands to its keyframe is compared."""
    T_truth_map, T_true = planar_transform(1000.0, -50.0, 2.0), planar_transform(0.5, -0.2, 0.1)
    found = planar_transform(0.53, -0.24, 0.12)
    matches = read_verified(written(tmp_path / "a.jsonl", found))
    true_keyframes = T_truth_map @ T_MAP_KEYFRAMES
    true_queries = np.array([true_keyframes[1] @ T_true, np.full((4, 4), np.nan)])
    errors = pose_errors(matches, true_queries, keyframes(), true_keyframes)
    off = invert(true_keyframes[1] @ T_true) @ (true_keyframes[1] @ found)  # the naive way round
    assert errors.metres == pytest.approx([np.linalg.norm(off[:3, 3])]) and errors.metres[0] == pytest.approx(0.05)
    assert errors.degrees == pytest.approx([np.degrees(abs(yaw_of(off)))])
    assert errors.squared == pytest.approx([(0.03**2 + 0.04**2 + 0.02**2) / 0.01])
    assert errors.to_dict()["over_1_m"] == 0 and errors.to_dict()["count"] == 1
    assert pose_errors(matches, np.full((2, 4, 4), np.nan), keyframes(), true_keyframes) is None


def test_lines_join_the_keypoints_of_both_pictures():
    query, keyframe = np.full((120, 160, 3), 60, np.uint8), np.full((90, 90, 3), 60, np.uint8)  # a square thumbnail
    drawn = pair_picture(query, keyframe, np.array([[0.5, 0.25, 0.5, 0.75]]), "alt")
    image = pictures.decode(drawn.light).astype(int)
    width = HEIGHT * 160 // 120
    assert image.shape == (HEIGHT, 2 * width + GAP, 3) and (drawn.width, drawn.height) == (2 * width + GAP, HEIGHT)
    changed = np.abs(image - 60).max(axis=2) > 60
    changed[:, width : width + GAP] = False
    for x, y in ((width // 2, HEIGHT // 4), (width + GAP + width // 2, 3 * HEIGHT // 4)):
        assert changed[y, x]
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.min() >= HEIGHT // 4 - 4 and rows.max() <= 3 * HEIGHT // 4 + 4
    assert pair_picture(None, keyframe, np.zeros((0, 4)), "alt") is None


def test_the_page_shows_verifications_and_reads_the_bag_once(tmp_path):
    matches = read_verified(written(tmp_path / "a.jsonl", planar_transform(0.5, -0.2, 0.1)))
    asked = []

    def images(stamps):
        asked.append(list(stamps))
        return {s: np.full((60, 80, 3), 90, np.uint8) for s in stamps}

    record = MatchRecord(stamp_ns=50, status="unknown", reason="off_map", p_unknown=1.0, hypotheses=(), retrieval=())
    report = ReportInput(
        [record],
        query_images=images,
        keyframe_image=lambda _: np.full((60, 60, 3), 90, np.uint8),
        verified=matches,
        pose_errors=PoseErrors(np.array([0.05, 2.0]), np.array([0.1, 0.2]), np.array([4.0, 8.0])),
    )
    text = render_report(report)
    assert "Verified by geometry" in text and "Frame 0 and keyframe 8" in text and "little agreement" in text
    assert "1 are more than 1 m off" in text and "6.0 on average" in text and "+0.50 m ahead" in text
    assert len(asked) == 1
    assert "Verified by geometry" not in render_report(replace(report, verified=(), pose_errors=None))


def test_pictures_are_asked_for_together():
    asked = []
    find = asked_once(lambda stamps: asked.append(list(stamps)) or {s: b"x" for s in stamps}, [3])
    assert set(find([1, 2])) == {1, 2, 3} and find([3])[3] == b"x" and asked == [[1, 2, 3]]
    assert set(find([4])) == {1, 2, 3, 4} and asked[1:] == [[4]]
    assert asked_once(None, [1]) is None
