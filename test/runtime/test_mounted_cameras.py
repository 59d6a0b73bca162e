"""Where the robot stands by its camera's mounting, when one camera is rolled and the other is not."""

import numpy as np
import pytest

from vpr_ros.geometry import invert, planar_transform, rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.observation import Observation
from vpr_ros.place_map import MountedCamera
from vpr_ros.recognition import Hypothesis, Recognition
from vpr_ros.runtime.answer import Answer, query_pose

R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
ROTATIONS = (0, 90, 180, 270)


def camera(rotation, position=(0.4, 0.1, 1.1), yaw_deg=0.0):
    """A camera rolled clockwise, as seen from behind, by `rotation`."""
    R = roll_pitch_yaw_to_matrix(np.radians(rotation), 0, np.radians(yaw_deg)) @ R_BODY_OPTICAL
    return MountedCamera(rigid_transform(R, position), 70.0, rotation)


@pytest.mark.parametrize("asks", ROTATIONS)
@pytest.mark.parametrize("maps", ROTATIONS)
def test_the_pose_does_not_roll_with_the_camera(maps, asks):
    T_map_keyframe = planar_transform(12.0, -3.0, 0.7)
    place = Hypothesis(1, 0.99, 0.9, 0, T_map_keyframe, 1)
    recognition = Recognition(5, (place,), 0.01, "accepted", "probable", "", ((1, 0.9),))
    answer = Answer(Observation(5, np.zeros((4, 4, 3), np.uint8)), recognition)
    T, _ = query_pose(answer, 10.0, camera(maps), camera(asks))
    np.testing.assert_allclose(T, T_map_keyframe, atol=1e-12)
    other = camera(asks, (1.0, 0.0, 0.5), 90)
    T, _ = query_pose(answer, 10.0, camera(maps), other)
    wanted = T_map_keyframe @ camera(0).T_base_camera @ invert(camera(0, (1.0, 0.0, 0.5), 90).T_base_camera)
    np.testing.assert_allclose(T, wanted, atol=1e-12)


def test_a_camera_comes_back_from_a_map_and_old_maps_turned_nothing():
    kept = MountedCamera.from_dict(camera(270).to_dict())
    assert kept.rotation == 270 and kept.hfov_deg == 70.0
    np.testing.assert_array_equal(kept.T_base_camera, camera(270).T_base_camera)
    assert MountedCamera.from_dict({"T_base_camera": None, "hfov_deg": 60.0}) == MountedCamera(None, 60.0, 0)
    assert MountedCamera(rotation=90).T_base_upright is None
