"""Cameras that do not stand upright: what TF says of them, and pictures and intrinsics that are turned."""

import cv2
import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.sensors import Camera, Drive, DriveConfig, compressed_image_msg, image_msg, odometry_msg, tf_msg
from vpr_ros.sensors.upright import R_camera_upright, mounting_by_tf, told, turned

ROTATIONS = (0, 90, 180, 270)
R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
OPTICAL = "camera_optical_frame"
SECOND = 10**9


def body(roll_deg=0.0, pitch_deg=0.0, yaw_deg=0.0):
    """Axes in the base of a camera body (x forward, z up): rolled clockwise as seen from behind, then pitched down."""
    return roll_pitch_yaw_to_matrix(*np.radians([roll_deg, pitch_deg, yaw_deg]))


def mounting(R, frame=OPTICAL):
    return mounting_by_tf(rigid_transform(R, [0.3, 0.0, 1.2]), "base_link", frame)


def optical(roll_deg=0.0, pitch_deg=0.0, yaw_deg=0.0):
    return body(roll_deg, pitch_deg, yaw_deg) @ R_BODY_OPTICAL


@pytest.mark.parametrize("pitch_deg", [0, 30, -30])
@pytest.mark.parametrize("yaw_deg", [0, 90, -135])
@pytest.mark.parametrize("off_deg", [0, 20, -20])
@pytest.mark.parametrize("roll_deg", ROTATIONS)
def test_an_optical_frame_tells_its_roll(roll_deg, off_deg, yaw_deg, pitch_deg):
    found = mounting(optical(roll_deg + off_deg, pitch_deg, yaw_deg))
    assert (found.rotation, found.reason, found.unclear) == (roll_deg, "TF", False)


def test_the_sentence_names_how_the_camera_stands():
    words = {0: "upright", 90: "to the right", 180: "upside down", 270: "to the left"}
    for rotation, word in words.items():
        sentence = mounting(optical(rotation)).sentence
        assert word in sentence and "base_link -> camera_optical_frame" in sentence
        assert rotation == 0 or f"turned by {rotation} degrees" in sentence


@pytest.mark.parametrize("roll_deg", ROTATIONS)
def test_what_is_above_comes_to_the_top_of_the_turned_picture(roll_deg):
    """The rotation found from TF, against a picture that such a camera takes of a lamp above its axis."""
    R = optical(roll_deg, 5.0, 40.0)
    camera = Camera(np.array([[80.0, 0, 59.5], [0, 80, 39.5], [0, 0, 1]]), 120, 80, np.zeros(0))
    ahead = R[:, 2] * [1, 1, 0] / np.linalg.norm(R[:2, 2])
    lamp = 4 * ahead + [0, 0, 1.2]  # in the base, at the camera
    (pixel,), (seen,) = camera.project((lamp @ R)[None])
    assert seen
    picture = np.zeros((80, 120), np.uint8)
    cv2.circle(picture, tuple(np.round(pixel).astype(int)), 2, 255, -1)
    upright = turned(picture, mounting(R).rotation)
    row, column = np.argwhere(upright == 255).mean(axis=0)
    height, width = upright.shape
    assert row < height / 2 - 10 and abs(column - (width - 1) / 2) < 4


@pytest.mark.parametrize("roll_deg", ROTATIONS)
@pytest.mark.parametrize("pitch_deg", [80, -80, 50])
def test_a_camera_that_looks_down_or_up_is_not_turned(pitch_deg, roll_deg):
    found = mounting(optical(roll_deg, pitch_deg))
    assert (found.rotation, found.reason, found.unclear) == (0, "looks up or down", True)
    assert ("down" if pitch_deg > 0 else "look up") in found.sentence


def test_a_roll_between_quarter_turns_is_named_and_left():
    found = mounting(optical(45))
    assert (found.rotation, found.reason) == (0, "between quarter turns") and "rolled by 45 degrees" in found.sentence
    assert mounting(optical(114)).rotation == 90 and mounting(optical(116)).rotation == 0


