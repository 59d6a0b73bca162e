import math

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.pairs import Pair, read_pairs, truth_from_pairs, write_pairs
from vpr_ros.evaluation.protocols.folder_truth import truth_for_folders
from vpr_ros.evaluation.truth import (
    truth_from_frames,
    truth_from_names,
    truth_from_poses,
    truth_from_utm,
)
from vpr_ros.geometry import planar_transform


def random_poses(rng, n):
    xyaw = rng.uniform((-50, -50, -9), (50, 50, 9), (n, 3))
    return np.array([planar_transform(*row, z_m=rng.uniform(-5, 5)) for row in xyaw])


@pytest.mark.parametrize("max_heading_deg", [None, 40.0, 180.0])
def test_poses_against_a_plain_double_loop(max_heading_deg):
    rng = np.random.default_rng(3)
    queries, keyframes = random_poses(rng, 1500), random_poses(rng, 60)  # more queries than one block of rows
    queries[4], keyframes[7] = np.nan, np.nan
    ids = rng.permutation(1000)[:60]
    truth = truth_from_poses(queries, ids, keyframes, 12.0, max_heading_deg)
    for q in range(0, 1500, 13):
        expected = []
        for k in range(60):
            near = math.dist(queries[q, :2, 3], keyframes[k, :2, 3]) <= 12.0
            if max_heading_deg is not None and near:
                a, b = (math.atan2(T[1, 0], T[0, 0]) for T in (queries[q], keyframes[k]))
                near = math.degrees(math.acos(np.clip(math.cos(a - b), -1, 1))) <= max_heading_deg
            expected += [int(ids[k])] if near else []
        assert truth.positives[q].tolist() == sorted(expected)
    assert not truth.known[4] and truth.known.sum() == 1499
    assert not truth.on_map[4] and not truth.off_map[4]
    assert (truth.on_map | truth.off_map).sum() == 1499


def test_the_radius_is_inclusive_and_planar():
    query = planar_transform(0, 0, 0)[None]
    keyframes = np.array([planar_transform(10, 0, 0, z_m=99), planar_transform(10.001, 0, 0)])
    assert truth_from_poses(query, np.array([5, 6]), keyframes, 10.0).positives[0].tolist() == [5]


def test_bad_radius_and_lengths_are_sentences():
    with pytest.raises(VprError, match="radius"):
        truth_from_poses(np.eye(4)[None], np.array([1]), np.eye(4)[None], 0)
    with pytest.raises(VprError, match="ids"):
        truth_from_poses(np.eye(4)[None], np.array([1, 2]), np.eye(4)[None])


def test_frames_against_a_plain_double_loop():
    rng = np.random.default_rng(0)
    queries, numbers = rng.integers(0, 80, 50), rng.permutation(90)[:40]
    ids = rng.permutation(500)[:40]
    truth = truth_from_frames(queries, ids, numbers, 2)
    for q, positives in zip(queries, truth.positives, strict=True):
        assert positives.tolist() == sorted(int(i) for i, n in zip(ids, numbers, strict=True) if abs(int(n) - q) <= 2)
    with pytest.raises(VprError, match="tolerance"):
        truth_from_frames(queries, ids, numbers, -1)


def test_names_numbers_and_coordinates():
    truth = truth_from_names(["q/b.png", "q/x.png"], ["d/a.jpg", "d/b.jpg"])
    assert [p.tolist() for p in truth.positives] == [[1], []]
    assert truth.off_map.tolist() == [False, True]
    utm = truth_from_utm(["@0@0@.jpg"], ["@0@25@.jpg", "@0@25.5@.jpg", "@-3@4@x@.jpg"])
    assert utm.positives[0].tolist() == [0, 2]
    with pytest.raises(VprError, match="@easting@northing"):
        truth_from_utm(["plain.jpg"], ["@1@2@.jpg"])


def test_truth_options():
    names = [f"{i:04d}.png" for i in range(6)]
    assert truth_for_folders("frames:1", names, names).positives[2].tolist() == [1, 2, 3]
    assert truth_for_folders("names", names, names).positives[2].tolist() == [2]
    assert truth_for_folders("utm:5", ["@0@0@.jpg"], ["@0@6@.jpg"]).off_map.all()
    for bad in ("frames:", "frames:x", "names:3", "gps", ""):
        with pytest.raises(VprError, match="--truth"):
            truth_for_folders(bad, names, names)


def test_pairs_file_in_nanoseconds_and_seconds(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("query_stamp,reference_stamp,tolerance\n1700000000123456789,5,2\n# note\n\n12.5,,\n7,1e-8\n")
    assert read_pairs(path) == [
        Pair(1700000000123456789, 5, 2),
        Pair(12_500_000_000, None, None),
        Pair(7, 10, None),
    ]
    write_pairs(path, read_pairs(path))
    assert read_pairs(path)[0] == Pair(1700000000123456789, 5, 2)
    path.write_text("q,r\n1,2\nfoo,2\n")
    with pytest.raises(VprError, match="line 3"):
        read_pairs(path)
    path.write_text("q,r\n")
    with pytest.raises(VprError, match="no pairs"):
        read_pairs(path)
    with pytest.raises(VprError, match="cannot read"):
        read_pairs(tmp_path / "none.csv")


def test_pairs_count_frames_within_the_session_of_the_reference():
    s = 10**9
    ids = np.array([30, 31, 32, 40, 41])
    stamps = np.array([0, 1, 2, 3, 4]) * s
    sessions = np.array([1, 1, 1, 2, 2])
    queries = np.array([100, 101, 102, 103, 104]) * s
    pairs = [Pair(100 * s + 400, 2 * s + 10**8, 1), Pair(101 * s, None), Pair(102 * s, 9 * s), Pair(104 * s, 0)]
    truth = truth_from_pairs(queries, ids, stamps, pairs, tolerance=0, sessions=sessions)
    assert truth.positives[0].tolist() == [31, 32]  # 40 is the next frame, but of another drive
    assert truth.off_map.tolist() == [False, True, False, False, False]
    assert truth.known.tolist() == [True, True, False, False, True]  # no keyframe near 9 s; 103 is not listed
    assert truth.positives[4].tolist() == [30]
    with pytest.raises(VprError, match="no row of the pairs file"):
        truth_from_pairs(queries, ids, stamps, [Pair(5, 6)])


def test_select_keeps_rows_together():
    truth = truth_from_names(["a.png", "b.png", "c.png"], ["b.png"]).select([2, 1])
    assert [p.tolist() for p in truth.positives] == [[], [0]] and len(truth) == 2
