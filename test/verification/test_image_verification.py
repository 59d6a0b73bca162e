import cv2
import numpy as np
import pytest

from vpr_ros.verification.camera import ImageVerificationConfig, verify_images


def scene(seed, size=(240, 320)):
    """A picture of random bright shapes: corners and blobs in plenty."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 90, np.uint8)
    for _ in range(150):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        colour = rng.integers(0, 256, 3).tolist()
        w, h = rng.integers(5, 40, 2)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def seen_from_elsewhere(image):
    """Another viewpoint on a flat façade, darker, with noise."""
    h, w = image.shape[:2]
    corners = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    moved = np.float32([[12, -8], [w - 20, 10], [w + 5, h - 12], [-10, h + 6]])
    out = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, moved), (w, h))
    noise = np.random.default_rng(0).normal(0, 5, out.shape)
    return np.clip(out * 0.6 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_scene_is_verified_from_elsewhere_and_at_another_size(seed):
    image = scene(seed)
    other = seen_from_elsewhere(image)
    result = verify_images(other, image)
    assert result.verified and result.reason == "same_scene" and result.inliers > 50
    assert verify_images(cv2.resize(other, (240, 180)), image).verified


@pytest.mark.parametrize("seed", range(3))
def test_another_scene_is_not(seed):
    result = verify_images(scene(seed), scene(seed + 50))
    assert not result.verified and result.reason in ("few_matches", "no_geometry")


def test_pictures_without_keypoints():
    blank = np.full((240, 320, 3), 7, np.uint8)
    assert verify_images(blank, scene(0)).reason == "few_keypoints"
    strict = ImageVerificationConfig(min_inliers=10_000)
    assert not verify_images(scene(0), scene(0), strict).verified
