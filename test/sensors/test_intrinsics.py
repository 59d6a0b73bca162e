"""The camera of a drive's pictures: its intrinsics by CameraInfo, its pose by TF, both as the pictures are turned."""

from itertools import count

import numpy as np
import pytest

from vpr_ros.geometry import rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.sensors import Camera, Drive, camera_info_msg, compressed_image_msg, tf_msg
from vpr_ros.sensors.intrinsics import Intrinsics
from vpr_ros.sensors.upright import T_base_upright

SECOND = 10**9
K = np.array([[30.0, 0, 15.2], [0, 31, 11.8], [0, 0, 1]])
LENS = (-0.2, 0.03, 0.002, -0.001, 0.0)
R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def body(roll_deg):
    return rigid_transform(roll_pitch_yaw_to_matrix(np.radians(roll_deg), 0.1, 0.3), [0.4, 0.1, 1.1])


def optical(roll_deg):
    return body(roll_deg) @ rigid_transform(R_BODY_OPTICAL, np.zeros(3))


@pytest.fixture
def drive_of(make_bag):
    """drive_of(info, T_base_frame, frame): the observations and notes of two pictures of 32x24 pixels."""

    names = (f"bag{i}" for i in count())

    def make(info, T=None, frame="camera_optical_frame", **config):
        picture = np.random.default_rng(3).integers(0, 255, (24, 32, 3)).astype(np.uint8)
        extra = [] if info is None else [("/camera/camera_info", m, SECOND) for m in np.atleast_1d(info)]
        if T is not None:
            extra.append(("/tf_static", tf_msg([("base_link", frame, T)], 1), 1))
        images = [
            ("/camera/image", compressed_image_msg(picture, i * SECOND, frame, "png"), i * SECOND) for i in (1, 2)
        ]
        with Drive(make_bag([*extra, *images], name=next(names)), **config) as drive:
            return list(drive), drive.notes, drive.skipped

    return make


def info(matrix=K, width=32, height=24, distortion=LENS):
    return camera_info_msg(matrix, width, height, SECOND, distortion=distortion)


@pytest.mark.parametrize("roll_deg", [0, 90, 180, 270])
def test_points_of_the_base_fall_where_the_turned_picture_has_them(drive_of, roll_deg):
    """Through the observation's camera and pose, and naively: through the camera as it is, its pixels turned."""
    observations, notes, _ = drive_of(info(), optical(roll_deg))
    one = observations[0]
    assert one.rotation == roll_deg and not notes
    rng = np.random.default_rng(roll_deg)
    ahead = np.column_stack([rng.uniform(-0.3, 0.3, 40), rng.uniform(-0.2, 0.2, 40), np.ones(40)]) * 6
    T = optical(roll_deg)
    base = ahead @ T[:3, :3].T + T[:3, 3]
    inverse = np.linalg.inv(one.T_base_camera)
    found, seen = one.camera.project(base @ inverse[:3, :3].T + inverse[:3, 3])
    u, v = Camera.from_message(info()).project(ahead)[0].T
    places = {0: (u, v), 90: (23 - v, u), 180: (31 - u, 23 - v), 270: (v, 31 - u)}
    np.testing.assert_allclose(found, np.column_stack(places[roll_deg]), atol=1e-6)
    assert seen.all() and (one.camera.width, one.camera.height) == one.image.shape[1::-1]


def test_pictures_that_were_scaled_have_a_scaled_camera(drive_of):
    """A wall of 64x48 pixels, of which four become one: the same point falls on the same share of the picture."""
    large = np.array([[60.0, 0, 30.9], [0, 62, 24.1], [0, 0, 1]])
    (one, _), notes, _ = drive_of(info(large, 64, 48))
    point = np.array([[0.3, -0.2, 1.5]])
    wanted = Camera.from_message(info(large, 64, 48)).project(point)[0]
    np.testing.assert_allclose(one.camera.project(point)[0], (wanted + 0.5) / 2 - 0.5)
    assert not notes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (info(np.zeros((3, 3))), "never calibrated"),
        (info(K, 0, 0), "0x0 pixels"),
        (info(K, 32, 32), "of 32x32 pixels, and they have 32x24: publish the one that belongs to them"),
    ],
)
def test_a_wrong_camera_info_is_one_sentence_and_costs_nothing_else(drive_of, wrong, words):
    observations, notes, skipped = drive_of(wrong, optical(0))
    assert len(observations) == 2 and not skipped
    assert [o.camera for o in observations] == [None, None] and observations[0].T_base_camera is not None
    ((sentence, times),) = notes.items()
    assert words in sentence and times == 2


def test_the_first_usable_camera_info_counts_and_none_is_no_note(drive_of):
    (one, _), notes, _ = drive_of(np.array([info(np.zeros((3, 3))), info()]))
    np.testing.assert_array_equal(one.camera.K, K)
    assert one.T_base_camera is None and not notes


def test_a_camera_bodys_frame_is_read_as_one_and_an_ambiguous_one_is_told(drive_of):
    (one, _), notes, _ = drive_of(info(), body(0), "camera_link")
    np.testing.assert_allclose(one.T_base_camera, optical(0), atol=1e-12)
    assert not notes
    observations, notes, _ = drive_of(info(), body(90), "camera_link")
    assert [o.T_base_camera for o in observations] == [None, None]
    ((sentence, times),) = notes.items()
    assert "'camera_link'" in sentence and "..._optical_frame" in sentence and times == 2
    (one, _), notes, _ = drive_of(info(), body(90), "camera_link", rotate="90")
    np.testing.assert_allclose(one.T_base_camera, optical(0), atol=1e-12)


@pytest.mark.parametrize("roll_deg", [0, 90, 180, 270])
def test_every_optical_frame_stands_upright_after_its_turn(roll_deg):
    for name in ("left_optical_frame", "kinect2"):
        np.testing.assert_allclose(T_base_upright(optical(roll_deg), name, roll_deg), optical(0), atol=1e-12)


def test_a_later_unusable_message_does_not_replace_a_usable_one_and_a_new_one_does():
    told = []
    intrinsics = Intrinsics(lambda *event: told.append(event))
    assert intrinsics.of((32, 24), 0) is None and not told
    assert intrinsics.hear(info()) and not intrinsics.hear(info(np.zeros((3, 3))))
    assert np.array_equal(intrinsics.of((32, 24), 0).K, K)
    assert intrinsics.hear(info(K * [[2], [2], [1]]))
    assert intrinsics.of((32, 24), 0).K[0, 0] == 60 and not told