def test_frames_whose_name_does_not_say_optical():
    for frame in ("camera_link", "cam0"):
        assert mounting(body(), frame).rotation == 0 and not mounting(body(), frame).unclear
        assert mounting(body(0, 20, 90), frame).reason == "TF"
        # The optical frame of an upright camera, as many drivers call it "camera".
        assert (mounting(optical(), frame).rotation, mounting(optical(), frame).reason) == (0, "TF")
        # Only an optical frame has its x vertical and its z not: one that is rolled by a quarter turn.
        assert [mounting(optical(roll), frame).rotation for roll in (90, 270)] == [90, 270]
        # Upside down as an optical frame, or on its side as a body's; and upside down, or a camera that looks down.
        for R in (optical(180), body(90), body(180)):
            found = mounting(R, frame)
            assert (found.rotation, found.reason, found.unclear) == (0, "two readings", True)


def test_without_tf_and_as_told():
    nothing = mounting_by_tf(None, "base_link", "")
    assert (nothing.rotation, nothing.reason, nothing.unclear) == (0, "no TF", False)
    assert "without frame_id" in nothing.sentence
    assert told("auto") is None
    assert [told(text).rotation for text in ("0", "90", "180", "270")] == list(ROTATIONS)


@pytest.mark.parametrize("shape", [(4, 7), (4, 7, 3), (5, 5, 3)])
def test_pictures_are_turned_clockwise_pixel_by_pixel(shape):
    image = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    height, width = shape[:2]
    assert turned(image, 0) is image
    for row in range(height):
        for column in range(width):
            pixel = image[row, column]
            assert (turned(image, 90)[column, height - 1 - row] == pixel).all()
            assert (turned(image, 180)[height - 1 - row, width - 1 - column] == pixel).all()
            assert (turned(image, 270)[width - 1 - column, row] == pixel).all()
    assert all(turned(image, rotation).flags["C_CONTIGUOUS"] for rotation in ROTATIONS)


LENSES = {
    "pinhole": ("plumb_bob", []),
    "tangential": ("plumb_bob", [-0.2, 0.03, 0.01, -0.02, 0.004]),
    "rational": ("rational_polynomial", [0.1, -0.05, 0.01, 0.02, 0.01, 0.05, -0.01, 0.002]),
    "thin prism": ("rational_polynomial", [0.1, -0.05, 0.01, 0.02, 0.01, 0, 0, 0, 0.02, -0.01, -0.03, 0.005]),
    "fisheye": ("equidistant", [0.05, -0.01, 0.002, 0.001]),
}


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("lens", LENSES)
def test_a_turned_camera_sees_points_where_the_turned_picture_has_them(lens, rotation):
    model, distortion = LENSES[lens]
    camera = Camera(np.array([[150.0, 0, 85], [0, 140, 50], [0, 0, 1]]), 160, 120, np.array(distortion), model)
    upright = camera.turned(rotation)
    assert (upright.width, upright.height) == ((120, 160) if rotation in (90, 270) else (160, 120))
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.4, 0.4, 40), rng.uniform(-0.3, 0.3, 40), np.ones(40)]) * 5
    pixels, seen = camera.project(points)
    found, found_seen = upright.project(points @ R_camera_upright(rotation))
    u, v = pixels.T
    places = {0: (u, v), 90: (119 - v, u), 180: (159 - u, 119 - v), 270: (v, 159 - u)}
    np.testing.assert_allclose(found, np.column_stack(places[rotation]), atol=1e-9)
    assert (found_seen == seen).all() and seen.any()


def test_the_field_of_view_of_a_turned_camera_is_that_of_its_width():
    camera = Camera(np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]]), 160, 120, np.zeros(5))
    assert camera.turned(180).hfov_deg == pytest.approx(camera.hfov_deg)
    assert camera.turned(90).hfov_deg == pytest.approx(np.degrees(2 * np.arctan(0.6)))


