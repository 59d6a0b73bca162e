"""The TF tree against transforms multiplied by hand."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, make_transform, planar_transform
from vpr_ros.sensors import TransformTree, tf_msg

SECOND = 10**9
T_BASE_LIDAR = make_transform([1.0, 0.2, 1.8], [0.1, -0.2, 0.3, 0.9])
T_BASE_CAMERA = make_transform([0.5, 0, 1.2], [0.5, -0.5, 0.5, -0.5])


@pytest.fixture
def tree():
    tree = TransformTree()
    fixed = [("base_link", "lidar_link", T_BASE_LIDAR), ("/base_link", "/camera_link", T_BASE_CAMERA)]
    tree.add(tf_msg(fixed, 0), True)
    for i in range(5):
        tree.add(tf_msg([("odom", "base_link", planar_transform(2.0 * i, 0, 0.2 * i))], i * SECOND // 2), False)
        tree.add(tf_msg([("map", "odom", planar_transform(10, 5, 1.0))], i * SECOND // 2), False)
    return tree


def test_fixed_links_up_and_down(tree):
    assert np.allclose(tree.lookup("base_link", "lidar_link"), T_BASE_LIDAR)
    assert np.allclose(tree.lookup("camera_link", "lidar_link"), invert(T_BASE_CAMERA) @ T_BASE_LIDAR)
    assert np.allclose(tree.lookup("lidar_link", "lidar_link"), np.eye(4))


def test_moving_links_are_interpolated_along_the_chain(tree):
    T_odom_base = planar_transform(3.0, 0, 0.3)
    expected = planar_transform(10, 5, 1.0) @ T_odom_base @ T_BASE_LIDAR
    assert np.allclose(tree.lookup("map", "lidar_link", 3 * SECOND // 4), expected, atol=1e-6)
    assert np.allclose(tree.lookup("lidar_link", "map", 3 * SECOND // 4), invert(expected), atol=1e-6)


def test_samples_added_after_a_lookup_count(tree):
    with pytest.raises(VprError, match="odom -> base_link is not known at 2.500 s"):
        tree.lookup("odom", "base_link", 5 * SECOND // 2)
    tree.add(tf_msg([("odom", "base_link", planar_transform(10.0, 0, 1.0))], 3 * SECOND), False)
    assert np.isclose(tree.lookup("odom", "base_link", 5 * SECOND // 2)[0, 3], 9.0)


def test_missing_unconnected_and_moving_frames_are_named(tree):
    with pytest.raises(VprError, match="no frame radar"):
        tree.lookup("base_link", "radar", 0)
    tree.add(tf_msg([("world", "tower", np.eye(4))], 0), True)
    with pytest.raises(VprError, match="does not connect base_link with tower"):
        tree.lookup("base_link", "tower", 0)
    with pytest.raises(VprError, match="moves; a stamp is needed"):
        tree.lookup("odom", "base_link")


def test_a_circle_of_links_is_an_error_not_a_hang():
    tree = TransformTree()
    tree.add(tf_msg([(parent, child, np.eye(4)) for parent, child in ("ab", "bc", "ca", "wx")], 0), True)
    with pytest.raises(VprError, match="circle"):
        tree.lookup("a", "x")


def test_links_without_a_pose_are_counted():
    tree = TransformTree()
    msg = tf_msg([("a", "b", np.eye(4)), ("a", "c", np.eye(4)), ("a", "", np.eye(4)), ("a", "d", np.eye(4))], 0)
    msg.transforms[0].transform.translation.x = float("nan")
    msg.transforms[1].transform.rotation.w = 0.0
    tree.add(msg, True)
    assert tree.rejected == 3 and tree.frames == ["a", "d"]
