"""Camera models against the pinhole formula."""

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.sensors import Camera, camera_info_msg

K = np.array([[200.0, 0, 80], [0, 210, 60], [0, 0, 1]])
POINTS = np.array([[0, 0, 5.0], [1, -0.5, 4], [-1, 0.4, 10], [0, 0, -5], [100, 0, 1], [0, 0, 0]])


def test_projection_pixel_by_pixel():
    camera = Camera.from_message(camera_info_msg(K, 160, 120, 1))
    pixels, seen = camera.project(POINTS)
    for (x, y, z), pixel, visible in zip(POINTS, pixels, seen, strict=True):
        if z <= 0:
            assert not visible and np.isnan(pixel).all()
            continue
        u, v = 200 * x / z + 80, 210 * y / z + 60
        assert np.allclose(pixel, [u, v])
        assert visible == (-0.5 <= u < 159.5 and -0.5 <= v < 119.5)


def test_radial_distortion_and_its_undoing():
    camera = Camera.from_message(camera_info_msg(K, 160, 120, 1, distortion=[-0.2, 0.05, 0, 0, 0]))
    pixel = camera.project(np.array([[0.3, 0.2, 1.0]]))[0][0]
    r2 = 0.3**2 + 0.2**2
    factor = 1 - 0.2 * r2 + 0.05 * r2**2
    assert np.allclose(pixel, [200 * 0.3 * factor + 80, 210 * 0.2 * factor + 60])
    image = np.zeros((120, 160, 3), np.uint8)
    u, v = np.round(pixel).astype(int)
    image[v - 1 : v + 2, u - 1 : u + 2] = 255
    straight = camera.undistort(image)
    bright = np.argwhere(straight[..., 0] > 128).mean(axis=0)
    assert np.abs(bright - [210 * 0.2 + 60, 200 * 0.3 + 80]).max() < 1.5


def test_fisheye_projection():
    info = camera_info_msg(K, 400, 400, 1, distortion=[0.1, 0, 0, 0], distortion_model="equidistant")
    camera = Camera.from_message(info)
    pixel = camera.project(np.array([[1.0, 0, 1.0]]))[0][0]
    theta = np.pi / 4
    assert np.allclose(pixel, [200 * (theta + 0.1 * theta**3) + 80, 60])
    assert camera.undistort(np.zeros((400, 400, 3), np.uint8)).shape == (400, 400, 3)


def test_undistorted_camera_returns_the_image_itself():
    image = np.ones((4, 4, 3), np.uint8)
    assert Camera.from_message(camera_info_msg(K, 4, 4, 1)).undistort(image) is image


def test_ros1_spelling_and_uncalibrated_cameras():
    old = SimpleNamespace(K=K.reshape(9), D=[], width=160, height=120, distortion_model="")
    assert np.array_equal(Camera.from_message(old).K, K)
    with pytest.raises(FrameError, match="never calibrated"):
        Camera.from_message(camera_info_msg(np.zeros((3, 3)), 160, 120, 1))