def test_a_tilted_sensor_is_not_turned():
    lens = np.array([0.1] * 12 + [0.02, 0.0])
    camera = Camera(np.eye(3) * [100, 100, 1], 160, 120, lens, "rational_polynomial")
    assert camera.turned(0) is camera
    with pytest.raises(FrameError, match="tilted"):
        camera.turned(90)


# Drives


def rolled_tf(roll_deg, frame=OPTICAL, topic="/tf_static"):
    return (topic, tf_msg([("base_link", frame, rigid_transform(optical(roll_deg), [0, 0, 1.0]))], 1), 1)


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 255, (6, 10, 3)).astype(np.uint8)


@pytest.fixture
def bag_of(make_bag, picture):
    def make(*extra, name="bag"):
        images = [
            ("/camera/image", compressed_image_msg(picture, SECOND * i, OPTICAL, format="png"), SECOND * i)
            for i in (1, 2)
        ]
        return make_bag([*extra, *images], name=name)

    return make


@pytest.mark.parametrize("roll_deg", ROTATIONS)
def test_a_drive_is_upright_by_its_static_tf(bag_of, picture, roll_deg):
    with Drive(bag_of(rolled_tf(roll_deg))) as drive:
        assert drive.mounting.rotation == roll_deg
        observations = list(drive)
    assert len(observations) == 2
    for observation in observations:
        assert observation.rotation == roll_deg
        np.testing.assert_array_equal(observation.image, np.rot90(picture, -roll_deg // 90))


def test_what_is_told_wins_over_tf_and_0_turns_nothing(bag_of, picture):
    path = bag_of(rolled_tf(180))
    for rotate, quarters in (("0", 0), ("90", -1), ("270", 1)):
        with Drive(path, rotate=rotate) as drive:
            first = next(iter(drive))
            assert drive.mounting.reason == "told"
        np.testing.assert_array_equal(first.image, np.rot90(picture, quarters))


def test_a_drive_without_static_tf_of_its_camera_is_taken_as_upright(bag_of, picture):
    others = {"none": [], "other": [rolled_tf(180, "lidar_link")], "moving": [rolled_tf(90, topic="/tf")]}
    for name, extra in others.items():
        with Drive(bag_of(*extra, name=name)) as drive:
            assert drive.mounting.reason == "no TF"
            np.testing.assert_array_equal(next(iter(drive)).image, picture)


def test_the_axes_of_an_imu_that_stands_in_for_the_base_turn_nothing(bag_of, picture):
    imu = tf_msg([("imu_link", OPTICAL, rigid_transform(optical(90), [0, 0, 0]))], 1)
    odometry = odometry_msg(np.eye(4), 1, child_frame_id="imu_link")
    with Drive(bag_of(("/tf_static", imu, 1), ("/odom", odometry, 1))) as drive:
        assert drive.poses.base_frame == "imu_link" and drive.mounting.reason == "no TF"
        np.testing.assert_array_equal(next(iter(drive)).image, picture)
    with Drive(drive.bag.path, base_frame="imu_link") as drive:
        assert drive.mounting.rotation == 90


def test_grey_pictures_are_turned(make_bag):
    grey = np.random.default_rng(5).integers(0, 255, (6, 10)).astype(np.uint8)
    messages = [rolled_tf(90), ("/camera", image_msg(grey, SECOND, OPTICAL, encoding="mono8"), SECOND)]
    with Drive(make_bag(messages)) as drive:
        image = next(iter(drive)).image
    assert image.shape == (10, 6, 3)
    np.testing.assert_array_equal(image[..., 0], np.rot90(grey, -1))


def test_another_angle_is_one_sentence():
    with pytest.raises(VprError, match="auto, 0, 90, 180, 270 .* not '45'"):
        DriveConfig(rotate="45")
