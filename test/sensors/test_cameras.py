"""Camera models against the pinhole formula."""

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.sensors import Camera, camera_info_msg

K = np.array([[200.0, 0, 80], [0, 210, 60], [0, 0, 1]])
RNG = np.random.default_rng(9)
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


def info(model, coefficients, size=(160, 120)):
    return SimpleNamespace(k=K.reshape(9), d=coefficients, width=size[0], height=size[1], distortion_model=model)


@pytest.mark.parametrize(
    "model", ["kannala_brandt4", "fov", "double_sphere", "inverse_brown_conrady", "omni", "pinhole"]
)
@pytest.mark.parametrize("coefficients", [[], [0.0] * 5, [0.9], [0.1, 0.2, 0.3, 0.4]])
def test_models_that_are_not_computed_are_refused_by_name(model, coefficients):
    with pytest.raises(
        FrameError, match=rf"distortion model '{model}', which is not computed here; known are plumb_bob"
    ):
        Camera.from_message(info(model, coefficients))


@pytest.mark.parametrize(
    "model,coefficients,counts",
    [
        ("plumb_bob", [0.1, 0.01, 0, 0, 0, 0.2], "4 or 5"),
        ("plumb_bob", [0.1], "4 or 5"),
        ("plumb_bob", [0.1, 0.01, 0, 0, 0, 0, 0, 0.2], "4 or 5"),
        ("rational_polynomial", [0.1, 0.01, 0, 0, 0], "8 or 12 or 14"),
        ("rational_polynomial", [0.1] * 15, "8 or 12 or 14"),
        ("equidistant", [0.1, 0.01], "4"),
        ("equidistant", [0.1, 0.01, 0, 0, 0.2], "4"),
        ("fisheye", [0.1] * 5, "4"),
    ],
)
def test_a_wrong_number_of_coefficients_is_refused(model, coefficients, counts):
    words = f"CameraInfo has {len(coefficients)} distortion coefficients, but {model} has {counts}; calibrate"
    with pytest.raises(FrameError, match=words):
        Camera.from_message(info(model, coefficients))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    "model,coefficients",
    [
        ("", []),
        ("plumb_bob", [0.0] * 5),
        ("plumb_bob", [-0.2, 0.05, 0.001, -0.002]),
        ("plumb_bob", [-0.2, 0.05, 0.001, -0.002, 0.01]),
        ("plumb_bob", [-0.2, 0.05, 0.001, -0.002, 0.01, 0.0, 0.0, 0.0]),
        ("Plumb_Bob ", [-0.2, 0.05, 0.001, -0.002, 0.01]),
        ("rational_polynomial", [0.1, 0.02, 0.001, -0.001, 0.01, 0.1, 0.01, 0.01]),
        ("rational_polynomial", [0.1, 0.02, 0.001, -0.001, 0.01, 0.1, 0.01, 0.01] + [0.001] * 4),
        ("rational_polynomial", [0.1, 0.02, 0.001, -0.001, 0.01, 0.1, 0.01, 0.01] + [0.0] * 6),
        ("equidistant", []),
        ("equidistant", [0.1, 0.01, 0.001, 0.0]),
        ("equidistant", [0.1, 0.01, 0.001, 0.0, 0.0]),
    ],
)
def test_every_model_that_is_taken_can_be_computed(model, coefficients, rotation):
    camera = Camera.from_message(info(model, coefficients)).turned(rotation)
    pixels, seen = camera.project(POINTS)
    assert np.isfinite(pixels[seen]).all() and seen[0]
    assert camera.undistort(np.zeros((camera.height, camera.width, 3), np.uint8)).shape[:2] == (
        camera.height,
        camera.width,
    )
    assert 0 < camera.hfov_deg < 180


def test_a_fisheye_without_coefficients_is_still_one():
    camera = Camera.from_message(info("equidistant", [0.0] * 4, (400, 400)))
    assert np.allclose(camera.project(np.array([[1.0, 0, 1]]))[0][0], [200 * np.pi / 4 + 80, 60])
    image = RNG.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    straight = camera.undistort(image)
    # A pinhole's pixel at the tangent of an angle shows what the fisheye has at the angle itself.
    angle = np.arctan(250 / 200)
    assert np.abs(straight[60, 80 + 250].astype(int) - image[60, 80 + round(200 * angle)]).max() < 80
    assert not np.array_equal(straight, image)


def test_calibrations_of_pictures_without_a_size_are_refused():
    with pytest.raises(FrameError, match="0x120 pixels; the camera was never calibrated"):
        Camera.from_message(info("plumb_bob", [], (0, 120)))


def test_the_camera_is_that_of_the_pictures_that_are_sent():
    """A region of 80x60 pixels at (40, 30), of which six become one, its centre moved."""
    whole = Camera.from_message(info("plumb_bob", []))
    message = info("plumb_bob", [])
    message.binning_x, message.binning_y = 2, 3
    message.roi = SimpleNamespace(x_offset=40, y_offset=30, width=80, height=60)
    part = Camera.from_message(message)
    assert (part.width, part.height) == (40, 20)
    sensor = whole.project(POINTS[:3])[0]
    assert np.allclose(part.project(POINTS[:3])[0], (sensor - [40, 30]) / [2, 3])
    message.roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)  # the whole sensor
    message.binning_x = message.binning_y = 1
    assert np.array_equal(Camera.from_message(message).K, whole.K) and message.k[2] == K[0, 2]
